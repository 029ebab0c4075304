"""Word matches: in which patches of an image the object lies that a word names.

The heads of the aligned dual encoder put patches and words in one space, so their cosine tells how
well a patch fits a word before any question was learned. Each word's embedding gets

    match = sigmoid(scale * (cosine(word, patch) - threshold))        one number per patch
    embedding + places(match of each patch, largest match)

Without it a decoder from scratch has to find out for each name alone which patches it fits. Until
it has, a question such as "is there a cat?" has no gradient: its loss stays at ln 2. With it, one
rule serves all names.

A word that no question of the training split had keeps its match, and is read as `<unk>` otherwise.
So that the model knows what this means, `word_dropout` reads some words of each question so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from edge_glass.decoders.base import Decoder
from edge_glass.encoders.limits import MAX_WIDTH, check_at_least, check_between, check_share
from edge_glass.encoders.matryoshka import MatryoshkaProjection, ProjectionKind
from edge_glass.fusion.patch_readings import PatchReadings

SCALE, THRESHOLD = 10.0, 0.4  # at the start; both are learned


@dataclass(frozen=True, kw_only=True)
class AlignedSpace:
    """The space of the aligned dual encoder, cut to its first dims.

    Attributes:
        dim: a Matryoshka dim.
        projection, hidden_width: of the image head, see `encoders/matryoshka.py`.
        word_dropout: share of the words that training reads as `<unk>` with their match.
        num_names: how many words patches are read as, see `patch_readings.py`; 0 for none.
    """

    dim: int
    projection: ProjectionKind
    hidden_width: int | None
    word_dropout: float = 0.0
    num_names: int = 0

    def __post_init__(self) -> None:
        check_between(self, 1, MAX_WIDTH, "dim", "hidden_width")
        check_at_least(self, 0, "num_names")
        check_share(self, "word_dropout")
        if self.projection == "mlp" and self.hidden_width is None:
            raise ValueError("hidden_width is null, expected that of the aligned image head")
        if self.projection not in ("linear", "mlp"):
            raise ValueError(f"projection is {self.projection!r}, expected 'linear' or 'mlp'")


class AlignedPatches(nn.Module):
    """The aligned image head: features (B, P, Din) -> unit vectors (B, P, dim).

    `align` trained it on whole images. If patches are read as names it trains further, so that it
    names small objects in front of a background; otherwise it is frozen.
    """

    def __init__(self, space: AlignedSpace, input_width: int) -> None:
        super().__init__()
        self.dim = space.dim
        self.head = MatryoshkaProjection(
            input_width, (space.dim,), kind=space.projection, hidden_width=space.hidden_width
        ).requires_grad_(space.num_names > 0)

    def forward(self, features: Float[Tensor, "B P Din"]) -> Float[Tensor, "B P d"]:
        return F.normalize(self.head(features), dim=-1)


class WordMatches(nn.Module):
    """What is added to word embeddings, see the head of this file.

    Attributes:
        words: (V, dim), the unit vector of each token; 0 for tokens without meaning.
        known: (V,), whether the token was learned; others are read as `<unk>`.
        readings: what patches are read as; None without names.
    """

    words: Tensor
    known: Tensor

    def __init__(
        self,
        space: AlignedSpace,
        *,
        vocab_size: int,
        unknown_id: int | None,
        patches: int,
        width: int,
        size: float,
    ) -> None:
        """Draws the weights from torch's global generator.

        Args:
            space: of `words`.
            vocab_size: rows of the decoder's word embeddings (V).
            unknown_id: the token that others are read as; None reads all as they are.
            patches: places in an image (P).
            width: of a word embedding (D).
            size: root mean square of the numbers of word embeddings.
        """
        super().__init__()
        self.dim = space.dim
        self.unknown_id, self.word_dropout = unknown_id, space.word_dropout
        self.register_buffer("words", torch.zeros(vocab_size, space.dim))
        self.register_buffer("known", torch.ones(vocab_size, dtype=torch.bool))
        self.scale = nn.Parameter(torch.tensor(SCALE))
        self.threshold = nn.Parameter(torch.tensor(THRESHOLD))
        self.readings = PatchReadings(space.num_names, space.dim, size) if space.num_names else None
        self.places = nn.Linear(patches + 1, width, bias=False)
        # A patch that fits changes an embedding by about its own length: at a tenth of it, "is
        # there a ...?" stayed at chance for the first 150 steps.
        nn.init.normal_(self.places.weight, std=size)

    def read_as(self, input_ids: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        """Returns the tokens whose learned embeddings are read."""
        if self.unknown_id is None:
            return input_ids
        known = self.known[input_ids]
        if self.training and self.word_dropout:
            named = self.words.any(dim=1)[input_ids]  # not punctuation, not special tokens
            drawn = torch.rand(input_ids.shape, device=input_ids.device) < self.word_dropout
            known = known & ~(named & drawn)
        return torch.where(known, input_ids, self.unknown_id)

    def additions(
        self, visual: Float[Tensor, "B N Dv"], input_ids: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T D"]:
        """Returns the additions; the last `dim` numbers of a visual token are its unit vector."""
        cosines = self.words[input_ids] @ visual[..., -self.dim :].mT  # (B, T, P)
        match = torch.sigmoid(self.scale * (cosines - self.threshold))
        added: Tensor = self.places(torch.cat([match, match.amax(dim=-1, keepdim=True)], dim=-1))
        return added


def with_readings(
    decoder: Decoder, matches: WordMatches | None, visual: Float[Tensor, "B N Dv"]
) -> Float[Tensor, "B N Dv"]:
    """Returns visual tokens with the readings of their patches in front, if there are any."""
    if matches is None or matches.readings is None:
        return visual
    readings = matches.readings(visual[..., -matches.dim :], decoder)
    return torch.cat([readings.to(visual.dtype), visual], dim=-1)


def embed_words(
    decoder: Decoder,
    matches: WordMatches | None,
    visual: Float[Tensor, "B N Dv"],
    input_ids: Int[Tensor, "B T"],
) -> Float[Tensor, "B T D"]:
    """Returns the embeddings of words, with what their matches add if there are any."""
    if matches is None:
        return decoder.embed(input_ids)
    words = decoder.embed(matches.read_as(input_ids))
    return words + matches.additions(visual, input_ids).to(words.dtype)
