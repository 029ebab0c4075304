from collections import Counter
from random import Random

from questions import WEIGHTS
from wordings import ACCEPTED_PLACES, PLACES, WORDINGS, draw_wording, dress


def test_each_type_has_eight_wordings_and_one_that_training_never_sees() -> None:
    assert set(WORDINGS) == set(WEIGHTS)
    for type_, wordings in WORDINGS.items():
        seen = [text.partition("#")[0] for text in wordings["seen"]]
        assert len(set(seen)) == len(seen) >= 8, type_
        unseen = str(wordings["unseen"]).partition("#")[0]
        assert unseen not in seen
        # not the same words with a different end; a place or thing counts as one word
        assert not any(text.split()[:3] == unseen.split()[:3] for text in seen), type_


def test_a_split_has_its_wordings() -> None:
    for type_, wordings in WORDINGS.items():
        rng = Random(0)
        for split in ("train", "val_scene", "test_object"):
            drawn = {"#".join(filter(None, draw_wording(rng, type_, split))) for _ in range(300)}
            assert drawn == set(wordings["seen"])
        drawn = {"#".join(filter(None, draw_wording(rng, type_, "val_wording"))) for _ in range(20)}
        assert drawn == {wordings["unseen"]}


def test_questions_are_dressed_in_several_ways() -> None:
    rng = Random(0)
    dressed = Counter(dress(rng, "how many dogs?") for _ in range(1000))
    assert set(dressed) == {
        text + end
        for text in ("how many dogs", "How many dogs", "HOW MANY DOGS", "How Many Dogs")
        for end in ("?", "")
    }
    assert dressed["how many dogs?"] == max(dressed.values())


def test_all_places_have_accepted_names() -> None:
    assert set(PLACES) == set(ACCEPTED_PLACES)
    phrases = [phrase for found in PLACES.values() for phrase in found]
    assert len(set(phrases)) == len(phrases)
