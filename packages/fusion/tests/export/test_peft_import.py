"""Adapters that peft saved, in a model of ours: the same logits; and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_glass.encoders.components import component
from edge_glass.fusion.export.formats import export_model
from edge_glass.fusion.export.peft_import import import_adapters
from edge_glass.fusion.vlm import VisionLanguageModel

pytestmark = pytest.mark.filterwarnings(
    # peft uses a name that transformers 5.23 has deprecated, and asks for a base model on the hub
    "ignore:`is_gradient_checkpointing`:FutureWarning",
    "ignore:Could not find a config file:UserWarning",
)
IDS = torch.tensor([[3, 5, 7, 9]])


@pytest.fixture
def folders(tiny_vlm: Callable[..., VisionLanguageModel], tmp_path: Path) -> Path:
    """Writes a base model, our model on it, and the adapters that peft made for the base."""
    peft: Any = pytest.importorskip("peft")
    from transformers import Qwen2ForCausalLM

    base = tiny_vlm("qwen2_5_tiny", "concat")
    base.decoder.causal_lm.save_pretrained(tmp_path / "base")  # type: ignore[operator,union-attr]
    base.tokenizer.save_pretrained(tmp_path / "base")
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "down_proj"]}
    options = {"model": str(tmp_path / "base"), "lora": lora}
    tiny_vlm("qwen2_5_tiny", "concat", decoder_options=options).save_pretrained(tmp_path / "model")
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["down_proj", "q_proj"],
        init_lora_weights=False,  # both matrices are random, as after training
        task_type="CAUSAL_LM",
    )
    adapted = peft.get_peft_model(Qwen2ForCausalLM.from_pretrained(tmp_path / "base"), config)
    adapted.save_pretrained(tmp_path / "adapters")
    return tmp_path


def test_a_folder_of_peft_gives_its_logits(folders: Path) -> None:
    import peft
    from transformers import Qwen2ForCausalLM

    import_adapters(folders / "model", folders / "adapters", folders / "out")
    model = VisionLanguageModel.from_pretrained(folders / "out", load_vision_encoder=False)
    theirs: Any = peft.PeftModel.from_pretrained(
        Qwen2ForCausalLM.from_pretrained(folders / "base"), folders / "adapters"
    )
    embeds, mask = model.decoder.embed(IDS), torch.ones_like(IDS)
    with torch.no_grad():
        ours = model.decoder.project(model.decoder(embeds, mask).hidden_states[-1])
        expected = theirs.eval()(input_ids=IDS).logits
        plain = Qwen2ForCausalLM.from_pretrained(folders / "base")(input_ids=IDS).logits
    # the same float32 operations; only the mask is made in a different way
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    assert (expected - plain).abs().max() > 1e-3


def test_merged_adapters_are_the_base_of_a_new_training(folders: Path) -> None:
    import peft
    from transformers import Qwen2ForCausalLM

    theirs: Any = peft.PeftModel.from_pretrained(
        Qwen2ForCausalLM.from_pretrained(folders / "base"), folders / "adapters"
    ).eval()
    with torch.no_grad():
        expected = theirs(input_ids=IDS).logits
    theirs.merge_and_unload().save_pretrained(folders / "merged")
    for file in (folders / "base").glob("tokenizer*"):
        shutil.copy(file, folders / "merged")
    options = {"model": str(folders / "merged"), "lora": {"rank": 4, "alpha": 8}}
    config = component("decoder", "causal_lm", options, where="test")
    decoder = config.build(config.build_tokenizer([]))
    with torch.no_grad():
        hidden = decoder(decoder.embed(IDS), torch.ones_like(IDS)).hidden_states[-1]
        # new adapters change nothing yet; merging rounds once more
        torch.testing.assert_close(decoder.project(hidden), expected, rtol=0, atol=1e-5)
    trained = [name for name, each in decoder.named_parameters() if each.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_export_and_import_keep_every_tensor(folders: Path) -> None:
    import_adapters(folders / "model", folders / "adapters", folders / "first")
    export_model("peft", folders / "first", folders / "exported")
    import_adapters(folders / "model", folders / "exported", folders / "second")
    first, second = (
        VisionLanguageModel.from_pretrained(
            folders / name, load_vision_encoder=False
        ).decoder.saved_state()
        for name in ("first", "second")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert sum(float(value.abs().sum()) for value in first.values()) > 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("base_model_name_or_path", "other/model", "is 'other/model', but the decoder's model is"),
        ("base_model_name_or_path", ["other"], r"is \['other'\], but the decoder's model is"),
        ("r", 8, "r is 8, but the decoder's adapters have 4"),
        ("lora_alpha", 16, "lora_alpha is 16, but the decoder's adapters have 8"),
        ("use_rslora", True, "use_rslora is True"),
        ("alpha_pattern", {"q_proj": 2}, "alpha_pattern is"),
        ("modules_to_save", ["lm_head"], "modules_to_save is"),
        ("peft_type", "IA3", "peft_type is 'IA3', but the decoder's adapters have 'LORA'"),
        ("init_lora_weights", "pissa", "which also changes the base model"),
        ("a_later_option", 1, "a_later_option is 1"),
    ],
)
def test_other_adapters_are_refused(folders: Path, field: str, value: Any, message: str) -> None:
    path = folders / "adapters" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=message) as error:
        import_adapters(folders / "model", folders / "adapters", folders / "out")
    assert "\n" not in str(error.value)
    assert not (folders / "out").exists()


def test_tensors_that_do_not_fit_are_listed(folders: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folders / "adapters" / "adapter_model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    save_file(
        {key: each for key, each in tensors.items() if key != name} | {"odd": torch.zeros(1)}, path
    )
    with pytest.raises(ValueError, match=r"1 missing \(base_model.*\); 1 extra \(odd\); give"):
        import_adapters(folders / "model", folders / "adapters", folders / "out")
    save_file(tensors | {name: torch.zeros(2, 3)}, path)
    with pytest.raises(ValueError, match=r"of shape \(2, 3\), expected"):
        import_adapters(folders / "model", folders / "adapters", folders / "out")
    save_file(tensors | {name: torch.full_like(tensors[name], torch.nan)}, path)
    with pytest.raises(ValueError, match="NaN"):
        import_adapters(folders / "model", folders / "adapters", folders / "out")
    path.write_bytes(b"odd")
    with pytest.raises(ValueError, match="is broken"):
        import_adapters(folders / "model", folders / "adapters", folders / "out")
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"adapter_model\.bin is a pickle"):
        import_adapters(folders / "model", folders / "adapters", folders / "out")


def test_a_model_without_adapters_is_refused(folders: Path, vlm_folder: Path) -> None:
    with pytest.raises(ValueError, match="its decoder has no LoRA adapters"):
        import_adapters(vlm_folder, folders / "adapters", folders / "out")
    shutil.rmtree(folders / "adapters")
    with pytest.raises(FileNotFoundError, match=r"adapter_config\.json does not exist"):
        import_adapters(folders / "model", folders / "adapters", folders / "out")
