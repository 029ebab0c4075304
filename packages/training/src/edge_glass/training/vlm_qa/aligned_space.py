"""The aligned space of a vision-language model: image head and word vectors from `align`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.files import DataError
from edge_glass.fusion.vlm import VisionLanguageModel
from edge_glass.fusion.word_matches import AlignedSpace
from edge_glass.training.folders import ALIGNED
from edge_glass.training.vlm_qa.token_arrays import TokenArrays

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 64  # words encoded together; a different number changes the last bits
COMMON = 0.03  # a word that answers about more of the images use names no object
FEW = 5  # images: in small data, fewer make no word common
SHARE = 0.7  # of a new decoder's word embedding that is the word's vector, of its variance


def aligned_space(
    dim: int, word_dropout: float, vision_width: int, num_names: int = 0
) -> AlignedSpace:
    """Returns the first `dim` dims of the space that `align` trained.

    Raises:
        DataError: if its image head does not read the features of a patch, or it has fewer dims.
    """
    config = DualEncoder.from_pretrained(ALIGNED, load_encoders=False).config
    pooled = config.pooling.config.build(config.image_width, config.grid)
    if (pooled.width, config.token_reduction) != (vision_width, "mean"):
        raise DataError(
            f"{ALIGNED}: the image head reads {pooled.width} numbers ({config.token_reduction} of "
            f"the pooled tokens), and a patch has {vision_width}: matching words needs a pooling "
            "of width: null and token_reduction: mean; or set visual_tokens.aligned_dim: 0"
        )
    if dim > config.matryoshka_dims[0]:
        raise DataError(
            f"visual_tokens.aligned_dim is {dim}, but {ALIGNED} has {config.matryoshka_dims[0]} "
            "dims; lower it"
        )
    hidden = config.hidden_width or config.matryoshka_dims[0]
    return AlignedSpace(
        dim=dim,
        projection=config.projection,
        hidden_width=hidden if config.projection == "mlp" else None,
        word_dropout=word_dropout,
        num_names=num_names,
    )


@torch.no_grad()
def load_aligned_space(model: VisionLanguageModel, samples: TokenArrays) -> None:
    """Fills a model's image head, its word vectors, its names, and which words the samples have.

    The word embeddings of a decoder from scratch start near the vectors of their words, so that
    what it learns of one name holds for the others.
    """
    aligned, matches = model.visual_tokens.aligned, model.matches
    if aligned is None or matches is None:
        return
    dual = DualEncoder.from_pretrained(ALIGNED, load_encoders=False)
    dual.add_encoders(text=True)
    # a prefix of a Matryoshka embedding is the last layer's first rows
    wanted = aligned.head.state_dict()
    found = {
        name: value[: len(wanted[name])] for name, value in dual.image_head.state_dict().items()
    }
    aligned.head.load_state_dict(found, strict=True)
    vectors = word_vectors(dual, model.tokenizer, aligned.dim)
    matches.words.zero_()
    matches.words[: len(vectors)] = vectors.to(matches.words.device)
    if matches.unknown_id is not None:  # a decoder from scratch
        start_embeddings(model.decoder.word_embeddings, matches.words)
    if matches.readings is not None:
        names = names_in(samples, model.tokenizer)
        matches.readings.token_ids.copy_(names)
        matches.readings.vectors.copy_(matches.words[names])
    matches.known.fill_(False)
    matches.known[torch.from_numpy(np.unique(samples.input_ids)).long()] = True


def word_vectors(dual: DualEncoder, tokenizer: PreTrainedTokenizerBase, dim: int) -> Tensor:
    """Returns the unit vector of each entry of a tokenizer, (V, dim).

    It is 0 for special tokens, marks, single letters and pieces with `##`. A space or a mark in
    front of a piece, as many pretrained tokenizers write it, is left out, so that their pieces
    inside a word count as words too.
    """
    words = words_of(tokenizer)
    vectors = torch.zeros(1 + max(tokenizer.get_vocab().values()), dim)
    if words:
        encoded = dual.encode_text(list(words.values()), truncate_dim=dim, batch_size=BATCH)
        vectors[list(words)] = encoded
    return vectors


def words_of(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Returns the tokens that are words, with their text."""
    special = set(tokenizer.all_special_tokens)
    tokens = {
        number: token.lstrip("\u0120\u2581")  # a space in the tokens of GPT-2 and of SentencePiece
        for token, number in tokenizer.get_vocab().items()  # numbers may have gaps
        if token not in special
    }
    # in order: it decides which words are encoded together
    return {
        number: token
        for number, token in sorted(tokens.items())
        if len(token) > 1 and token.isalpha()
    }


def names_in(samples: TokenArrays, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Returns the tokens of the words that answers use, those of many images left out, (K,)."""
    rows = np.repeat(np.arange(len(samples)), samples.lengths)
    answered = samples.labels >= 0
    pairs = np.unique(np.stack([samples.labels[answered], rows[answered]], axis=1), axis=0)
    tokens, counts = np.unique(pairs[:, 0], return_counts=True)
    common = max(FEW, COMMON * len(samples))
    rare = set(tokens[counts < common].tolist())
    return torch.tensor(sorted(rare & set(words_of(tokenizer))), dtype=torch.long)


def start_embeddings(table: Tensor, words: Tensor) -> None:
    """Mixes the vectors of words into rows of a decoder's fresh table (V, D), in place.

    Rows keep their length on average. The dims of the vectors go to random orthogonal directions.
    """
    words = words.cpu()  # the directions are drawn there, or a GPU would draw different ones
    named = words.any(dim=1)
    centred = words[named] - words[named].mean(dim=0)
    directions = torch.empty(words.shape[1], table.shape[1])
    torch.nn.init.orthogonal_(directions)
    vectors = torch.nn.functional.normalize(centred, dim=1) @ directions
    named = named.to(table.device)
    rows = table[named]
    size = rows.square().sum(dim=1, keepdim=True).mean().sqrt()
    table[named] = SHARE**0.5 * size * vectors.to(table) + (1 - SHARE) ** 0.5 * rows
