"""How a pretrained model's prompts are written: its own chat template, a bare turn, or a given one.

The choice ends in the tokenizer's `chat_template`, which is saved with the model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# None: the model's own template, or PLAIN if it has none. "model": its own, which it must have.
# "turn": the user and assistant turns of its own without the default system prompt. Else Jinja.
ChatTemplate = str | None
MODEL, TURN = "model", "turn"
# For base models, which have no turns: the question on a line, then the answer.
PLAIN = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'user' %}{{ '\\n' }}{% else %}{{ eos_token }}{% endif %}{% endfor %}"
)
# Texts that no template changes, to find the content in what it writes.
_FIRST, _ANSWER, _SECOND = "alpha1", "beta2", "gamma3"


def check_template(choice: ChatTemplate) -> None:
    """Refuses a text that is neither a choice nor a template with a place for the question."""
    if choice in (None, MODEL, TURN):
        return
    if "{" not in str(choice):
        raise ValueError(
            f"chat_template is {choice!r}, expected null, {MODEL}, {TURN} or a Jinja text with "
            "{{ message['content'] }}"
        )


def apply_template(tokenizer: PreTrainedTokenizerFast, choice: ChatTemplate, *, where: str) -> None:
    """Sets the tokenizer's chat template; errors name the model `where`.

    Raises:
        ValueError: if the model has no template of its own but the choice needs one, or the
            template can't be rendered, has no place for the question or the answer, or depends on
            the date.
    """
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default")
    if choice == MODEL and own is None:
        raise ValueError(
            f"{where} has no chat template of its own; set chat_template: null for the question "
            "and a line break, or give a Jinja text"
        )
    template = choice if choice not in (None, MODEL, TURN) else own or _plain(tokenizer)
    tokenizer.chat_template = template
    if choice == TURN and own is not None:
        tokenizer.chat_template = _turn_template(tokenizer, where)
    _check_rendered(tokenizer, where)


def _plain(tokenizer: PreTrainedTokenizerFast) -> str:
    """Returns `PLAIN`, with the start token if the tokenizer begins every text with it."""
    ids = tokenizer("").input_ids
    return ("{{ bos_token }}" if ids[:1] == [tokenizer.bos_token_id] else "") + PLAIN


def _check_rendered(tokenizer: PreTrainedTokenizerFast, where: str) -> None:
    if "strftime_now" in str(tokenizer.chat_template):
        raise ValueError(
            f"the chat template of {where} writes today's date, so the same question would give "
            f"different tokens tomorrow; set chat_template: {TURN}, or give a Jinja text"
        )
    text = _rendered(tokenizer, where, [_FIRST, _ANSWER, _SECOND], prompt=True)
    places = [text.find(each) for each in (_FIRST, _ANSWER, _SECOND)]
    if min(places) < 0 or places != sorted(places) or text.count(_SECOND) != 1:
        raise ValueError(
            f"the chat template of {where} wrote {text!r} for a question, an answer and a second "
            "question; it needs a place for each, in this order: {{ message['content'] }}"
        )


def _turn_template(tokenizer: PreTrainedTokenizerFast, where: str) -> str:
    """Returns a template with the markers of the tokenizer's own and nothing else.

    The second question of a conversation shows a turn without what stands in front of the first.
    """
    whole = _rendered(tokenizer, where, [_FIRST, _ANSWER, _SECOND], prompt=False)
    opened = _rendered(tokenizer, where, [_FIRST, _ANSWER, _SECOND], prompt=True)
    answered = _rendered(tokenizer, where, [_FIRST, _ANSWER], prompt=False)
    after_answer = answered.rpartition(_ANSWER)[2]
    before_user = whole.partition(_ANSWER)[2].partition(_SECOND)[0].removeprefix(after_answer)
    after_user = whole.rpartition(_SECOND)[2]
    before_answer = opened.removeprefix(whole)
    if not whole or not opened.startswith(whole) or not (before_user or before_answer):
        raise ValueError(
            f"the chat template of {where} has no turns that can be found; set chat_template: "
            f"{MODEL}, or give a Jinja text"
        )
    start = tokenizer.bos_token or ""
    writes_start = bool(start) and whole.startswith(start) and whole.count(start) == 1
    user, user_end, answer, answer_end = map(
        json.dumps, (before_user, after_user, before_answer, after_answer)
    )
    return (
        ("{{ bos_token }}" if writes_start else "")
        + "{% for message in messages %}"
        + "{% if message['role'] == 'user' %}"
        + f"{{{{ {user} + message['content'] + {user_end} }}}}"
        + f"{{% else %}}{{{{ {answer} + message['content'] + {answer_end} }}}}"
        + "{% endif %}{% endfor %}"
        + f"{{% if add_generation_prompt %}}{{{{ {answer} }}}}{{% endif %}}"
    )


def _rendered(
    tokenizer: PreTrainedTokenizerFast, where: str, contents: list[str], *, prompt: bool
) -> str:
    """Renders a conversation of a user and an assistant in turns."""
    roles = ("user", "assistant")
    messages = [
        {"role": roles[number % 2], "content": content} for number, content in enumerate(contents)
    ]
    arguments: dict[str, Any] = {"tokenize": False, "add_generation_prompt": prompt}
    try:
        text = tokenizer.apply_chat_template(messages, **arguments)
    except Exception as error:  # of any type: a template is a program
        raise ValueError(
            f"the chat template of {where} can't be rendered ({error}); give a Jinja text as "
            "chat_template"
        ) from error
    return str(text)
