"""Import of a PEFT folder: its LoRA adapters take the place of those of a trained model.

    edge-glass import-adapters models/vlm_qa ADAPTERS OUT

The folder holds `adapter_model.safetensors` and `adapter_config.json`, as `save_pretrained` of peft
and `edge-glass export peft` write them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.lora import ADAPTER
from edge_glass.encoders.files import output_folder
from edge_glass.fusion.export.new_folder import check_new_folder
from edge_glass.fusion.vlm import VisionLanguageModel

CONFIG_FILE, TENSORS_FILE, PICKLE_FILE = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
MAX_NAMED = 3  # tensors that an error lists
# What changes nothing in what trained adapters compute, or is compared by the tensors.
NOT_COMPARED = {
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
}
# The other ways to initialise adapters also change the weights of the base model.
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")


def import_adapters(model: Path, adapters: Path, out: Path) -> None:
    """Writes a copy of a vision-language model with the adapters of a PEFT folder.

    Raises:
        ValueError: if a file is missing, broken or a pickle, or the adapters are of a different
            base model, rank, scale or set of layers.
        OSError: if `out` exists and is not empty, or can't be written.
    """
    if not model.is_dir():
        raise FileNotFoundError(
            f"{model}: no such folder; give the folder of a vision-language model"
        )
    check_new_folder(out, model, adapters)
    config, tensors = read_folder(adapters)
    vlm = VisionLanguageModel.from_pretrained(model, load_vision_encoder=False)
    decoder = vlm.decoder
    if not isinstance(decoder, CausalLmDecoder) or decoder.lora is None:
        raise ValueError(
            f"{model}: its decoder has no LoRA adapters; train it with the option lora"
        )
    check_config(config, decoder, vlm.config.decoder.config.model, where=adapters / CONFIG_FILE)
    check_names(tensors, decoder.saved_state(), where=adapters / TENSORS_FILE)
    decoder.load_saved_state(tensors)
    with output_folder(out) as work:
        vlm.save_pretrained(work)


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the config and the tensors by the names that they have in a model of peft."""
    config_path, tensors_path = folder / CONFIG_FILE, folder / TENSORS_FILE
    if not tensors_path.is_file() and (folder / PICKLE_FILE).is_file():
        raise ValueError(
            f"{folder / PICKLE_FILE} is a pickle, which can run any code when it is read; save the "
            "adapters again with save_pretrained(FOLDER, safe_serialization=True)"
        )
    for path in (config_path, tensors_path):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist; give a folder that save_pretrained of peft wrote"
            )
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{config_path} is not JSON ({error}); copy the folder again") from None
    if not isinstance(config, dict):
        raise ValueError(
            f"{config_path} holds a {type(config).__name__}, expected an object; copy the folder "
            "again"
        )
    try:
        stored = load_file(tensors_path)
    except SafetensorError as error:
        raise ValueError(f"{tensors_path} is broken ({error}); copy the folder again") from None
    tensors = {}
    for name, value in stored.items():
        for part in ("lora_A", "lora_B"):
            name = name.replace(f".{part}.weight", f".{part}.{ADAPTER}.weight")
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise ValueError(
                f"{tensors_path}: {name} holds NaN, infinity or no fractions; use the adapters of "
                "an earlier step"
            )
        tensors[name] = value
    return config, tensors


def check_config(
    config: Mapping[str, Any], decoder: CausalLmDecoder, base: str | None, *, where: Path
) -> None:
    """Refuses adapters of a different base model, kind, rank or scale."""
    adapted: Any = decoder.model
    own = adapted.peft_config[ADAPTER].to_dict()
    found, revision = config.get("base_model_name_or_path"), config.get("revision")
    known = (base, own["base_model_name_or_path"])
    if found and any(known) and found not in known:
        raise ValueError(
            f"{where}: base_model_name_or_path is {found!r}, but the decoder's model is {base!r}; "
            "give adapters of this model, or correct the name if it is the same model"
        )
    expected = decoder_revision(decoder)
    if revision and expected and revision not in (expected, "main"):
        raise ValueError(
            f"{where}: revision is {revision!r}, but the decoder's model is {expected!r}; give "
            "adapters of this commit"
        )
    start = config.get("init_lora_weights")
    if start not in PLAIN_STARTS:
        raise ValueError(
            f"{where}: init_lora_weights is {start!r}, which also changes the base model; convert "
            "the adapters to plain LoRA with peft"
        )
    for name in sorted((set(config) | {"r", "lora_alpha", "peft_type"}) - NOT_COMPARED):
        value, ours = config.get(name), own.get(name)
        if (value or None) != (getattr(ours, "value", ours) or None):
            raise ValueError(
                f"{where}: {name} is {value!r}, but the decoder's adapters have "
                f"{getattr(ours, 'value', ours)!r}; give adapters of the options lora of the model"
            )


def decoder_revision(decoder: CausalLmDecoder) -> str | None:
    """Returns the commit of a base model from the hub, None for a folder."""
    return getattr(decoder.causal_lm.config, "_commit_hash", None)


def check_names(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, where: Path
) -> None:
    """Refuses tensors of other layers or shapes; the error lists the first of them."""
    faults = []
    for word, names in (
        ("missing", sorted(set(expected) - set(found))),
        ("extra", sorted(set(found) - set(expected))),
    ):
        if names:
            faults.append(f"{len(names)} {word} ({shown_names(names)})")
    faults += [
        f"{name} of shape {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in sorted(set(found) & set(expected))
        if found[name].shape != expected[name].shape
    ][:MAX_NAMED]
    if faults:
        raise ValueError(
            f"{where} does not fit the decoder: {'; '.join(faults)}; give adapters of the same "
            "model and target_modules"
        )


def shown_names(names: Sequence[str]) -> str:
    """Returns the first names, with dots if there are more."""
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
