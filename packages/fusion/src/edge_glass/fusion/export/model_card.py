"""The card of a model, README.md on the hub: what it is for, its figures, data, and hashes.

Figures come from the project's `metrics/`. They are used only if `dvc.lock` names the bytes of this
model: figures of a different model would be worse than none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PIXMO = "PixMo by Ai2, ODC-BY-1.0; the images keep the licences of their owners"
# What the data sets that params.yaml names are made of.
DATA = {
    "pixmo_sample": "emoji of six vendors (Noto, Twemoji, EmojiOne, FxEmoji: Apache-2.0 and "
    "CC-BY-4.0; Fluent: MIT), scenes of them, and Unicode's names; see the sample's ATTRIBUTION.md",
    "pixmo_cap": PIXMO,
    "pixmo": PIXMO,
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the card of one kind of model contains.

    Attributes:
        stage: the stage of the pipeline that trains it.
        purpose: one sentence.
        use: five lines of Python.
        task: the hub's name of the task.
    """

    stage: str
    purpose: str
    use: str
    task: str


KINDS = {
    "dual_encoder": Kind(
        stage="align",
        purpose="An aligned image-text encoder for retrieval. An embedding can be cut to any of "
        "its Matryoshka dims.",
        use="""from PIL import Image
from edge_glass.encoders.dual_encoder import DualEncoder
model = DualEncoder.from_pretrained("{repo}", revision="COMMIT")
images = model.encode_image([Image.open("scene.png")])
scores = model.encode_text(["a red car"]) @ images.T""",
        task="image-feature-extraction",
    ),
    "vision_language_model": Kind(
        stage="vlm_qa",
        purpose="A vision-language model that answers questions about images.",
        use="""from PIL import Image
from edge_glass.fusion.vlm import VisionLanguageModel
model = VisionLanguageModel.from_pretrained("{repo}", revision="COMMIT")
image = Image.open("scene.png")
print(model.answer([image], ["How many dogs are there?"])[0])""",
        task="image-text-to-text",
    ),
}


def model_card(
    folder: Path, repo_id: str, kind: str, project: Path, *, license_name: str | None
) -> str:
    """Returns the card as Markdown with the hub's metadata at the top.

    Args:
        folder: the model.
        repo_id: its id on the hub.
        kind: a key of `KINDS`.
        project: the folder with dvc.lock and metrics/ that the model comes from.
        license_name: licence of the trained weights, as the hub names it; None leaves it out.
    """
    about = KINDS[kind]
    config = _read_json(folder / "config.json")
    locked = _locked_stage(project, about.stage)
    is_own = folder_md5(folder) in {out.get("md5") for out in locked.get("outs", [])}
    metadata = {
        **({"license": license_name} if license_name else {}),
        "library_name": "edge-glass",
        "pipeline_tag": about.task,
        "tags": ["edge-glass", kind.replace("_", "-")],
    }
    parts = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=True)}---",
        f"# {repo_id.partition('/')[2]}",
        about.purpose,
        f"## Use\n\n```python\n{about.use.format(repo=repo_id)}\n```",
        "COMMIT is the commit of 40 digits that the hub shows under *Files*. Install "
        "`edge-glass-fusion`, and the packages of the frozen encoders that config.json names.",
        f"## Results\n\n{results_text(project, kind) if is_own else NO_RESULTS}",
        f"## Data and licences\n\n{_licences(config, locked, license_name)}",
        f"## Parameters\n\n{_parameters(config, locked if is_own else {})}",
        f"## Bytes\n\n{_bytes(folder, locked if is_own else {})}",
    ]
    return "\n\n".join(parts) + "\n"


NO_RESULTS = (
    "No figures: the folder from which the model was published has no `dvc.lock` that names its "
    "bytes."
)


def folder_md5(folder: Path) -> str:
    """Returns the hash of a folder as dvc.lock has it."""
    files = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": name}
        for name, path in sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*"))
        if path.is_file() and name != "README.md"
    ]
    text = json.dumps(files, sort_keys=True)
    return f"{hashlib.md5(text.encode()).hexdigest()}.dir"


def results_text(project: Path, kind: str) -> str:
    """Returns the figures of all splits as Markdown.

    Raises:
        ValueError: if the file of metrics is not of the stage.
    """
    stage = f"evaluate_{KINDS[kind].stage}"
    path = project / "metrics" / f"{stage}.json"
    if not path.is_file():
        return f"Not measured yet (`dvc repro {stage}`)."
    metrics = _read_json(path)
    try:
        return _retrieval(metrics) if kind == "dual_encoder" else _answers(metrics)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not of the stage {stage} ({error}); run it again") from None


def _retrieval(metrics: Mapping[str, Any]) -> str:
    splits = {name: each for name, each in metrics.items() if isinstance(each, dict)}
    dims = sorted({int(key) for each in splits.values() for key in each if key.isdigit()})[::-1]
    rows = []
    for name, each in splits.items():
        for way, label in (("i2t", "image to text"), ("t2i", "text to image")):
            cells = [_retrieval_cell(each, str(dim), way) for dim in dims]
            chance = each.get("chance", {}).get(way, {}).get("R@1")
            rows.append([f"`{name}`", label, *cells, _percent(chance)])
    head = ["split", "way", *(f"{dim} dims" for dim in dims), "chance"]
    note = "R@1 in %; the 95 % interval of a bootstrap in brackets. `chance` is a random order."
    return f"{note}\n\n{_table(head, rows)}"


def _retrieval_cell(split: Mapping[str, Any], dim: str, way: str) -> str:
    value = _percent(split.get(dim, {}).get(way, {}).get("R@1"))
    interval = split.get("R@1_interval", {}).get(dim, {}).get(way)
    return f"{value} {_interval(interval)}".strip()


def _answers(metrics: Mapping[str, Any]) -> str:
    names = ("accuracy", "blind", "shuffled", "majority")
    rows = [
        [
            f"`{name}`",
            f"{_percent(each.get('accuracy'))} {_interval(each.get('accuracy_interval'))}".strip(),
            *(_percent(each.get(key)) for key in names[1:]),
        ]
        for name, each in metrics.items()
        if isinstance(each, dict) and "accuracy" in each
    ]
    note = (
        "Exact match in %. `blind` gets a mean image, `shuffled` that of a different question, "
        "and `majority` is the most frequent training answer of the question's type."
    )
    return f"{note}\n\n{_table(['split', 'model', *names[1:]], rows)}"


def _licences(config: Mapping[str, Any], locked: Mapping[str, Any], own: str | None) -> str:
    lines = [f"- Trained weights: {own or 'not stated by the publisher'}."]
    data = _locked_params(locked).get("data")
    if data is not None:
        lines.append(f"- Training data `{data}`: {DATA.get(str(data), 'not stated')}.")
    for part, options in frozen_parts(config):
        source = options.get("model") or options.get("weights") or "trained from scratch"
        commit = f" at {options['revision']}" if options.get("revision") else ""
        licence = f", {options['license']}" if options.get("license") else ""
        lines.append(f"- {part.replace('_', ' ')}: `{source}`{commit}{licence}.")
    return "\n".join(lines)


def frozen_parts(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns the encoders and the decoder of a config.json, with their options."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for part in ("vision_encoder", "text_encoder", "decoder"):
        options = config.get(f"{part}_config")  # of a dual encoder
        if options is None and isinstance(config.get(part), dict):
            options = config[part].get("options")
        if isinstance(options, dict):
            found.append((part, options))
    return found


def _parameters(config: Mapping[str, Any], locked: Mapping[str, Any]) -> str:
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    parts = [f"The model (`config.json`):\n\n```json\n{text}\n```"]
    if locked:
        trained = yaml.safe_dump(_locked_params(locked), sort_keys=True, allow_unicode=True)
        parts.append(f"Its training (`params.yaml`):\n\n```yaml\n{trained}```")
    return "\n\n".join(parts)


def _bytes(folder: Path, locked: Mapping[str, Any]) -> str:
    parts = []
    if locked:
        used = [*locked.get("deps", []), *locked.get("outs", [])]
        rows = [[f"`{each['path']}`", f"`{each['md5']}`"] for each in used if "md5" in each]
        parts.append(
            f"MD5 of all inputs and outputs (`dvc.lock`):\n\n{_table(['path', 'md5'], rows)}"
        )
    certificate = folder / "chain.json"
    if certificate.is_file():
        chain = _read_json(certificate)
        parts.append(
            f"Certificate (`chain.json`): level {chain.get('level')}; the chain of all steps ends "
            f"in `{chain.get('head')}`."
        )
    return "\n\n".join(parts) or "No `dvc.lock` and no certificate."


def _locked_stage(project: Path, stage: str) -> dict[str, Any]:
    path = project / "dvc.lock"
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        locked = content["stages"].get(stage)
        if not locked:
            return {}
        files = {part: [dict(each) for each in locked.get(part, [])] for part in ("deps", "outs")}
        return {**locked, **files, "params": dict(locked.get("params", {}))}
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a lock file of DVC ({type(error).__name__}): `git checkout dvc.lock`, "
            "or name a different folder with --project"
        ) from None


def _locked_params(locked: Mapping[str, Any]) -> dict[str, Any]:
    params = locked.get("params", {}).get("params.yaml", {})
    return params if isinstance(params, dict) else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{path} can't be read as JSON ({error}); write it again") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, expected an object")
    return values


def _percent(value: Any) -> str:
    return f"{100 * value:.1f}" if isinstance(value, int | float) else "-"


def _interval(values: Any) -> str:
    if not isinstance(values, list) or len(values) != 2:
        return ""
    return f"({_percent(values[0])} to {_percent(values[1])})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
