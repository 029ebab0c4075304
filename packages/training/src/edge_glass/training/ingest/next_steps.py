"""The lines that bring an imported folder into the pipeline."""

from __future__ import annotations

import shlex
from pathlib import Path

from edge_glass.training.ingest.project import Entry, add_entry, make_entry


def next_steps(out: Path, kinds: tuple[str, ...], params: Path, add: str | None) -> list[str]:
    """Returns the lines to print; with `add` the data set is added to `params.yaml`.

    A data set with one of captions and questions is enough; the lines name what it can train.

    Raises:
        ValueError: if `params.yaml` can't be changed.
    """
    entry = make_entry(out, kinds, params, add)
    if add is not None:
        changed = add_entry(params, entry)
        lines = [f"{params}: added and chosen:" if changed else f"{params}: it is there already"]
        lines += [f"  {line.strip()}" for line in changed]
    else:
        lines = [
            f"For {params} (or run it again with --add {entry.name}):",
            f"  data: {entry.name}",
            f"  data_folder: {entry.data_folder}",
            "  datasets:",
            f"    {entry.line}",
        ]
    lines += _missing(entry, params)
    if Path(entry.data_folder).is_absolute():
        lines += [
            f"{entry.data_folder} is outside the project: `dvc repro` notices when it changes, and "
            "`dvc push` does not store it",
            "Next:",
        ]
    else:
        lines += ["Next:", f"  dvc add {shlex.quote(entry.data_folder)}"]
    return [*lines, "  dvc repro", *_lacking(kinds)]


def _lacking(kinds: tuple[str, ...]) -> list[str]:
    """Returns what the stages do with captions alone or questions alone."""
    if kinds == ("captions",):
        return [
            "There are no questions: the stages for answers report that they have nothing to do"
        ]
    if kinds == ("questions",):
        return [
            "There are no captions: the stages for retrieval report that they have nothing to do;",
            "vlm_qa needs visual_tokens.kind: grid, the default of scale: sample",
        ]
    return []


def _missing(entry: Entry, params: Path) -> list[str]:
    folder = params.parent / entry.data_folder
    tracked = folder.with_name(f"{folder.name}.dvc")
    top = {path.split("/")[0] for path in entry.sources.values()}
    if tracked.is_file() and not {each.name for each in folder.iterdir()} - {*top, ".gitignore"}:
        return [
            f"{tracked} tracks a folder whose files are not here: run `dvc pull {tracked.name}` "
            "before `dvc add`, which would leave them out"
        ]
    return []
