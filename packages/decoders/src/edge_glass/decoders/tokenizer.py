"""A word tokenizer built from the training texts, for decoders trained from scratch.

It is an ordinary `PreTrainedTokenizerFast` with a chat template, so the same call of
`apply_chat_template` builds the prompts of all decoders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def word_tokenizer(texts: Iterable[str], max_vocab: int) -> PreTrainedTokenizerFast:
    """Builds a tokenizer of whole lower-case words and single punctuation marks.

    The same texts in any order give the same tokenizer: words are sorted by count, most frequent
    first, and words of equal count alphabetically.

    Args:
        texts: Questions and answers of the training split.
        max_vocab: Limit of entries, special tokens included; rarer words become `<unk>`.

    Raises:
        ValueError: `max_vocab` leaves no room for a word, or the texts contain none.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    room = max_vocab - len(SPECIAL_TOKENS)
    if room < 1:
        raise ValueError(
            f"max_vocab is {max_vocab}, expected more than the {len(SPECIAL_TOKENS)} special tokens"
        )
    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        normal = normalizer.normalize_str(text)
        counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normal))
    if not counts:
        raise ValueError(
            "the texts contain no word for a vocabulary; check that the split is not empty"
        )
    words = sorted(counts, key=lambda word: (-counts[word], word))[:room]
    vocab = {word: index for index, word in enumerate((*SPECIAL_TOKENS, *words))}

    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNK))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
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
