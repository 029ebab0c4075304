from typing import Any

from concepts import Concept, bare_hexcode, halves, held_out, is_kept, read_concepts


def concept(hexcode: str, subgroup: str = "food-fruit") -> Concept:
    return Concept(hexcode=hexcode, label=hexcode, tags=(), group="food-drink", subgroup=subgroup)


CONCEPTS = [concept(f"{1000 + i:X}", f"subgroup {i % 7}") for i in range(700)]


def test_reads_names_in_unicode_order() -> None:
    entries: list[dict[str, Any]] = [
        {"hexcode": "2708-FE0F", "label": "airplane", "order": 9, "group": 5, "subgroup": 56},
        {
            "hexcode": "1F34E",
            "label": "red “apple”",
            "order": 3,
            "group": 4,
            "subgroup": 42,
            "tags": ["fruit"],
        },
        {"hexcode": "1F1E9", "label": "regional indicator D"},
    ]
    groups = {
        "groups": {"4": "food-drink", "5": "travel-places"},
        "subgroups": {"42": "food-fruit", "56": "transport-air"},
    }
    tables: list[dict[str, str | list[str]]] = [{"2708": ["plane", "jet"]}, {"2708-FE0F": "plane"}]
    apple, plane = read_concepts(entries, groups, tables)
    assert (apple.label, apple.tags, apple.subgroup) == ("red apple", ("fruit",), "food-fruit")
    assert (plane.hexcode, plane.shortcodes) == ("2708", ("plane", "jet"))


def test_variation_selectors_do_not_matter() -> None:
    assert bare_hexcode("1f441-fe0f-200d-1f5e8-fe0f") == "1F441-200D-1F5E8"


def test_drops_what_is_no_distinct_drawing() -> None:
    assert is_kept(concept("1F34E"))
    assert not is_kept(concept("1F550", "time"))
    assert is_kept(concept("231A", "time"))
    assert not is_kept(concept("1F1E9-1F1EA", "country-flag"))


def test_holds_out_the_fraction_of_every_subgroup() -> None:
    val, test = held_out(CONCEPTS, 0.26, seed=0)
    assert len(val | test) == round(0.26 * len(CONCEPTS))
    assert not val & test
    assert abs(len(val) - len(test)) <= 1
    for subgroup in {c.subgroup for c in CONCEPTS}:
        out = [c for c in CONCEPTS if c.subgroup == subgroup and c.hexcode in val | test]
        # 26 of 100 in each; even spacing is off by one at most.
        assert abs(len(out) - 26) <= 1


def test_another_seed_holds_out_others() -> None:
    assert held_out(CONCEPTS, 0.26, seed=0) == held_out(CONCEPTS[::-1], 0.26, seed=0)
    assert held_out(CONCEPTS, 0.26, seed=0) != held_out(CONCEPTS, 0.26, seed=1)


def test_halves_take_all() -> None:
    first, second = halves(CONCEPTS, seed=0)
    assert first | second == {c.hexcode for c in CONCEPTS}
    assert not first & second
