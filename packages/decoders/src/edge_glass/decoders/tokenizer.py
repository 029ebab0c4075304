"""A word tokenizer built from the training texts, for decoders trained from scratch.

It is an ordinary `PreTrainedTokenizerFast` with a chat template, so the same call of
`apply_chat_template` builds the prompts of all decoders. It reads upper and lower case alike, and
"two" like "2". A word that it does not have is written in known beginnings and letters ("cats" as
`cat ##s`), so no word in these letters is `<unk>`.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PAD, EOS, UNK, USER, ASSISTANT = "<pad>", "<eos>", "<unk>", "<user>", "<assistant>"
SPECIAL_TOKENS = (PAD, EOS, UNK, USER, ASSISTANT)  # their ids are 0 to 4

# "<user> question <assistant> answer <eos>": EOS ends each answer, so the model learns to stop.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<user> {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}<assistant> {{ message['content'] }} <eos>"
    "{% else %}{{ raise_exception('unknown role ' + message['role'] + "
    "', expected user or assistant') }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


# Numbers that people write in digits or as words have one form, in questions and in answers.
_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip
_LETTERS = string.ascii_lowercase + string.digits
_INSIDE = "##"  # in front of a piece that continues a word, as in WordPiece
_ENDINGS = ("es",)  # pieces of more than a letter: plurals, as in `box ##es`


def word_tokenizer(texts: Iterable[str], max_vocab: int) -> PreTrainedTokenizerFast:
    """Builds a tokenizer of whole lower-case words, single punctuation marks, and letters.

    The same texts in any order give the same tokenizer: words are sorted by count, most frequent
    first, and words of equal count alphabetically. It has at most `max_vocab` entries, special
    tokens included. Words without an entry are split, the longest known beginning first
    (WordPiece). Letters, digits and marks get entries of their own unless these would take more
    than half of `max_vocab`; without them such a word becomes `<unk>`.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    room = max_vocab - len(SPECIAL_TOKENS)
    if room < 1:
        raise ValueError(
            f"max_vocab is {max_vocab}, expected more than the {len(SPECIAL_TOKENS)} special tokens"
        )
    folded = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    texts = [folded.normalize_str(text) for text in texts]
    whole = Counter(text.strip() for text in texts)
    numbers = [
        # the form that answers have: texts of nothing else; digits if there are none
        normalizers.Replace(Regex(rf"(?<![\w.,-]){number}(?!\w|[.,]\d)"), word)
        if whole[word] > whole[str(number)]
        else normalizers.Replace(Regex(rf"\b{word}\b"), str(number))
        for number, word in enumerate(_NUMBER_WORDS)
    ]
    normalizer = normalizers.Sequence([folded, *numbers])
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        normal = normalizer.normalize_str(text)
        counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normal))
    if not counts:
        raise ValueError(
            "the texts contain no word for a vocabulary; check that the split is not empty"
        )
    pieces = [
        *_LETTERS,
        *string.punctuation,
        *(_INSIDE + piece for piece in (*_LETTERS, *_ENDINGS)),
    ]
    if 2 * len(pieces) > max_vocab:
        pieces = []
    words = sorted(counts, key=lambda word: (-counts[word], word))[: room - len(pieces)]
    vocab = {
        word: index for index, word in enumerate(dict.fromkeys((*SPECIAL_TOKENS, *words, *pieces)))
    }

    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=UNK, continuing_subword_prefix=_INSIDE))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.WordPiece(prefix=_INSIDE, cleanup=False)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def is_word_tokenizer(tokenizer: Tokenizer) -> bool:
    """Returns whether `word_tokenizer` built it: its decoder knows no other words."""
    return tokenizer.token_to_id(USER) is not None and tokenizer.token_to_id(UNK) is not None
