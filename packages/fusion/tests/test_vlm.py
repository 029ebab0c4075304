"""The whole model on tiny real parts: packing, padding, saving."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from edge_glass.decoders.sampling import Sampling
from edge_glass.fusion.prompt import IGNORED, example_ids, prompt_ids
from edge_glass.fusion.vlm import VisionLanguageModel

QUESTIONS = ["how many dogs are there?", "where is the cat?", "what colour is it?"]
ANSWERS = ["two", "top left", "dark blue"]
BOTH = pytest.mark.parametrize(
    ("decoder", "fusion"),
    list(itertools.product(("trm", "qwen2_5_tiny"), ("concat", "cross_attention", "gated"))),
)
BuildVlm = Callable[..., VisionLanguageModel]


def row(model: VisionLanguageModel, which: list[int]) -> tuple[torch.Tensor, ...]:
    """Packs some questions in one row: ids, segments, labels, each (1, T)."""
    parts = [example_ids(model.tokenizer, QUESTIONS[at], ANSWERS[at]) for at in which]
    ids = [token for each, _ in parts for token in each]
    labels = [label for _, each in parts for label in each]
    segments = [number for number, (each, _) in enumerate(parts) for _ in each]
    return tuple(torch.tensor([each]) for each in (ids, segments, labels))


@BOTH
def test_packed_equals_alone(tiny_vlm: BuildVlm, decoder: str, fusion: str) -> None:
    model = tiny_vlm(decoder, fusion)
    features = torch.randn(1, 9, 24)
    packed = model(features, *row(model, [0, 1, 2])).hidden_states[-1]
    prefix = packed.shape[1] - row(model, [0, 1, 2])[0].shape[1]
    start = prefix
    for at in range(3):
        single_inputs = row(model, [at])
        single = model(features, *single_inputs).hidden_states[-1]
        length = single_inputs[0].shape[1]
        # float32 through a few layers; attention over masked columns adds in a different order
        torch.testing.assert_close(
            packed[:, start : start + length], single[:, prefix:], rtol=1e-4, atol=1e-4
        )
        start += length


@BOTH
def test_a_conversation_among_others_equals_the_conversation_alone(
    tiny_vlm: BuildVlm, decoder: str, fusion: str
) -> None:
    model = tiny_vlm(decoder, fusion)
    features = torch.randn(1, 9, 24)
    messages = [text for pair in zip(QUESTIONS, ANSWERS, strict=True) for text in pair]
    talk, other = (example_ids(model.tokenizer, *each)[0] for each in (messages, messages[2:4]))

    def logits(*parts: list[int]) -> torch.Tensor:
        # one token more: a position is computed if the token after it has a label
        ids = torch.tensor([[*(token for part in parts for token in part), 0]])
        segments = [number for number, part in enumerate(parts) for _ in part]
        segments.append(segments[-1])
        hidden = model(features, ids, torch.tensor([segments]), ids).hidden_states[-1]
        return model.decoder.project(hidden[0, -ids.shape[1] : -1])

    packed, alone = logits(other, talk), logits(talk)
    # float32 through a few layers; attention over masked columns adds in a different order
    torch.testing.assert_close(packed[len(other) :], alone, rtol=1e-4, atol=1e-4)
    # the last turn reads the earlier ones: as its own conversation it has different logits
    last = example_ids(model.tokenizer, *messages[4:])[0]
    assert (logits(last)[-1] - alone[-1]).abs().max() > 1e-3
    # and it is asked as it was learned
    prompt = prompt_ids(model.tokenizer, messages[4], messages[:4])
    torch.testing.assert_close(logits(prompt)[-1], alone[len(prompt) - 1], rtol=1e-4, atol=1e-4)


@BOTH
def test_answers_are_the_same_alone_and_in_a_padded_batch(
    tiny_vlm: BuildVlm, decoder: str, fusion: str
) -> None:
    model = tiny_vlm(decoder, fusion)
    features = torch.randn(3, 9, 24)
    together = model.answer_features(features, QUESTIONS)
    alone = [model.answer_features(features[at : at + 1], [QUESTIONS[at]])[0] for at in range(3)]
    assert together == alone
    assert any(together)


@BOTH
def test_the_model_can_learn_its_answers(tiny_vlm: BuildVlm, decoder: str, fusion: str) -> None:
    # Only the image decides between two answers to one question.
    model = tiny_vlm(decoder, fusion).train()
    features = torch.randn(2, 9, 24)
    parts = [example_ids(model.tokenizer, QUESTIONS[0], answer) for answer in ("left", "top")]
    ids = torch.tensor([each for each, _ in parts])
    labels = torch.tensor([each for _, each in parts])
    segments = torch.zeros_like(ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(50):
        output = model(features, ids, segments, labels)
        hidden = output.hidden_states[-1][:, :-1]
        logits = model.decoder.project(hidden)
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), output.labels[:, 1:].flatten(), ignore_index=IGNORED
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    assert model.answer_features(features, [QUESTIONS[0]] * 2) == ["left", "top"]


@pytest.mark.parametrize("kind", ["grid", "pooled", "both"])
@pytest.mark.parametrize("decoder", ["trm", "qwen2_5_tiny"])
def test_saved_model_answers_and_weighs_the_same(
    tiny_vlm: BuildVlm, decoder: str, kind: str, tmp_path: Path
) -> None:
    model = tiny_vlm(decoder, "concat", kind)
    model.save_pretrained(tmp_path / "model")
    loaded = VisionLanguageModel.from_pretrained(tmp_path / "model", load_vision_encoder=False)
    state = model.state_dict()
    assert state.keys() == loaded.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in loaded.state_dict().items())
    features = torch.randn(3, 9, 24)
    assert loaded.answer_features(features, QUESTIONS) == model.answer_features(features, QUESTIONS)


def noise(number: int) -> list[Image.Image]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (number, 40, 50, 3), generator=generator, dtype=torch.uint8)
    return [Image.fromarray(each.numpy()) for each in pixels]


@pytest.mark.slow  # starts processes that import torch
def test_the_folder_answers_about_images_in_a_new_process(vlm_folder: Path, tmp_path: Path) -> None:
    # The folder alone: a different place, a new process, nothing of this one.
    copy = shutil.copytree(vlm_folder, tmp_path / "elsewhere")
    images = noise(3)
    for place, image in enumerate(images):
        image.save(tmp_path / f"{place}.png")
    code = (
        "import json, sys\nfrom PIL import Image\n"
        "from edge_glass.fusion.vlm import VisionLanguageModel\n"
        "model = VisionLanguageModel.from_pretrained(sys.argv[1])\n"
        "images = [Image.open(f'{sys.argv[2]}/{place}.png') for place in range(3)]\n"
        f"print(json.dumps(model.answer(images, {QUESTIONS!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(copy), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    before = torch.get_rng_state()
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert json.loads(done.stdout) == model.answer(images, QUESTIONS)


def test_a_question_gets_the_same_bits_alone_and_among_others(vlm_folder: Path) -> None:
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    images = noise(3)
    features = model.encode([images[0], images[0], images[1], images[2]])
    assert torch.equal(features[0], features[1])
    alone = [model.encode([image])[0] for image in images]
    assert all(map(torch.equal, features[1:], alone))

    hidden: list[torch.Tensor] = []  # what each projection to the vocabulary read
    model.decoder.output_norm.register_forward_hook(lambda *args: hidden.append(args[1][0][0]))
    together = model.answer(images, QUESTIONS)
    among_others, hidden[:] = list(hidden), []
    singly = [model.answer([images[at]], [QUESTIONS[at]])[0] for at in (2, 1, 0)][::-1]
    assert together == singly
    assert len(hidden) == len(among_others)
    assert {bytes(each.numpy()) for each in hidden} == {bytes(e.numpy()) for e in among_others}
    assert model.answer(images, QUESTIONS, batch_size=2) == together
    assert model.answer([], []) == []


def test_sampled_answers_depend_on_the_seed_and_on_the_number_of_the_question(
    vlm_folder: Path,
) -> None:
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    images, questions = noise(1) * 4, [QUESTIONS[0]] * 4
    greedy = model.answer(images, questions)
    assert len(set(greedy)) == 1
    assert model.answer(images, questions, sampling=Sampling(seed=3)) == greedy
    sampling = Sampling(temperature=2.0, seed=3)
    sampled = model.answer(images, questions, sampling=sampling)
    assert len(set(sampled)) > 1  # one question, four numbers
    assert model.answer(images[:2], questions[:2], sampling=sampling) == sampled[:2]
    assert model.answer(images, questions, sampling=sampling, batch_size=3) == sampled
    other = Sampling(temperature=2.0, seed=4)
    assert model.answer(images, questions, sampling=other) != sampled
    narrow = Sampling(temperature=2.0, seed=3, top_p=1e-6)  # keeps the most probable word only
    assert model.answer(images, questions, sampling=narrow) == greedy


def test_bad_questions_are_refused(vlm_folder: Path) -> None:
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    image = noise(1)
    with pytest.raises(ValueError, match="question 1 of 1 is empty"):
        model.answer(image, [" \n"])
    with pytest.raises(ValueError, match="found 1 images and 2 questions"):
        model.answer(image, QUESTIONS[:2])
    with pytest.raises(ValueError, match="positions, but max_positions is 64; shorten the text"):
        model.answer(image, ["what " * 80])
    with pytest.raises(ValueError, match="batch_size is 0"):
        model.answer(image, QUESTIONS[:1], batch_size=0)
    blind = VisionLanguageModel.from_pretrained(vlm_folder, load_vision_encoder=False)
    with pytest.raises(ValueError, match="loaded without its vision encoder"):
        blind.answer(image, QUESTIONS[:1])


def test_saving_twice_gives_the_same_bytes(tiny_vlm: BuildVlm, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny_vlm("trm", "concat").save_pretrained(tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_missing_tensor_is_named(tiny_vlm: BuildVlm, tmp_path: Path) -> None:
    from edge_glass.encoders.checkpoint import load_checkpoint, save_checkpoint

    tiny_vlm("trm", "concat").save_pretrained(tmp_path)
    config, tensors = load_checkpoint(tmp_path)
    del tensors["fusion.projector.1.weight"]
    save_checkpoint(tmp_path, config, tensors)
    with pytest.raises(ValueError, match=r"missing: fusion\.projector\.1\.weight"):
        VisionLanguageModel.from_pretrained(tmp_path, load_vision_encoder=False)


def test_labels_cover_the_answer_and_eos_only(tiny_vlm: BuildVlm) -> None:
    model = tiny_vlm("trm", "concat")
    ids, labels = example_ids(model.tokenizer, QUESTIONS[0], ANSWERS[1])
    prompt = prompt_ids(model.tokenizer, QUESTIONS[0])
    assert labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert labels[len(prompt) :] == ids[len(prompt) :]
    assert labels[-1] == model.tokenizer.eos_token_id
    assert model.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True) == "top left"


def test_a_different_grid_is_refused(tiny_vlm: BuildVlm) -> None:
    model = tiny_vlm("trm", "concat")
    with pytest.raises(ValueError, match="hold 4 patches, expected 3 x 3"):
        model.answer_features(torch.randn(1, 4, 24), QUESTIONS[:1])
