from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.read_images import answer_prompts, read_images
from edge_glass.fusion.visual_tokens import VisualTokensConfig
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.word_matches import AlignedPatches, AlignedSpace, WordMatches

QUESTIONS = ["how many dogs are there?", "where is the cat?", "what?"]
SPACE = AlignedSpace(dim=4, projection="linear", hidden_width=None, word_dropout=0.5)
BOTH = pytest.mark.parametrize(
    ("decoder", "fusion"),
    list(itertools.product(("trm", "qwen2_5_tiny"), ("concat", "cross_attention", "gated"))),
)
BuildVlm = Callable[..., VisionLanguageModel]


@pytest.fixture
def matches() -> WordMatches:
    """Words 2 and 3 have a direction each; nobody learned word 3."""
    torch.manual_seed(0)
    built = WordMatches(SPACE, vocab_size=5, unknown_id=1, patches=2, width=6, size=1.0)
    built.words[2, 0], built.words[3, 1] = 1.0, 1.0
    built.known[3] = False
    return built.eval()


def test_a_word_reads_where_its_object_lies(matches: WordMatches) -> None:
    visual = torch.zeros(1, 2, 7)  # three numbers of another kind, then the aligned ones
    visual[0, :, :3] = 9.0
    visual[0, 0, 3], visual[0, 1, 4] = 1.0, 1.0  # object 2 in the first patch, 3 in the second
    with torch.no_grad():
        added = matches.additions(visual, torch.tensor([[2, 3, 0]]))[0]
    here, none = torch.sigmoid(torch.tensor([10.0 * 0.6, -10.0 * 0.4])).tolist()
    expected = torch.tensor([[here, none, here], [none, here, here], [none, none, none]])
    torch.testing.assert_close(added, expected @ matches.places.weight.T)


def test_words_that_nobody_learned_are_read_as_unknown(matches: WordMatches) -> None:
    ids = torch.tensor([[0, 2, 3, 4]])
    assert matches.read_as(ids).tolist() == [[0, 2, 1, 4]]
    matches.train()
    drawn = torch.cat([matches.read_as(ids) for _ in range(200)])
    assert (drawn[:, [0, 3]] == ids[:, [0, 3]]).all()  # without meaning: never left out
    assert (drawn[:, 2] == 1).all()
    assert (drawn[:, 1] == 1).float().mean() == pytest.approx(0.5, abs=0.15)  # 4 deviations


@pytest.mark.parametrize("num_names", [0, 2])
def test_patches_are_unit_vectors_of_a_head_that_learns_names_if_there_are_any(
    num_names: int,
) -> None:
    patches = AlignedPatches(replace(SPACE, num_names=num_names), 5)
    vectors = patches(torch.randn(2, 3, 5))
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 3))
    assert {each.requires_grad for each in patches.parameters()} == {num_names > 0}


@BOTH
@pytest.mark.parametrize("num_names", [0, 3])
@torch.no_grad()
def test_words_are_matched_in_training_in_answers_and_after_loading(
    tiny_vlm: BuildVlm, tmp_path: Path, decoder: str, fusion: str, num_names: int
) -> None:
    model = tiny_vlm(decoder, fusion, aligned_dim=4, num_names=num_names)
    features = torch.randn(1, 9, 24)
    ids = torch.tensor([prompt_ids(model.tokenizer, QUESTIONS[0])])

    def hidden(of: VisionLanguageModel) -> Tensor:
        output = of(features, ids, torch.zeros_like(ids), ids)  # all but the last are computed
        return output.hidden_states[-1][:, -ids.shape[1] : -1]

    whole = hidden(model)
    model.save_pretrained(tmp_path)
    loaded = VisionLanguageModel.from_pretrained(tmp_path, load_vision_encoder=False)
    torch.testing.assert_close(hidden(loaded), whole, rtol=0, atol=0)
    # the same answers with the image read once, and word by word
    prompts = [prompt_ids(model.tokenizer, question) for question in QUESTIONS]
    answers = model.answer_features(features.expand(3, -1, -1), QUESTIONS)
    assert answer_prompts(model, read_images(model, features), [0, 0, 0], prompts) == answers
    assert model.matches is not None
    if model.matches.readings is not None:
        model.matches.readings.vectors.zero_()
        assert (hidden(model) - whole).abs().max() > 1e-4
    model.matches.words.zero_()
    assert (hidden(model) - whole).abs().max() > 1e-4


def test_options_that_do_not_fit_are_refused(tiny_vlm: BuildVlm) -> None:
    with pytest.raises(ValueError, match="aligned_dim is 4 and kind is 'pooled'"):
        VisualTokensConfig(kind="pooled", aligned_dim=4)
    with pytest.raises(ValueError, match="hidden_width is null"):
        AlignedSpace(dim=4, projection="mlp", hidden_width=None)
    config = tiny_vlm("trm", "concat", aligned_dim=4).config
    with pytest.raises(ValueError, match="aligned_dim is 4 and aligned_space is None"):
        type(config)(**{**vars(config), "aligned_space": None})
