"""Instructions to describe an image, for training and for use.

Several wordings keep a model from learning one sentence by heart. A wanted length, in words, makes
the length of a description a matter of the instruction (as in Molmo, Deitke et al. 2024,
arXiv:2409.17146, section 3).
"""

from __future__ import annotations

# without and with a wanted length
WORDINGS = (
    ("Describe this image.", "Describe this image in about {words} words."),
    ("What does this image show?", "What does this image show? Answer in about {words} words."),
    ("Write a caption for this image.", "Write a caption of about {words} words for this image."),
    ("What is in the picture?", "What is in the picture? Use about {words} words."),
)
_EXACT = 10  # longer lengths are rounded to a multiple of 5


def describing_instruction(words: int | None = None, wording: int = 0) -> str:
    """Returns an instruction; `words` is the wanted length, None for any length."""
    plain, with_length = WORDINGS[wording]
    if words is None:
        return plain
    rounded = words if words <= _EXACT else 5 * ((words + 2) // 5)
    return with_length.format(words=max(1, rounded))
