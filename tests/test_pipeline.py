"""`dvc.yaml`: what a choice re-runs, and that every stage names the sources it uses."""

from __future__ import annotations

import ast
import copy
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.parsing import DataResolver
from dvc.repo import Repo

ROOT = Path(__file__).parents[1]
SOURCES = {
    ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
    for source in ROOT.glob("packages/*/src")
    for path in source.rglob("*.py")
}
# Checks of the configuration, progress, locks and errors change no byte of what a stage writes, nor
# does where its parts run; the folders stand in dvc.yaml itself.
NO_EFFECT = {
    "edge_glass.training.folders",
    "edge_glass.training.config",
    "edge_glass.training.engine.fingerprint",
    "edge_glass.encoders.components",
    "edge_glass.training.runtime.progress",
    "edge_glass.training.runtime.lock",
    "edge_glass.training.runtime.executor",
}
STAGES = [
    "prepare",
    "prepare_samples",
    "encode",
    "align",
    "evaluate_align",
    "vlm_qa",
    "evaluate_vlm_qa",
    "notebooks",
]
BEFORE_ALIGN = {"prepare", "prepare_samples", "encode"}


def pipeline() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


def resolved(params: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The stages as DVC resolves them with these parameters."""
    folder = tmp_path / f"resolved{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    with Repo.init(str(folder), no_scm=True) as repo:
        stages: dict[str, Any] = DataResolver(repo, str(folder), pipeline()).resolve()["stages"]
    return stages


def look_up(params: dict[str, Any], path: str) -> Any:
    value: Any = params
    for key in path.split("."):
        value = value[key]
    return value


def reruns(change: dict[str, Any], tmp_path: Path) -> set[str]:
    """The stages that run again after a change: those whose parameters differ, and all behind."""
    before = yaml.safe_load((ROOT / "params.yaml").read_text())
    after = copy.deepcopy(before)
    for path, value in change.items():
        *folders, last = path.split(".")
        (look_up(after, ".".join(folders)) if folders else after)[last] = value
    old, new = resolved(before, tmp_path), resolved(after, tmp_path)
    changed = {
        name
        for name in new
        if old[name].get("params") != new[name].get("params")
        or any(look_up(before, p) != look_up(after, p) for p in new[name].get("params", []))
    }
    outputs = {
        name: [
            item if isinstance(item, str) else next(iter(item))
            for kind in ("outs", "metrics", "plots")
            for item in stage.get(kind, [])
        ]
        for name, stage in new.items()
    }
    for name in STAGES:  # in the order of the pipeline
        needed = new[name]["deps"]
        if any(dep.startswith(tuple(outputs[done])) for done in changed for dep in needed):
            changed.add(name)
    return changed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fusion": "gated"}, {"vlm_qa", "evaluate_vlm_qa", "notebooks"}),
        ({"decoder": "qwen2_5_tiny"}, {"vlm_qa", "evaluate_vlm_qa", "notebooks"}),
        ({"fusions.gated.gate_init": 0.3}, set()),
        ({"launch": "ddp"}, {"vlm_qa", "evaluate_vlm_qa", "notebooks"}),
        ({"launches.ddp.num_processes": 4}, set()),
        ({"evaluate_align.sample.block_size": 7}, {"evaluate_align"}),
        ({"pooling": "perceiver"}, set(STAGES) - BEFORE_ALIGN),
        ({"encode.sample.dtype": "float32"}, set(STAGES) - {"prepare", "prepare_samples"}),
        ({"vision_encoder": "clip_vit_l14_336"}, set(STAGES) - {"prepare"}),
        ({"seed": 1}, set(STAGES)),
    ],
)
def test_a_choice_reruns_what_depends_on_it(
    change: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    assert reruns(change, tmp_path) == expected


def code_of(module: str) -> str:
    """A module's source and, of a notebook's template, the cells' as well."""
    source = SOURCES[module].read_text()
    template = getattr(importlib.import_module(module), "CELLS", "") if "CELLS" in source else ""
    cells = re.findall(r"^# %%\n((?:(?!# %%).*\n)*)", template, re.MULTILINE)
    return "\n".join([source, *cells])


def imports(module: str) -> set[str]:
    """The modules of this project that a module names, inside of functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code_of(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in SOURCES and SOURCES[name].name != "__init__.py"}


def closure(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in NO_EFFECT:
            seen.add(name)
            waiting += imports(name)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_names_every_source_it_imports(stage: str, tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    deps = [ROOT / dep for dep in resolved(params, tmp_path)[stage]["deps"]]
    starts = {"notebooks": "edge_glass.tools.create.command"}
    used = {
        SOURCES[name] for name in closure(starts.get(stage, f"edge_glass.training.stages.{stage}"))
    }
    missing = {
        str(path.relative_to(ROOT))
        for path in used
        if not any(path == dep or dep in path.parents for dep in deps)
    }
    assert missing == set()
    named = [dep for dep in deps if dep.suffix == ".py"]
    assert [dep for dep in named if not dep.is_file()] == []


def test_align_knows_nothing_of_decoders() -> None:
    for stage in (*BEFORE_ALIGN, "align", "evaluate_align"):
        assert not any("decoders" in dep for dep in pipeline()["stages"][stage]["deps"])
