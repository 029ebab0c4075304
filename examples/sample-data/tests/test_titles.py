import pytest
from titles import clean, is_english, is_fit

WORDS = {
    *("a", "man", "singing", "red", "guitar", "teddy", "bear", "with", "bow", "in", "black", "and"),
    *("white", "cube", "s", "picture", "rhinoceros", "Rubik", "Sweden"),
}


@pytest.mark.parametrize(
    ("title", "path", "expected"),
    [
        ("ladybug", "animals/bugs/ladybug_01", "Ladybug"),
        ("Clipart by A B - w_cloud", "weather/w_cloud", "W cloud"),
        ("Clipart by A B - contour_chipmunk", "animals/contour_giraffe", ""),
        ("Garlic Toast (B and W)", "food/garlic_toast_bw", "Garlic toast in black and white"),
        ("RedCar", "cars/redcar", "Red car"),
        ("Lock - open", "tools/lock", "Lock, open"),
        ("BlueMan#203", "people/blueman_203_01", "Blue man"),
        ("workstation hash(0x89c79)", "computer/workstation", ""),
        ("0x9371fbc", "computer/x", ""),
        ("pig.svg", "animals/pig", ""),
        ("Part of the Flat Icon Collection (Wed Aug 25 23:29:46 2004)", "x/y", ""),
        ("arrow-up-purple", "shapes/arrow", "Arrow up purple"),
        ("glace_2", "food/glace_2", "Glace"),
    ],
)
def test_clean(title: str, path: str, expected: str) -> None:
    assert clean(title, path) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("A man singing", True),
        ("Rubik's cube", True),
        ("Teddy bear with red bow", True),
        ("Cavallo", False),
        ("Sweden", False),  # a name alone
        ("Rhinoceros d", False),  # what is left of "3D"
        ("Picture", False),  # of what?
        ("A man singing a man singing a man singing", False),
        ("Café guitar", False),
    ],
)
def test_is_english(title: str, expected: bool) -> None:
    assert is_english(title, WORDS) == expected


def test_is_fit() -> None:
    assert is_fit("A man singing")
    assert not is_fit("Lower left corner")
