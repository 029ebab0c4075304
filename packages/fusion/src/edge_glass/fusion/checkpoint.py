"""A vision-language model as a folder: config.json, model.safetensors, tokenizer files.

The folder holds all that `answer` needs but the frozen vision encoder (and a hub decoder's base
weights), which it names; everything is loaded strictly.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_glass.encoders.checkpoint import check_tensors, load_checkpoint, save_checkpoint
from edge_glass.encoders.components import ConfigError, component, validate
from edge_glass.encoders.towers.grid_average import with_grid
from edge_glass.fusion.visual_tokens import VisualTokens, VisualTokensConfig
from edge_glass.fusion.vlm import VisionLanguageModel

FORMAT = "edge-glass-vlm/1"
TOKENIZER_FILE = "tokenizer.json"
KEYS = {
    "decoder",
    "fusion",
    "grid",
    "image_size",
    "input_width",
    "max_new_tokens",
    "pooling",
    "vision_encoder",
    "visual_tokens",
}


def build_vlm(config: dict[str, Any], tokenizer: Any, *, where: str) -> VisionLanguageModel:
    """Builds the model that a config describes, with fresh weights drawn from torch's global RNG.

    Args:
        config: keys vision_encoder, pooling (or null), fusion, decoder (each {name, options}),
            visual_tokens (options), input_width, grid, image_size, max_new_tokens.
        tokenizer: the decoder's tokenizer.
        where: the place, as errors name it.

    Raises:
        ConfigError: where a key is missing or extra, or a name or a field is not known.
    """
    if set(config) != KEYS:
        raise ConfigError(
            f"{where}: missing {sorted(KEYS - set(config))}, unknown {sorted(set(config) - KEYS)}: "
            "is it a vision-language model of this version?"
        )

    def part(kind: str) -> Any:
        choice = config[kind]
        return component(kind, choice["name"], choice["options"], where=f"{where}: {kind}")

    grid = (int(config["grid"][0]), int(config["grid"][1]))
    visual_config = validate(
        VisualTokensConfig, config["visual_tokens"], where=f"{where}: visual_tokens"
    )
    pooling = None
    if visual_config.kind != "grid":
        pooling = part("pooling").build(input_width=config["input_width"], grid=grid)
    visual_tokens = VisualTokens(
        visual_config, input_width=config["input_width"], grid=grid, pooling=pooling
    )
    decoder = part("decoder").build(tokenizer)
    fusion = part("fusion").build(visual_width=visual_tokens.width, width=decoder.width)
    return VisionLanguageModel(
        visual_tokens=visual_tokens,
        fusion=fusion,
        decoder=decoder,
        tokenizer=tokenizer,
        max_new_tokens=config["max_new_tokens"],
        config=config,
    )


def vlm_tensors(model: VisionLanguageModel) -> dict[str, Tensor]:
    """Returns what the artefact holds: all trained parts, and of the decoder what is its own."""
    parts: dict[str, Tensor] = {}
    for name, module in (("visual_tokens", model.visual_tokens), ("fusion", model.fusion)):
        parts.update({f"{name}.{key}": value for key, value in module.state_dict().items()})
    parts.update({f"decoder.{key}": value for key, value in model.decoder.saved_state().items()})
    return parts


def load_vlm_tensors(model: VisionLanguageModel, tensors: dict[str, Tensor], where: str) -> None:
    """Puts the artefact's tensors into a built model; missing and extra keys are errors."""
    groups: dict[str, dict[str, Tensor]] = {"visual_tokens": {}, "fusion": {}, "decoder": {}}
    for key, value in tensors.items():
        group, _, rest = key.partition(".")
        if group not in groups:
            raise ValueError(f"{where} holds {key!r}, which belongs to no part of a model")
        groups[group][rest] = value
    for name, module in (("visual_tokens", model.visual_tokens), ("fusion", model.fusion)):
        check_tensors(module.state_dict(), groups[name], where=f"{where}: {name}")
        module.load_state_dict(groups[name], strict=True)
    model.decoder.load_saved_state(groups["decoder"])


def save_vlm(model: VisionLanguageModel, folder: Path) -> None:
    """Writes a model's folder in one step: it is there whole or not at all."""
    with tempfile.TemporaryDirectory() as scratch:
        model.tokenizer.save_pretrained(scratch)
        files = {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}
    config = {"format": FORMAT, **model.config}
    save_checkpoint(folder, config, vlm_tensors(model), files=files)


def load_vlm(folder: Path, *, load_vision_encoder: bool = True) -> VisionLanguageModel:
    """Loads a folder that `save_vlm` wrote.

    Raises:
        CheckpointError: where the folder holds no checkpoint, or a broken one.
        ConfigError: where the folder is of another kind, its config is not understood, or the
            tokenizer is missing.
        ValueError: where weights and config disagree, naming the tensors.
    """
    from transformers import PreTrainedTokenizerFast

    config, tensors = load_checkpoint(folder)
    where = str(folder / "config.json")
    if config.pop("format", None) != FORMAT:
        raise ConfigError(f"{where} is not of format {FORMAT}: is it a vision-language model?")
    if not (folder / TOKENIZER_FILE).is_file():
        raise ConfigError(
            f"{folder / TOKENIZER_FILE} does not exist: copy the model's whole folder"
        )
    # not AutoTokenizer: beside some config.json it swaps the saved tokenizer for a model's own
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    # fresh weights are drawn only to be overwritten: the caller's generator stays untouched
    with torch.random.fork_rng(devices=[]):
        model = build_vlm(config, tokenizer, where=where)
    load_vlm_tensors(model, tensors, str(folder / "model.safetensors"))
    if load_vision_encoder:
        choice = config["vision_encoder"]
        encoder = component("vision_encoder", choice["name"], choice["options"], where=where)
        built = encoder.build(image_size=config["image_size"])
        grid = (int(config["grid"][0]), int(config["grid"][1]))
        model._vision_encoder = (with_grid(built, grid),)
    return model.eval()
