import pytest
from draws import choose, digest, generator, spread


def test_draws_depend_on_their_key_only() -> None:
    first = generator(0, "scene", "train", 7).random()
    generator(0, "scene", "train", 6).random()
    assert generator(0, "scene", "train", 7).random() == first
    assert generator(1, "scene", "train", 7).random() != first


def test_key_parts_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(1, 23) != digest(12, 3)


def test_digest_is_the_same_on_every_machine() -> None:
    # Written down once: another value means other data.
    assert digest(0, "scene", "train", 7) == 0x609FAFE223274338026C407A675260CF


def test_choices_are_even() -> None:
    counts = [0, 0, 0, 0]
    for index in range(4000):
        counts[choose(range(4), "key", index)] += 1
    # Four standard deviations of a binomial with n = 4000, p = 1/4.
    assert all(abs(count - 1000) < 110 for count in counts)


@pytest.mark.parametrize(("fraction", "count"), [(0.26, 1005), (0.5, 7), (1.0, 5), (0.0, 5)])
def test_spread_marks_the_fraction_evenly(fraction: float, count: int) -> None:
    marks = spread(fraction, count)
    assert len(marks) == count
    for start in range(count):
        for stop in range(start, count + 1):
            # No run of places has more than one mark too many or too few.
            assert abs(sum(marks[start:stop]) - fraction * (stop - start)) <= 1
        if start > 20:
            break
