"""Where things are in a scene, and what is beside what: only what is clear to everybody."""

from __future__ import annotations

from scenes import Placed, Scene
from words import Word

CLEAR = 0.12  # from the middle, as a share of the side: nearer is neither left nor right
MIDDLE = 0.09  # nearer to the middle than this is the middle
NARROW = 1.3  # a neighbour is so much farther along its side than across
REACH = 0.1  # centres of neighbours differ at least so much, as a share of the shorter side


def _part(share: float, low: str, high: str) -> str | None:
    """Name of a third: ``low``, "" for the middle, ``high``, or ``None`` if it is not clear."""
    if abs(share - 0.5) <= MIDDLE:
        return ""
    if abs(share - 0.5) < CLEAR:
        return None
    return low if share < 0.5 else high


def region(scene: Scene, placed: Placed) -> str:
    """Which of the nine parts of the image the object stands in; empty if that is not clear."""
    x, y = scene.place_of(placed)
    across, down = _part(x, "left", "right"), _part(y, "top", "bottom")
    if across is None or down is None:
        return ""
    return f"{down} {across}".strip() or "center"


def _may_be_in(scene: Scene, placed: Placed, spot: str) -> bool:
    """Whether somebody could say that the object stands there."""
    x, y = scene.place_of(placed)
    if spot == "center":
        return max(abs(x - 0.5), abs(y - 0.5)) < 2 * CLEAR
    wanted = {"left": x < 0.56, "right": x > 0.44, "top": y < 0.56, "bottom": y > 0.44}
    return all(wanted[part] for part in spot.split())


def places(scene: Scene) -> dict[str, Placed]:
    """The places that hold one object, and no different one that could be meant."""
    found = {}
    for placed in scene.objects:
        spot = region(scene, placed)
        others = [other for other in scene.objects if other is not placed]
        if spot and not any(_may_be_in(scene, other, spot) for other in others):
            found[spot] = placed
    return found


def _sides(x: float, y: float, ratio: float) -> str:
    """On which side a neighbour is whose centre is (x, y) away; empty if on none."""
    if max(abs(x), abs(y)) < REACH:
        return ""
    if abs(x) >= ratio * abs(y):
        return "left" if x < 0 else "right"
    return ("above" if y < 0 else "below") if abs(y) >= ratio * abs(x) else ""


def beside(scene: Scene, placed: Placed) -> dict[str, Word]:
    """What stands on each side of an object, if that is one thing and nothing else is nearer."""
    clear: dict[str, set[Word]] = {}
    near: dict[str, tuple[float, str]] = {}
    for other in scene.objects:
        if other is placed:
            continue
        x, y = other.box.x - placed.box.x, other.box.y - placed.box.y
        if side := _sides(x, y, NARROW):
            clear.setdefault(side, set()).add(other.word)
        if side := _sides(x, y, 1.0):
            distance = (x * x + y * y, other.word.word)
            near[side] = min(near.get(side, distance), distance)
    found = {
        side: next(iter(words))
        for side, words in sorted(clear.items())
        if len(words) == 1 and near[side][1] == next(iter(words)).word
    }
    if len(scene.objects) == 2:
        found["beside"] = next(each.word for each in scene.objects if each is not placed)
    return found


def occupant(scene: Scene) -> Word | None:
    """What is shown if there is one object."""
    return scene.objects[0].word if len(scene.objects) == 1 else None
