"""Which column of a table holds what: guessed by its name, or given with `--columns`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_glass.encoders.files import DataError

LABELS = ("concept", "canonical_caption", "subgroup")  # that `prepare` reads if they are there
# The names that are understood for each role, the preferred one first; compared without case,
# spaces, `_` and `-`.
NAMES: dict[str, tuple[str, ...]] = {
    "image": (
        *("image", "file_name", "filename", "image_path", "image_file", "image_name", "img"),
        *("img_path", "filepath", "file_path", "path", "file", "image_bytes", "images", "jpg"),
        *("png", "image_url", "url", "photo", "picture"),
    ),
    "caption": (
        *("caption", "captions", "text", "description", "sentence", "sentences", "alt_text"),
        *("alt", "title", "comment"),
    ),
    "question": ("question", "questions", "query"),
    "answer": ("answer", "multiple_choice_answer", "response"),
    "answers": ("answers",),
    "type": ("type", "question_type", "answer_type", "source"),
    "split": ("split",),
    **{name: (name,) for name in LABELS},
}
FILE_NAMES = ("filename", "filenames")
EXAMPLE = "--columns image=file,caption=title"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that are read, as the file spells them; "" for a role that no column has.

    Attributes:
        captions: one or more columns, if there are captions; each value is a caption of the image.
        labels: of `LABELS` to columns.
    """

    image: str
    captions: tuple[str, ...] = ()
    question: str = ""
    answer: str = ""
    answers: str = ""
    type: str = ""
    split: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that are read."""
        named = (self.image, self.question, self.answer, self.answers, self.type, self.split)
        return (*(name for name in named if name), *self.captions, *self.labels.values())


def parse_columns(given: str | None) -> dict[str, tuple[str, ...]]:
    """Reads `--columns`: `caption=title,image=file`; a role may be given more than once.

    Raises:
        ValueError: if a part is no ROLE=NAME, or the role is not known.
    """
    found: dict[str, tuple[str, ...]] = {}
    for part in (given or "").split(","):
        if not part.strip():
            continue
        role, equals, name = (each.strip() for each in part.partition("="))
        if not equals or not name or role not in NAMES:
            raise ValueError(
                f"--columns has {part!r}; expected ROLE=COLUMN such as {EXAMPLE!r}, with ROLE one "
                f"of {', '.join(NAMES)}"
            )
        found[role] = (*found.get(role, ()), name)
    return found


def find_columns(
    names: Iterable[str], given: Mapping[str, tuple[str, ...]], *, where: str
) -> Columns:
    """Finds the columns of a file.

    Args:
        names: of the file's columns.
        given: role to names that the user has chosen.
        where: the file, as an error names it.

    Raises:
        DataError: if a given column is missing, a needed role has no column, or a column that is
            needed is there twice.
    """
    listed = [str(name) for name in names]
    found: dict[str, tuple[str, ...]] = {}
    for role, known in NAMES.items():
        if role in given:
            for name in given[role]:
                if name not in listed:
                    raise DataError(
                        f"{where}: --columns names {name!r} as the {role}, which is missing; "
                        f"found {_list(listed)}"
                    )
            found[role] = given[role]
            continue
        plain = {_plain(name): name for name in reversed(listed)}
        found[role] = tuple(plain[each] for each in map(_plain, known) if each in plain)[:1]
        if role == "image" and not found[role]:
            # `imagefolder` reads any column `*_file_name`, or `*_file_names` with a list
            named = [name for key, name in plain.items() if key.endswith(FILE_NAMES)]
            found[role] = tuple(named) if len(named) == 1 else ()
    columns = Columns(
        image=_one(found["image"]),
        captions=found["caption"],
        question=_one(found["question"]),
        answer=_one(found["answer"]),
        answers=_one(found["answers"]),
        type=_one(found["type"]),
        split=_one(found["split"]),
        labels={label: found[label][0] for label in LABELS if found[label]},
    )
    _check(columns, listed, where)
    return columns


def _check(columns: Columns, listed: list[str], where: str) -> None:
    if not columns.image:
        raise DataError(
            f"{where}: no column names the image; found {_list(listed)}; name it with {EXAMPLE}"
        )
    has_answers = columns.question and (columns.answer or columns.answers)
    if not columns.captions and not has_answers:
        raise DataError(
            f"{where}: no column holds captions, and none questions with answers; found "
            f"{_list(listed)}; name one with {EXAMPLE}"
        )
    counts = Counter(listed)
    for name in columns.used:
        if counts[name] > 1:
            raise DataError(
                f"{where}: column {name!r} is there {counts[name]} times; rename all but one"
            )


def _plain(name: str) -> str:
    return name.strip().strip("\ufeff").lower().replace("_", "").replace("-", "").replace(" ", "")


def _one(names: tuple[str, ...]) -> str:
    return names[0] if names else ""


def _list(names: list[str]) -> str:
    return ", ".join(ascii(name)[1:-1][:40] for name in names[:20]) or "no column"
