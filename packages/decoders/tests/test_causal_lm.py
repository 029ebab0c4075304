from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from edge_glass.decoders.causal_lm import CausalLmDecoder
from edge_glass.decoders.causal_lm_config import CausalLmConfig
from edge_glass.decoders.qwen2_sizes import DEFAULT_SIZES, SIZES
from edge_glass.decoders.sampling import Sampling, generate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WIDTH = 64  # as conftest.py sizes the model
# float32: the same sums over at most 96 products in a different order, two layers deep
TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture
def model(sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast) -> CausalLmDecoder:
    return CausalLmConfig(config=sizes).build(tokenizer).eval()


def kept(batch: int, length: int) -> Tensor:
    return torch.ones(batch, length, dtype=torch.long)


def logits(model: CausalLmDecoder, x: Tensor, mask: Tensor, **arguments: Any) -> Tensor:
    return model.project(model(x, mask, **arguments).hidden_states[-1])


def test_equals_transformers_own_forward(
    model: CausalLmDecoder, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = torch.randint(0, len(tokenizer), (2, 7))
    mask = kept(2, 7)
    mask[0, 5:] = 0
    expected = model.causal_lm(input_ids=ids, attention_mask=mask, use_cache=False).logits
    found = logits(model, model.embed(ids), mask)
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], **TOLERANCE)


def test_no_future_token_reaches_an_answer_and_every_prefix_token_does(
    model: CausalLmDecoder,
) -> None:
    x = torch.randn(1, 6, WIDTH)
    for token in range(6):
        changed = x.clone()
        changed[:, token] += torch.randn(WIDTH)
        moved = (logits(model, x, kept(1, 6)) - logits(model, changed, kept(1, 6))).abs()
        assert moved[:, :token].sum() == 0
        assert moved[:, token:].amin(dim=(0, 2)).gt(0).all()


@pytest.mark.parametrize("tied", [True, False])
def test_words_of_a_model_from_scratch_start_at_unit_scale_and_logits_small(
    sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast, tied: bool
) -> None:
    entries = 2000  # enough that a mean square is known within a few percent
    config = CausalLmConfig(config=sizes | {"tie_word_embeddings": tied, "vocab_size": entries})
    model = config.build(tokenizer).eval()
    words = model.embed(torch.arange(entries)[None])
    assert abs(words.square().mean() - 1) < 0.02
    # a loss near that of guessing; tied unit vectors alone would give logits of sqrt(64) = 8
    assert logits(model, words[:, :50], kept(1, 50)).std() < 1.5


@pytest.mark.parametrize("training", [False, True])
def test_packed_questions_equal_separate_ones(model: CausalLmDecoder, training: bool) -> None:
    model.train(training)
    prefix = torch.randn(1, 3, WIDTH)
    first, second = torch.randn(1, 2, WIDTH), torch.randn(1, 4, WIDTH)
    group = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    may_see = (group[None, :] == 0) | (group[:, None] == group[None, :])
    positions = torch.tensor([[0, 1, 2, 3, 4, 3, 4, 5, 6]])
    x = torch.cat((prefix, first, second), dim=1)
    packed = logits(model, x, may_see[None], position_ids=positions)
    for question, rows in ((first, slice(3, 5)), (second, slice(5, 9))):
        alone_x = torch.cat((prefix, question), dim=1)
        alone = logits(model, alone_x, kept(1, alone_x.shape[1]))
        torch.testing.assert_close(packed[:, rows], alone[:, 3:], **TOLERANCE)
    # and not by chance: the first question's words move nothing in the second
    x[:, 3:5] += 1.0
    moved = logits(model, x, may_see[None], position_ids=positions)
    assert torch.equal(moved[:, 5:], packed[:, 5:])


@pytest.mark.parametrize("at", [0, 3, 7], ids=["left", "between", "right"])
def test_padding_changes_nothing(model: CausalLmDecoder, at: int) -> None:
    x = torch.randn(1, 7, WIDTH)
    padded = torch.cat((x[:, :at], 50 * torch.randn(1, 2, WIDTH), x[:, at:]), dim=1)
    mask = torch.cat((kept(1, at), torch.zeros(1, 2, dtype=torch.long), kept(1, 7 - at)), dim=1)
    found = logits(
        model, torch.cat((padded, torch.randn(1, 9, WIDTH))), torch.cat((mask, kept(1, 9)))
    )
    assert found.isfinite().all()
    expected = logits(model, x, kept(1, 7))
    torch.testing.assert_close(found[0, mask[0].bool()], expected[0], **TOLERANCE)


@pytest.mark.parametrize("side", ["left", "right"])
def test_cached_generation_equals_uncached_and_each_row_alone(
    model: CausalLmDecoder, side: str
) -> None:
    lengths = (4, 7, 9)
    rows = [torch.randn(1, n, WIDTH) for n in lengths]
    mask, x = torch.zeros(3, 9, dtype=torch.long), torch.randn(3, 9, WIDTH)
    for index, row in enumerate(rows):
        columns = slice(9 - lengths[index], 9) if side == "left" else slice(0, lengths[index])
        x[index, columns], mask[index, columns] = row[0], 1

    def run(inputs: Tensor, keep: Tensor, first: int, use_cache: bool) -> list[list[int]]:
        return generate(
            model,
            inputs,
            keep,
            model.embed,
            max_new_tokens=8,
            eos_token_id=model.vocab_size,
            sampling=Sampling(temperature=1.0),
            examples=range(first, first + len(inputs)),
            use_cache=use_cache,
        ).tolist()

    cached = run(x, mask, 0, use_cache=True)
    assert cached == run(x, mask, 0, use_cache=False)
    for index, row in enumerate(rows):
        assert run(row, kept(1, row.shape[1]), index, use_cache=True) == [cached[index]]
    assert len({word for row in cached for word in row}) > 4


@pytest.mark.parametrize("tied", [False, True])
def test_saved_state_rebuilds_the_decoder_through_safetensors(
    sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast, tied: bool, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    config = CausalLmConfig(config=sizes | {"tie_word_embeddings": tied})
    model, other = config.build(tokenizer).eval(), config.build(tokenizer).eval()
    save_file(model.saved_state(), tmp_path / "model.safetensors")
    state = load_file(tmp_path / "model.safetensors")
    other.load_saved_state(state)
    x = torch.randn(1, 5, WIDTH)
    assert torch.equal(logits(model, x, kept(1, 5)), logits(other, x, kept(1, 5)))
    del state["model.model.norm.weight"]
    with pytest.raises(RuntimeError, match=r"model\.model\.norm\.weight"):
        other.load_saved_state(state)


def test_gradient_checkpointing_changes_no_gradient(
    sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast
) -> None:
    gradients, recomputed_layers = [], []
    for recompute in (False, True, 2, 3):
        torch.manual_seed(2)
        deeper = sizes | {"num_hidden_layers": 3}
        config = CausalLmConfig(config=deeper, gradient_checkpointing=recompute)
        model = config.build(tokenizer).train()
        x = model.embed(torch.arange(6)[None])
        logits(model, x, kept(1, 6)).square().mean().backward()
        gradients.append([p.grad for p in model.parameters()])
        layers: Any = model.causal_lm.base_model.layers
        recomputed_layers.append(sum(layer.gradient_checkpointing for layer in layers))
    assert recomputed_layers == [0, 3, 2, 1]  # of three
    for plain, *recomputed in zip(*gradients, strict=True):
        assert plain is not None
        assert all(torch.equal(plain, each) for each in recomputed)


@pytest.mark.parametrize("every", [0, -1])
def test_checkpointing_needs_a_number_of_layers(sizes: dict[str, int], every: int) -> None:
    with pytest.raises(ValueError, match=f"gradient_checkpointing is {every}, expected false, tru"):
        CausalLmConfig(config=sizes, gradient_checkpointing=every)


def test_a_model_from_a_folder_equals_the_one_saved_there(
    qwen_folder: Path, sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast
) -> None:
    config = CausalLmConfig(model=str(qwen_folder))
    loaded = config.build_tokenizer(["ignored"])
    assert loaded.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    torch.manual_seed(1)  # as the fixture drew its weights
    original = CausalLmConfig(config=sizes | {"initializer_range": 0.08}).build(tokenizer).eval()
    x = torch.randn(1, 5, WIDTH)
    found = logits(config.build(loaded).eval(), x, kept(1, 5))
    assert torch.equal(found, logits(original, x, kept(1, 5)))


def test_a_hub_model_needs_commit_and_licence() -> None:
    name, commit = "Qwen/Qwen2.5-7B-Instruct", "a09a35458c702b33eeacc393d103063234e8bc28"
    assert CausalLmConfig(model=name, revision=commit, license="Apache-2.0").revision == commit
    with pytest.raises(ValueError, match=r"revision of Qwen/.* is 'main', expected a commit"):
        CausalLmConfig(model=name, revision="main", license="Apache-2.0")
    with pytest.raises(ValueError, match=r"license of Qwen/.* is missing"):
        CausalLmConfig(model=name, revision=commit)


def test_sizes_that_are_not_given_are_written_out_as_transformers_has_them() -> None:
    from transformers import Qwen2Config

    config = CausalLmConfig(config={"hidden_size": 64}).config
    assert config is not None
    assert config == {**DEFAULT_SIZES, "hidden_size": 64}
    assert {*DEFAULT_SIZES, "vocab_size"} == set(SIZES)
    theirs = Qwen2Config()
    assert {name: getattr(theirs, name) for name in DEFAULT_SIZES} == DEFAULT_SIZES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "/", "config": {}}, "give exactly one"),
        ({"config": {}, "quantization": "4bit"}, "nothing to quantise"),
        ({"config": {"hiden_size": 8}}, r"unknown fields \['hiden_size'\]"),
        ({"config": {}, "dtype": "float16"}, "expected one of float32, bfloat16"),
    ],
)
def test_config_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CausalLmConfig(**options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_attention_heads": 3}, r"config\.hidden_size is .* twice .* which is 3"),
        ({"num_key_value_heads": 3}, "num_key_value_heads is 3, expected a divisor of"),
        ({"hidden_act": "none"}, r"can't be built \(KeyError: 'none'\); correct hidden_act"),
        ({"rope_parameters": {"rope_type": "none"}}, r"\(KeyError: 'none'\); correct hidden_act"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused(
    wrong: dict[str, Any], message: str, sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(ValueError, match=message):
        CausalLmConfig(config=sizes | wrong).build(tokenizer)


def test_an_entry_without_a_model_is_refused_when_it_is_used(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    config = CausalLmConfig(chat_template="turn")
    for use in (lambda: config.width, lambda: config.build(tokenizer)):
        with pytest.raises(ValueError, match="model and config are null; give exactly one: model"):
            use()


def test_input_errors(
    sizes: dict[str, int], tokenizer: PreTrainedTokenizerFast, model: CausalLmDecoder
) -> None:
    short = CausalLmConfig(config=sizes | {"max_position_embeddings": 16}).build(tokenizer)
    with pytest.raises(ValueError, match="17 positions, but the model accepts 16"):
        short(torch.randn(1, 17, WIDTH), kept(1, 17))
    packed = torch.arange(17)[None] % 9  # 17 columns, 9 positions
    short(torch.randn(1, 17, WIDTH), kept(1, 17), position_ids=packed)
    with pytest.raises(TypeError, match="cache is a list, expected the CausalLmCache"):
        model(torch.randn(1, 1, WIDTH), kept(1, 5), cache=[], use_cache=True)
    with pytest.raises(ValueError, match="the tokenizer needs 20 entries, the model has only 4"):
        CausalLmConfig(config=sizes | {"vocab_size": 4}).build(tokenizer)
