"""Pretrained models that are incomplete, broken or unusual."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from edge_glass.decoders import pretrained
from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.contract import check_contract
from edge_glass.decoders.model_source import ModelSource
from edge_glass.decoders.pretrained import load_model, load_tokenizer
from edge_glass.decoders.sampling import generate
from tiny_families import SIZES, tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

COMMIT = "0" * 40


def load(folder: Path) -> Any:
    return load_model(ModelSource(place=str(folder)), torch.float32, "none")


@pytest.fixture
def copy(qwen_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(qwen_folder, tmp_path / "copy"))


def test_a_missing_tensor_is_refused_instead_of_drawn(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    message = r"copy: 1 tensors are missing, such as model\.layers\.1\.mlp\.up_proj\.weight; copy"
    with pytest.raises(ValueError, match=message):
        load(copy)


def test_a_config_with_fewer_layers_than_the_weights_is_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    # buffers that older versions wrote have no place, and no logit depends on them
    tensors = load_file(copy / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
    tensors["model.layers.0.attn.bias"] = torch.zeros(4)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    load(copy)
    config = json.loads((copy / "config.json").read_text())
    fewer = config["num_hidden_layers"] - 1
    config |= {"num_hidden_layers": fewer, "layer_types": config["layer_types"][:fewer]}
    (copy / "config.json").write_text(json.dumps(config))
    message = rf"copy: its weights hold \d+ tensors .* such as model\.layers\.{fewer}\..*; copy the"
    with pytest.raises(ValueError, match=message) as caught:
        load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"{}"),
        ("config.json", b'{"model_type": "no_such_family"}'),
        ("model.safetensors", None),
        ("model.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "),
        ("model.safetensors", b"short"),
        ("config.json", b"[]"),
        ("config.json", b'{"model_type": ["llama"]}'),
        ("config.json", b'{"model_type": "llama", "hidden_size": "wide"}'),
        ("config.json", b'{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 0}'),
        ("config.json", b'{"model_type": "llama", "vocab_size": 9, "pad_token_id": 99}'),
        ("config.json", b'{"model_type": "llama", "hidden_act": "none", "hidden_size": 64}'),
    ],
)
def test_a_broken_folder_is_named_on_one_line(copy: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"copy.*copy the model's whole folder again$") as caught:
        load(copy)
    assert "\n" not in str(caught.value)


def test_sizes_that_do_not_fit_the_weights_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "intermediate_size": 80}))
    with pytest.raises(
        ValueError,
        match=r"copy: .*down_proj.weight has shape .*64, 96.*, but config.json means .*64, 80",
    ):
        load(copy)


def test_weights_that_would_be_read_wrongly_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    quantized = {**config, "quantization_config": {"quant_method": "fp8"}}
    (copy / "config.json").write_text(json.dumps(quantized))
    with pytest.raises(ValueError, match="are quantised already; give the model's unquantised"):
        load(copy)
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"only in pytorch_model\.bin, a pickle file, .*; give the"
    ):
        load(copy)


def test_the_code_of_a_folder_is_never_run_nor_offered(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = {"model_type": "own", "auto_map": {"AutoConfig": "code.Config"}}
    (copy / "config.json").write_text(json.dumps(code))
    (copy / "code.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ValueError, match="can't be loaded"):
        load(copy)
    assert "y/N" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"{}", b"[", b"\xff\xfe"])
def test_a_tokenizer_that_cannot_be_read_has_its_own_remedy(
    copy: Path, content: bytes | None
) -> None:
    (copy / "tokenizer.json").unlink()
    if content is not None:
        (copy / "tokenizer.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^the tokenizer of .*; give a folder with the mod"
    ) as got:
        CausalLmConfig(model=str(copy)).build_tokenizer([])
    assert "\n" not in str(got.value)


def test_an_id_behind_a_gap_counts_as_an_entry(copy: Path) -> None:
    tokenizer = CausalLmConfig(model=str(copy)).build_tokenizer([])
    text = json.loads(tokenizer.backend_tokenizer.to_str())
    tokenizer.save_pretrained(copy)
    entry = next(
        each for each in text["model"]["vocab"] if each not in tokenizer.all_special_tokens
    )
    text["model"]["vocab"][entry] = 5000
    (copy / "tokenizer.json").write_text(json.dumps(text))
    config = CausalLmConfig(model=str(copy))
    with pytest.raises(ValueError, match="the tokenizer needs 5001 entries, the model has only"):
        config.build(config.build_tokenizer([]))


def test_a_hub_model_that_is_not_on_this_machine_has_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = ModelSource(place="org/model", revision=COMMIT)
    for use in (load_tokenizer, lambda each: load_model(each, torch.float32, "none")):
        with pytest.raises(ValueError, match=r"org/model can't be loaded .*; run it once with a n"):
            use(source)


def test_a_model_without_a_pad_token_pads_with_its_end(copy: Path) -> None:
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = CausalLmConfig(model=str(copy)).build_tokenizer([])
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    settings.pop("eos_token")
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"has no end-of-sequence token, .*; set eos_token in its"):
        CausalLmConfig(model=str(copy)).build_tokenizer([])


def test_several_end_tokens_end_an_answer(copy: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": 5}))
    assert CausalLmConfig(model=str(copy)).build(tokenizer).stop_ids == (5,)
    settings = {"eos_token_id": [5, 7]}
    (copy / "generation_config.json").write_text(json.dumps(settings))
    model = CausalLmConfig(model=str(copy)).build(tokenizer).eval()
    assert model.stop_ids == (5, 7)
    x = model.embed(torch.tensor([[9, 11, 13]]))
    mask = torch.ones(1, 3, dtype=torch.long)
    free = generate(model, x, mask, model.embed, 6, model.vocab_size)[0].tolist()
    assert len(free) == 6
    ends = (model.vocab_size, free[2])
    found = generate(model, x, mask, model.embed, 6, ends)[0].tolist()
    assert found == free[: free.index(free[2]) + 1]


def test_a_model_of_images_and_text_has_its_facts_in_its_text_config() -> None:
    text = {**SIZES, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    options = {"text_config": text, "vision_config": vision, "mm_tokens_per_image": 1}
    model = CausalLmDecoder(tiny_model("gemma3", options)).eval()
    assert model.family == "gemma3_text"
    assert (model.width, model.facts.window) == (32, 6)
    check_contract(model)


def test_a_device_without_enough_memory_is_one_line() -> None:
    source = ModelSource(place="big", revision=COMMIT)
    with (
        pytest.raises(ValueError, match=r"big can't be loaded \(OutOfMemory.*; set quantization: "),
        pretrained._one_line(source),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")
