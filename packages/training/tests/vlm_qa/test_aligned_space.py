from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.files import DataError
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.training.engine.processes import Processes
from edge_glass.training.features.cache import prepared_rows, read_index, vision_features
from edge_glass.training.folders import ALIGNED, PREPARED, VLM
from edge_glass.training.runtime.nothing_to_do import nothing_to_do
from edge_glass.training.stages import align, vlm_qa
from edge_glass.training.vlm_qa.aligned_space import (
    aligned_space,
    load_aligned_space,
    names_in,
    start_embeddings,
    word_vectors,
    words_of,
)
from edge_glass.training.vlm_qa.model import build_model
from edge_glass.training.vlm_qa.token_arrays import PackedQuestions, token_arrays
from edge_glass.training.vlm_qa.training_data import read_training_data

Configure = Callable[..., Any]


WIDE = {"poolings": {"attention": {"num_queries": 2, "width": None, "key_dim": 8, "num_heads": 2}}}
TOKENS = {"kind": "grid", "width": 8, "aligned_dim": 4}


def test_a_model_gets_the_space_that_align_trained(configure: Configure) -> None:
    params = configure(WIDE, visual_tokens=TOKENS, word_dropout=0.25)
    align.run(params)
    index = read_index()
    data = read_training_data(params, index, Processes())
    model = build_model(params, index, data.tokenizer)
    load_aligned_space(model, data.samples)
    dual = DualEncoder.from_pretrained(ALIGNED)
    features = torch.tensor(vision_features("questions", "train")[:2]).float()
    whole = dual.image_head(features)
    cut = torch.nn.functional.normalize(whole[..., :4], dim=-1)
    # one product of 4 rows instead of all sums in a different order
    torch.testing.assert_close(model.visual_tokens(features)[..., -4:], cut, atol=1e-6, rtol=1e-5)
    # words of captions have a meaning, and are known only if a question has them
    assert model.matches is not None
    row = prepared_rows("questions", "train", PREPARED)[0]
    asked = data.tokenizer(row["question"], add_special_tokens=False)["input_ids"]
    assert model.matches.known[asked].all()
    assert not model.matches.known.all()
    assert model.matches.word_dropout == 0.25
    word = next(each for each in asked if model.matches.words[each].any())
    text = data.tokenizer.convert_ids_to_tokens(word)
    # words are encoded in batches
    torch.testing.assert_close(
        model.matches.words[word], dual.encode_text([text], truncate_dim=4)[0], atol=1e-5, rtol=1e-4
    )


def test_the_stage_trains_with_it_and_saves_it(configure: Configure) -> None:
    params = configure(WIDE, visual_tokens=TOKENS, word_dropout=0.25, naming={"weight": 0.5})
    align.run(params)
    vlm_qa.run(params)
    model = VisionLanguageModel.from_pretrained(VLM, load_vision_encoder=False)
    assert model.matches is not None
    assert model.matches.words.any()
    assert model.matches.scale != 10.0  # trained


def test_names_are_words_of_answers_that_few_images_have(configure: Configure) -> None:
    tokenizer = configure().decoder.config.build_tokenizer(["yes cat dog is there a 2"])
    yes, cat, dog, two = tokenizer.convert_tokens_to_ids(["yes", "cat", "dog", "2"])
    rows = [PackedQuestions(image=0, input_ids=(dog, yes), labels=(-100, yes), segment_ids=(0, 0))]
    other = PackedQuestions(
        image=1, input_ids=(dog, two, cat), labels=(-100, two, cat), segment_ids=(0, 0, 0)
    )
    samples = token_arrays([*rows * 39, *[other] * 4])
    assert names_in(samples, tokenizer).tolist() == [cat]  # in 4 of 43 images; "2" is not a word
    samples = token_arrays([*rows * 39, *[other] * 5])
    assert names_in(samples, tokenizer).tolist() == []  # 5 are more than 3 %


def test_word_embeddings_start_near_the_vectors_of_words() -> None:
    torch.manual_seed(0)
    words = torch.nn.functional.normalize(torch.randn(200, 8), dim=1)
    words[:20] = 0.0  # tokens without meaning
    fresh = torch.randn(200, 64) * 0.1
    table = fresh.clone()
    start_embeddings(table, words)
    assert (table[:20] == fresh[:20]).all()
    torch.testing.assert_close(
        table.norm(dim=1).mean(), fresh.norm(dim=1).mean(), rtol=0.05, atol=0
    )
    # 0.7 of two rows' cosine is that of their vectors, the rest noise of 64 dims
    rows = torch.nn.functional.normalize(table[20:], dim=1)
    vectors = words[20:] - words[20:].mean(dim=0)
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    difference = rows @ rows.T - 0.7 * vectors @ vectors.T - 0.3 * torch.eye(180)
    assert difference.abs().mean() < 0.1


def test_without_captions_words_are_not_matched(configure: Configure) -> None:
    params = configure(visual_tokens=TOKENS)
    nothing_to_do("align", "the data set has no captions", ALIGNED)
    assert vlm_qa.fitted_config(params.vlm_qa).visual_tokens.aligned_dim == 0


def test_only_words_have_a_meaning(configure: Configure) -> None:
    params = configure()
    tokenizer = params.decoder.config.build_tokenizer(["is it a cat?", "2 ##"])
    dual = DualEncoder.from_pretrained(ALIGNED)
    vectors = word_vectors(dual, tokenizer, 4)
    named = {
        tokenizer.convert_ids_to_tokens(row) for row in range(len(vectors)) if vectors[row].any()
    }
    assert named == {"is", "it", "cat"}


def test_words_of_a_tokenizer_with_gaps() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"cat": 0, "[UNK]": 1, "dog": 5}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    assert words_of(tokenizer) == {0: "cat", 5: "dog"}


def test_a_space_that_does_not_fit_is_refused(configure: Configure) -> None:
    configure()  # its head reads 16 numbers: a patch of so many would fit
    with pytest.raises(DataError, match="aligned_dim is 5000, but models/align has"):
        aligned_space(5000, 0.0, 16)
    with pytest.raises(DataError, match=r"the image head reads .* and a patch has 3"):
        aligned_space(4, 0.0, 3)
