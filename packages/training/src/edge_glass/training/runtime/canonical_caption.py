"""When two captions count as equal: they are then right answers for each other's images."""

from __future__ import annotations

import hashlib
import unicodedata

_FINAL = " .,;:!?…。，、；：！？"  # punctuation of different scripts


def canonical_caption(caption: str) -> str:
    """Returns a caption without what changes no meaning.

    Case, runs of white space, Unicode composition (NFC) and punctuation at the end are left out;
    a caption of punctuation alone keeps it.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", caption).casefold())
    plain = " ".join(folded.split())
    return plain.rstrip(_FINAL) or plain


def caption_number(caption: str) -> int:
    """Returns 64 bits that are equal for captions of equal canonical form."""
    form = canonical_caption(caption).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(form, digest_size=8).digest(), "big")
