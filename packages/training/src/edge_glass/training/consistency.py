"""Checks between sections of `params.yaml`: each is valid alone, but they may not fit together.

Nothing is downloaded and no weights are loaded. A fact that only weights hold (the width of a model
on the hub, for example) is left to the stage that loads them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from edge_glass.encoders.base import TokenShape, VisionEncoderShape, WaitsForModel
from edge_glass.encoders.components import Component, ConfigError
from edge_glass.fusion.vlm_config import check_llava
from edge_glass.training.features.config import pooled_grid
from edge_glass.training.vlm_qa.launch_config import DeepSpeedLaunchConfig

if TYPE_CHECKING:
    from edge_glass.training.params import Params


@runtime_checkable
class DecoderWidth(Protocol):
    """A decoder's config that may know the decoder's width."""

    @property
    def width(self) -> int | None: ...


def check_consistency(params: Params, where: str) -> None:
    """Checks the chosen options against each other."""
    _check_processes(params, where)
    _check_data(params, where)
    _check_launch_file(params, where)
    _check_encoders(params, where)
    sizes = {
        "caption_image_size": params.encode.caption_image_size,
        "question_image_size": params.encode.question_image_size,
    }
    for name, size in sizes.items():
        shape = _token_shape(params, size, f"{where}: encode.{params.scale}.{name}")
        if shape is not None:
            with _named(f"{where}: poolings.{params.pooling.name}"), torch.device("meta"):
                params.pooling.config.build(input_width=shape.width, grid=shape.grid)
    _check_fusion(params, where)


def _check_processes(params: Params, where: str) -> None:
    if "WORLD_SIZE" in os.environ:
        return  # torchrun has started the processes; the stage itself counts them
    number = params.launch.config.num_processes
    if params.vlm_qa.num_microbatches % number:
        raise ConfigError(
            f"{where}: launch {params.launch.name} runs {number} processes, which do not divide "
            f"vlm_qa.{params.scale}.num_microbatches, {params.vlm_qa.num_microbatches}: choose a "
            "number of processes that does, or more microbatches"
        )


def _check_data(params: Params, where: str) -> None:
    tokens = params.vlm_qa.visual_tokens
    try:
        check_llava(tokens, params.fusion)
    except ValueError as error:
        raise ConfigError(f"{where}: vlm_qa.{params.scale}: {error}") from None
    if params.data.captions is None and tokens.uses_pooling:
        raise ConfigError(
            f"{where}: vlm_qa.{params.scale}.visual_tokens.kind is {tokens.kind}, which uses "
            "the pooling that align trains on captions, and "
            f"datasets.{params.data_name} has none: set kind: grid, or add captions"
        )
    config = params.vlm_qa
    if params.data.captions is None and config.uses_captions:
        raise ConfigError(
            f"{where}: vlm_qa.{params.scale} trains on captions (caption_steps "
            f"{config.caption_steps}, mixture.captions {config.mixture.captions:g}), and "
            f"datasets.{params.data_name} has none: set both to 0, or add captions"
        )
    if config.caption_steps and isinstance(params.launch.config, DeepSpeedLaunchConfig):
        raise ConfigError(
            f"{where}: launch {params.launch.name} can't freeze the decoder, which "
            f"vlm_qa.{params.scale}.caption_steps {config.caption_steps} needs: choose launch tree "
            "or ddp, or set caption_steps: 0"
        )


def _check_encoders(params: Params, where: str) -> None:
    for kind in ("vision_encoder", "text_encoder"):
        choice: Component = getattr(params, kind)
        if isinstance(choice.config, WaitsForModel):
            with _named(f"{where}: {kind}s.{choice.name}"):
                choice.config.check_chosen()


def _check_launch_file(params: Params, where: str) -> None:
    launch = params.launch.config
    if isinstance(launch, DeepSpeedLaunchConfig) and not Path(launch.config).is_file():
        raise ConfigError(
            f"{where}: launches.{params.launch.name}.config is {launch.config!r}, and there is no "
            "such file; give the path of DeepSpeed's JSON file"
        )


def _token_shape(params: Params, image_size: int, where: str) -> TokenShape | None:
    """Returns the shape of the cached features, None if only the encoder's weights know it."""
    encoder = params.vision_encoder
    if not isinstance(encoder.config, VisionEncoderShape):
        return None
    with _named(f"{where} with vision_encoder {encoder.name}"):
        shape = encoder.config.token_shape(image_size)
        if shape is None:
            return None
        grid = pooled_grid(shape.grid, params.encode.pool)
        if shape.grid[0] % grid[0] or shape.grid[1] % grid[1]:
            raise ValueError(
                f"encode.{params.scale}.pool is {params.encode.pool}, expected a divisor of the "
                f"encoder's {shape.grid[0]} x {shape.grid[1]} patches"
            )
        return TokenShape(grid=grid, width=shape.width)


def _check_fusion(params: Params, where: str) -> None:
    decoder = params.decoder.config
    with _named(f"{where}: decoders.{params.decoder.name}"):
        width = decoder.width if isinstance(decoder, DecoderWidth) else None
    if width is not None:
        place = f"{where}: fusions.{params.fusion.name} with decoders.{params.decoder.name}"
        with _named(place), torch.device("meta"):
            params.fusion.config.build(
                visual_width=params.vlm_qa.visual_tokens.full_width, width=width
            )


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Adds the place in params.yaml to an error of a component."""
    try:
        yield
    except (ArithmeticError, OSError, RuntimeError, TypeError, ValueError) as error:
        # Each option is fine alone: torch refuses what they give together, a size of too many bits.
        raise ConfigError(f"{where}: {error}") from None
