"""The folder of a vision-language model: config.json, model.safetensors and tokenizer files.

It holds all that `answer` needs except the frozen vision encoder and the base weights of a decoder
from the hub; config.json names these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from edge_glass.encoders.checkpoint import load_checkpoint, save_checkpoint
from edge_glass.encoders.components import ConfigError
from edge_glass.fusion.vlm_config import VlmConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

TOKENIZER_FILE = "tokenizer.json"


def save_vlm(
    folder: Path,
    config: VlmConfig,
    tokenizer: PreTrainedTokenizerBase,
    tensors: Mapping[str, Tensor],
) -> None:
    """Writes a model's folder; a kill leaves the old checkpoint or the new one."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        files = {path.name: path.read_bytes() for path in sorted(Path(scratch).iterdir())}
    save_checkpoint(folder, config.to_dict(), tensors, files=files)


def load_vlm(folder: Path) -> tuple[VlmConfig, PreTrainedTokenizerFast, dict[str, Tensor]]:
    """Reads what `save_vlm` wrote.

    Raises:
        CheckpointError: if the folder holds no checkpoint, or a broken one.
        ConfigError: if the checkpoint is of a different kind, its config is not understood, or the
            tokenizer is missing.
    """
    from transformers import PreTrainedTokenizerFast

    values, tensors = load_checkpoint(folder)
    config = VlmConfig.from_dict(values, where=str(folder / "config.json"))
    if not (folder / TOKENIZER_FILE).is_file():
        raise ConfigError(
            f"{folder / TOKENIZER_FILE} does not exist; copy the model's whole folder again"
        )
    # Not AutoTokenizer: for some config.json files it replaces the saved tokenizer by a model's own
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    return config, tokenizer, tensors


def part_tensors(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of one part, by their names in it."""
    start = f"{name}."
    return {key.removeprefix(start): each for key, each in tensors.items() if key.startswith(start)}
