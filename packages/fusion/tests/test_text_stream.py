"""Text that is shown while it is generated."""

from __future__ import annotations

from edge_glass.fusion.text_stream import AnswerStream, TextStream, cut_at


def streamed(text: str, *stop: str) -> list[str]:
    """The pieces of a text of which each token is one byte."""
    stream = TextStream(lambda tokens: bytes(tokens).decode(errors="replace"), stop)
    return [*(stream.add(byte) for byte in text.encode()), stream.end()]


def test_pieces_add_up_to_the_answer() -> None:
    pieces = streamed("  two dögs \n")
    assert "".join(pieces) == "two dögs"
    # space may be the end, and the first of two bytes is not yet a letter
    assert pieces == ["", "", "t", "w", "o", "", " d", "", "ö", "g", "s", "", "", ""]


def test_the_beginning_of_a_stop_string_is_held_back() -> None:
    assert streamed("a b. c", ". c", "x")[:4] == ["a", "", " b", ""]
    assert "".join(streamed("a b. c and", ". c")) == "a b"
    assert "".join(streamed("a b. d", ". c")) == "a b. d"  # it was not one after all
    assert "".join(streamed("a\nb", "\n")) == "a"


def test_a_stream_counts_words_and_knows_why_it_ends() -> None:
    def answer(text: str, *stop: str) -> tuple[str, int, bool]:
        stream = AnswerStream(
            text.encode(),
            lambda words: bytes(words).decode().removesuffix("$"),
            stop=stop,
            end_ids=[ord("$")],
            num_prompt_positions=3,
        )
        return "".join(stream), stream.num_words, stream.is_complete

    assert answer("two$dogs") == ("two", 4, True)
    assert answer("two") == ("two", 3, False)  # the limit of its length
    assert answer("a b. c", ".") == ("a b", 4, True)


def test_text_is_cut_at_the_first_stop_string() -> None:
    assert cut_at("one two three", ("three", "two")) == "one "
    assert cut_at("one", ("two",)) == cut_at("one", ()) == "one"
