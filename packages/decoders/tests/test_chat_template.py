from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_glass.decoders.chat_template import apply_template
from edge_glass.decoders.tokenizer import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# In the forms of the families; the texts are our own.
CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|s|>system\nBe kind.<|e|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|s|>' + m['role'] + '\n' + m['content'] + '<|e|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|s|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|h|>' + m['role'] + '<|/h|>\n\n' + m['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + '[/INST]' }}{% else %}"
    "{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('no system') }}{% endif %}{% for m in messages %}"
    "{{ '<turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n' + m['content'] | trim "
    "+ '</turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)
TALK = [
    {"role": "user", "content": "how many?"},
    {"role": "assistant", "content": "three"},
    {"role": "user", "content": "where?"},
]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    made = word_tokenizer(["how many ? three where"], 50)
    made.bos_token = "<unk>"
    return made


def text(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], **options: Any) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))


@pytest.mark.parametrize("own", [CHATML, LLAMA, MISTRAL, GEMMA])
def test_a_bare_turn_is_the_models_own_without_the_system_prompt(
    tokenizer: PreTrainedTokenizerFast, own: str
) -> None:
    tokenizer.chat_template = own
    system = "<|s|>system\nBe kind.<|e|>\n"
    expected = [
        text(tokenizer, TALK[:length], add_generation_prompt=prompt).removeprefix(system)
        for length in (1, 2, 3)
        for prompt in (False, True)
    ]
    apply_template(tokenizer, "turn", where="test")
    found = [
        text(tokenizer, TALK[:length], add_generation_prompt=prompt)
        for length in (1, 2, 3)
        for prompt in (False, True)
    ]
    assert found == expected


def test_quotes_and_braces_in_a_question_stay_as_they_are(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = CHATML
    apply_template(tokenizer, "turn", where="test")
    question = """{{ "a" }} 'b' \\n {% c %}"""
    assert question in text(tokenizer, [{"role": "user", "content": question}])


def test_null_keeps_the_models_own_and_model_requires_it(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    for choice in (None, "model"):
        tokenizer.chat_template = CHATML
        apply_template(tokenizer, choice, where="test")
        assert tokenizer.chat_template == CHATML
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="test has no chat template of its own; set chat_templ"):
        apply_template(tokenizer, "model", where="test")


@pytest.mark.parametrize("choice", [None, "turn"])
def test_a_base_model_gets_the_question_on_a_line(
    tokenizer: PreTrainedTokenizerFast, choice: str | None
) -> None:
    tokenizer.chat_template = None
    apply_template(tokenizer, choice, where="test")
    assert text(tokenizer, TALK[:1], add_generation_prompt=True) == "how many?\n"
    assert text(tokenizer, TALK, add_generation_prompt=True) == "how many?\nthree<eos>where?\n"


def test_a_base_model_whose_texts_begin_with_a_start_token_gets_it(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    from tokenizers.processors import TemplateProcessing

    start = [("<unk>", tokenizer.unk_token_id)]
    backend = tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=start)
    tokenizer.chat_template = None
    apply_template(tokenizer, None, where="test")
    assert text(tokenizer, TALK[:1], add_generation_prompt=True) == "<unk>how many?\n"


def test_a_jinja_text_replaces_the_models_own(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = CHATML
    given = "{% for m in messages %}{{ m['content'] }}|{% endfor %}"
    apply_template(tokenizer, given, where="test")
    assert text(tokenizer, TALK) == "how many?|three|where?|"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 'hello' }}", "wrote 'hello' for a question, .*; it needs a place for each"),
        ("{{ messages[0]['content'] }}", "it needs a place for each, in this order"),
        ("{% for m in messages %}{{ m['content'] }}", "can't be rendered .*; give a Jinja text"),
        ("{{ raise_exception('never') }}", r"can't be rendered \(never\)"),
        ("{{ 1 / 0 }}", r"can't be rendered \(division by zero\)"),
        ("{{ range(10**9) | list }}", "can't be rendered .*; give a Jinja text"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "can't be rendered .*recursion"),
        (
            "{{ strftime_now('%d') }}{% for m in messages %}{{ m['content'] }}{% endfor %}",
            "writes today's date, .*; set chat_template: turn",
        ),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_the_remedy(
    tokenizer: PreTrainedTokenizerFast, template: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        apply_template(tokenizer, template, where="test")
