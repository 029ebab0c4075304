from relations import beside, occupant, places, region
from scene_samples import WORDS, placed, scene

DOG, CAT, CORN, LEMON = WORDS[:4]


def test_regions_are_the_nine_parts_if_that_is_clear() -> None:
    found = {}
    for name, (x, y) in {
        "top left": (0.2, 0.2),
        "top": (0.5, 0.2),
        "right": (0.85, 0.55),
        "center": (0.5, 0.45),
        "bottom right": (0.7, 0.9),
        "": (0.4, 0.2),  # neither left nor in the middle
    }.items():
        one = placed(DOG, x, y)
        found[name] = region(scene(one), one)
    assert found == {name: name for name in found}


def test_a_place_holds_one_object_and_no_different_one_that_could_be_meant() -> None:
    left, right, near = placed(DOG, 0.2, 0.2), placed(CAT, 0.8, 0.3), placed(LEMON, 0.52, 0.2)
    assert places(scene(left, right)) == {"top left": left, "top right": right}
    # The lemon in the middle of the upper half could be called top left or top right.
    assert places(scene(left, right, near)) == {}


def test_beside_is_what_stands_on_a_side() -> None:
    dog, cat, corn = placed(DOG, 0.25, 0.25), placed(CAT, 0.75, 0.3), placed(CORN, 0.25, 0.8)
    diagonal = placed(LEMON, 0.75, 0.75)
    assert beside(scene(dog, cat, corn, diagonal), dog) == {"right": CAT, "below": CORN}
    assert beside(scene(dog, cat), cat) == {"left": DOG, "beside": DOG}
    two = (placed(CAT, 0.6, 0.25), placed(LEMON, 0.85, 0.25))
    assert beside(scene(dog, *two), dog) == {}
    twice = (placed(CAT, 0.6, 0.25), placed(CAT, 0.85, 0.25))
    assert beside(scene(dog, *twice), dog) == {"right": CAT}


def test_occupant() -> None:
    dog = placed(DOG, 0.5, 0.5)
    assert occupant(scene(dog)) == DOG
    assert occupant(scene(dog, placed(DOG, 0.9, 0.9))) is None
