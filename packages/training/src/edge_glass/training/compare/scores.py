"""The scores of two runs, paired by question or query, per split and question type."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

from edge_glass.encoders.components import shown
from edge_glass.training.compare.committed_scores import Run
from edge_glass.training.compare.paired import Paired, compare_pairs
from edge_glass.training.evaluation.rules.question_scores import question_scores

WAYS = {"i2t": "image to text", "t2i": "text to image"}
EXACT = "exact match"
DESCRIPTIONS = "descriptions_"  # begins the names of files that have no question to pair

Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The scores of one run on one split by one rule, by question or query.

    Attributes:
        scores: by key, 0 to 1; a key that repeats has its number as the last part.
        groups: of each key: what is drawn together.
        types: of each key: "" or the question's type.
    """

    scores: Mapping[Key, float]
    groups: Mapping[Key, Hashable]
    types: Mapping[Key, str]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the comparison."""

    split: str
    score: str
    result: Paired


def compare_scores(a: Run, b: Run, *, seed: int, num_resamples: int) -> list[Line]:
    """Compares what both runs have.

    Raises:
        ValueError: naming the split, if the runs have different questions, or nothing in common.
    """
    lines = []
    for name in sorted(filter(_is_scored, set(a.files) & set(b.files))):
        split = name.rpartition("/")[2].rpartition(".")[0]
        read = _answers if name.endswith(".jsonl") else _ranks
        left, right = (read(run.files[name], f"{run.name}: {name}") for run in (a, b))
        if bool(left) != bool(right):
            full, empty = (a, b) if left else (b, a)
            raise ValueError(
                f"{split}: {empty.name} has no questions and {full.name} has some: compare runs of "
                "the same data"
            )
        for score in [each for each in left if each in right]:
            if score != EXACT and all(
                EXACT in each and each[score].scores == each[EXACT].scores for each in (left, right)
            ):
                continue  # a published rule that changes nothing for these data
            for kind, result in _compared(
                left[score], right[score], split, a, b, seed, num_resamples
            ):
                label = f"{score}, {kind}" if kind else score
                lines.append(Line(split=split, score=label, result=result))
    if not lines:
        raise ValueError(
            f"{a.name} and {b.name} have no split in common: {a.name} has "
            f"{', '.join(a.files) or 'none'}, {b.name} has {', '.join(b.files) or 'none'}"
        )
    return lines


def only_in_one(a: Run, b: Run) -> list[str]:
    """Returns a sentence for each run with files of splits that the other run lacks."""
    return [
        f"only {run.name} has {', '.join(names)}, so {'they are' if names[1:] else 'it is'} "
        "not compared"
        for run, other in ((a, b), (b, a))
        if (names := sorted(name for name in run.files.keys() - other.files if _is_scored(name)))
    ]


def table(lines: list[Line], a: str, b: str) -> str:
    """Returns the comparison as text, in %."""
    rows = [("split", "score", "n", a, b, "B - A", "95 % interval", "p bootstrap", "p McNemar")]
    for line in lines:
        result = line.result
        low, high = result.interval
        mcnemar = "-" if result.p_mcnemar is None else _p(result.p_mcnemar)
        rows.append(
            (
                line.split,
                line.score,
                str(result.number),
                f"{100 * result.mean_a:.1f}",
                f"{100 * result.mean_b:.1f}",
                f"{100 * result.difference:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                _p(result.p_bootstrap),
                mcnemar,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if place < 2 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _is_scored(name: str) -> bool:
    """Whether a file below `predictions` has answers or ranks."""
    folder, _, file = name.rpartition("/")
    end = {"vlm_qa": ".jsonl", "align": ".csv"}.get(folder)
    return end is not None and file.endswith(end) and not file.startswith(DESCRIPTIONS)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _compared(
    left: Scored, right: Scored, split: str, a: Run, b: Run, seed: int, num_resamples: int
) -> Iterator[tuple[str, Paired]]:
    """Yields the comparison of all questions, then of each type if there are several."""
    only = left.scores.keys() ^ right.scores.keys()
    if only:
        raise ValueError(
            f"{split}: {len(only)} of its questions are in only one of {a.name} and {b.name}, such "
            f"as {' / '.join(next(iter(sorted(only)))[:3])}: compare runs of the same data"
        )
    types = sorted({left.types[key] for key in left.scores})  # a rule scores only some
    for kind in ["", *(types if len(types) > 1 else [])]:
        keys = [key for key in left.scores if not kind or left.types[key] == kind]
        yield (
            kind,
            compare_pairs(
                [left.scores[key] for key in keys],
                [right.scores[key] for key in keys],
                [left.groups[key] for key in keys],
                seed=seed,
                num_resamples=num_resamples,
            ),
        )


def _answers(text: str, where: str) -> dict[str, Scored]:
    """Reads the file of `evaluate_vlm_qa`: exact match, and the published rules."""
    tables: dict[str, dict[Key, float]] = {EXACT: {}}
    groups: dict[Key, Hashable] = {}
    types: dict[Key, str] = {}
    # not `splitlines`: it also cuts at the line separators that a question may contain
    lines = text.rstrip("\n").split("\n") if text.strip() else []  # a split without questions
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            asked = " / ".join((*row.get("history", ()), row["question"]))
            image, kind = str(row["image"]), str(row["type"])
            key = _unique((image, kind, asked, row["truth"]), tables[EXACT])
            if row["right"] not in (True, False):
                raise ValueError(f"right is {shown(row['right'])}")
            tables[EXACT][key] = float(row["right"])
            groups[key], types[key] = image, kind
            scores = question_scores(
                row["model"], row["truth"], row.get("answers"), row.get("rule")
            )
        except (
            ArithmeticError,
            AttributeError,
            KeyError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise ValueError(
                f"{where}:{number}: expected a line of `evaluate_vlm_qa` ({error!r}); run the "
                "stage again"
            ) from None
        for name, score in scores.items():
            tables.setdefault(name, {})[key] = score
    return {
        name: Scored(scores=table, groups=groups, types=types)
        for name, table in tables.items()
        if table
    }


def _ranks(text: str, where: str) -> dict[str, Scored]:
    """Reads the file of `evaluate_align`: R@1 by way, at the largest and the smallest dim."""
    scored: dict[str, Scored] = {}
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        rows = list(reader)
        dims = [name for name in reader.fieldnames or () if name.isdecimal()]
        for dim in dict.fromkeys((dims[0], dims[-1])):
            for way, name in WAYS.items():
                of_way = [row for row in rows if row["way"] == way]
                keys: list[Key] = [(way, row["query"], row["group"]) for row in of_way]
                scores: dict[Key, float] = {
                    key: float(_rank(row[dim]) <= 1) for key, row in zip(keys, of_way, strict=True)
                }
                if len(scores) < len(keys):
                    raise ValueError("a query is there twice")
                scored[f"R@1 {name}, {dim} dims"] = Scored(
                    scores=scores,
                    groups={key: key[2] for key in keys},
                    types=dict.fromkeys(keys, ""),
                )
    except (csv.Error, KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{where}: expected a table of `evaluate_align` ({error!r}); run the stage again"
        ) from None
    return {name: each for name, each in scored.items() if each.scores}


def _rank(text: str) -> int:
    rank = int(text)
    if rank < 1:
        raise ValueError(f"a rank is {rank}")
    return rank


def _unique(key: Key, known: Mapping[Key, float]) -> Key:
    """Returns the key, or with a number if the same question was asked before."""
    number, unique = 1, key
    while unique in known:
        number, unique = number + 1, (*key, str(number))
    return unique
