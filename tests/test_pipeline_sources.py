"""`dvc.yaml`: a stage lists exactly the sources and the parameters that it uses."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.fs import LocalFileSystem
from dvc.ignore import DvcIgnoreFilter

from edge_glass.encoders.components import KINDS
from edge_glass.training import folders
from edge_glass.training.params import STAGES as SECTIONS
from edge_glass.training.params import parse_params
from import_graph import COMPONENTS, ROOT, SOURCES, closure, imports, is_package
from pipeline_stages import BEFORE_ALIGN, STAGES, pipeline, resolved

# These change no byte of what a stage writes: .dvcignore names the first two, and folders.py holds
# paths that dvc.yaml repeats, see `test_what_has_no_effect`.
NO_EFFECT = {
    "edge_glass.training.runtime.lock",
    "edge_glass.training.runtime.progress",
    "edge_glass.training.folders",
}
RUN_STAGE = "edge_glass.training.runtime.run_stage"


def sources_of(stage: str, declared: dict[str, Any]) -> set[str]:
    """The modules that a stage can run, from the start of its command on.

    The command line and `params.py` between them pass values on and can only refuse them, see
    `test_params_pass_values_on`.
    """
    starts = {f"edge_glass.training.stages.{stage}", RUN_STAGE}
    kinds = {kind for kind in KINDS if kind in declared.get("params", [])}
    # a model's folder names its components
    if "models/align" in declared["deps"]:
        kinds |= {"vision_encoder", "text_encoder", "pooling"}
    if "models/vlm_qa" in declared["deps"]:
        kinds |= set(KINDS)
    if stage == "notebooks":
        starts = {"edge_glass.tools.create.command"}
    return closure(starts, kinds, NO_EFFECT)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    return resolved(params, tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def ignore() -> DvcIgnoreFilter:
    return DvcIgnoreFilter(LocalFileSystem(), str(ROOT))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_every_source_that_it_imports(
    stage: str, stages: dict[str, Any], ignore: DvcIgnoreFilter
) -> None:
    deps = [ROOT / dep for dep in stages[stage]["deps"]]
    missing, ignored = set(), set()
    for name in sources_of(stage, stages[stage]):
        path = SOURCES[name]
        if not any(path == dep or dep in path.parents for dep in deps):
            missing.add(str(path.relative_to(ROOT)))
        if ignore.is_ignored_file(str(path)):
            ignored.add(str(path.relative_to(ROOT)))
    assert missing == set()
    assert ignored == set()
    assert [dep for dep in deps if dep.suffix == ".py" and not dep.is_file()] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_no_folder_that_it_does_not_import(
    stage: str, stages: dict[str, Any]
) -> None:
    used = [SOURCES[name] for name in sources_of(stage, stages[stage])]
    listed = [ROOT / dep for dep in stages[stage]["deps"] if "/src/" in dep]
    assert [dep for dep in listed if not any(dep == p or dep in p.parents for p in used)] == []


def test_no_import_is_hidden_in_a_computed_name() -> None:
    """`imports` reads names in strings; a name put together at run time would escape it."""
    computed = {
        module
        for module, path in SOURCES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", "") or getattr(node.func, "id", "")) == "import_module"
        and not isinstance(node.args[0], ast.Constant)
    }
    # tables of components and stages, which `sources_of` counts; of packages only the version;
    # the formats of exports, which no stage writes
    assert computed <= {
        COMPONENTS,
        RUN_STAGE,
        "edge_glass.training.runtime.dask_cluster",
        "edge_glass.fusion.export.formats",
    }


def test_packages_hold_no_code() -> None:
    """Importing a module runs the `__init__.py` of its folders, which no stage lists."""
    for module, path in SOURCES.items():
        if is_package(module):
            nodes = ast.parse(path.read_text()).body
            assert all(isinstance(node, ast.Expr | ast.Assign) for node in nodes), path


def test_what_has_no_effect(ignore: DvcIgnoreFilter) -> None:
    for name in ("lock", "progress"):
        path = SOURCES[f"edge_glass.training.runtime.{name}"]
        assert ignore.is_ignored_file(str(path))
        # files.py is a dependency of every stage for its own sake
        assert imports(f"edge_glass.training.runtime.{name}") <= NO_EFFECT | {
            "edge_glass.training.runtime.progress",
            "edge_glass.encoders.files",
        }
    # a different path in folders.py makes a stage fail: its declared output would be missing
    outputs = {
        item if isinstance(item, str) else next(iter(item))
        for stage in pipeline()["stages"].values()
        for item in stage.get("outs", [])
    }
    named = {str(value) for value in vars(folders).values() if isinstance(value, Path)}
    not_outputs = {str(folders.STATE), str(folders.TOKENS), str(folders.LOGS)}
    assert named - not_outputs <= outputs


def test_align_knows_nothing_of_decoders() -> None:
    for stage in (*BEFORE_ALIGN, "align", "evaluate_align"):
        assert not any("decoders" in dep for dep in pipeline()["stages"][stage]["deps"])


def test_params_pass_values_on() -> None:
    """`params.py` changes no value: a stage gets what is in the file."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    params = parse_params(raw, where="params.yaml")

    def given(config: Any, options: Any) -> bool:
        if isinstance(options, dict):
            if isinstance(config, dict):
                return all(given(config[key], value) for key, value in options.items())
            return all(given(getattr(config, key), value) for key, value in options.items())
        return bool((list(config) if isinstance(config, tuple) else config) == options)

    for section in SECTIONS:
        assert given(getattr(params, section), raw[section][raw["scale"]])
    for kind in (*KINDS, "launch"):
        options = raw[f"{kind}es" if kind == "launch" else f"{kind}s"][raw[kind]]
        assert given(getattr(params, kind).config, options)
    for name in ("seed", "num_threads", "device", "reproducibility", "scale", "data_folder"):
        assert getattr(params, name) == raw[name]
    assert list(params.log_with) == raw["log_with"]


# Under which name dvc.yaml tracks a field of `Params`, if it is not the field's own name.
TRACKED = {"data_name": "data", "data": "datasets"}


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "notebooks"])
def test_a_stage_lists_every_parameter_that_it_reads(stage: str, stages: dict[str, Any]) -> None:
    read = {
        node.attr
        for node in ast.walk(ast.parse(SOURCES[f"edge_glass.training.stages.{stage}"].read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "params"
    }
    listed = {name.partition(".")[0] for name in stages[stage]["params"]}
    if "artifacts/features" in stages[stage]["deps"]:
        listed.add("encode")  # a change of it changes the features
    assert {TRACKED.get(name, name) for name in read} <= listed


def test_trackers_belong_to_no_stage(stages: dict[str, Any]) -> None:
    """They change no byte: a stage that listed them would run again for nothing."""
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["log_with"] == []
    assert all("log_with" not in stage["params"] for stage in stages.values())
