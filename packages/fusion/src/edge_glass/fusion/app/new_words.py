"""Words of a question that a model from scratch has never read.

Such a model splits them into pieces and letters, most of which are read as `<unk>`. They mean
nothing to it, so its answer is a guess. A pretrained decoder has no such words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
# as in decoders/tokenizer.py, which a device that only runs exported models does not have
USER, UNK, INSIDE = "<user>", "<unk>", "##"
ENDINGS = (f"{INSIDE}s", f"{INSIDE}es")


def new_word_notes(model_folder: Path, questions: Sequence[str]) -> Iterator[str]:
    """Yields a line for each question with new words; none if the folder holds no tokenizer."""
    path = model_folder / TOKENIZER_FILE
    if not path.is_file():
        return
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more specific
        raise ValueError(
            f"{path}: found {error}, expected a tokenizer as `save_pretrained` writes it; "
            "copy the model folder again"
        ) from error
    for question in questions:
        if words := new_words(tokenizer, question):
            yield (
                f"note: {question!r} has words that this model does not know "
                f"({', '.join(words)}); it can only guess what they mean"
            )


def new_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Returns the words that a tokenizer of `word_tokenizer` has to spell, in order, each once.

    A known word with a plural ending is not new.
    """
    if tokenizer.token_to_id(USER) is None or tokenizer.token_to_id(UNK) is None:
        return []
    normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    if tokenizer.pre_tokenizer is None:
        return []
    found: dict[str, None] = {}
    for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
        first, *rest = tokenizer.encode(word, add_special_tokens=False).tokens or [word]
        plural = len(first) > 1 and len(rest) == 1 and rest[0] in ENDINGS
        if first == UNK or (rest and not plural):
            found[word] = None
    return list(found)
