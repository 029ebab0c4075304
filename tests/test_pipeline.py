"""`dvc.yaml`: what a choice re-runs, and that a stage lists exactly the sources that it uses."""

from __future__ import annotations

import ast
import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.fs import LocalFileSystem
from dvc.ignore import DvcIgnoreFilter
from dvc.parsing import DataResolver
from dvc.repo import Repo

from edge_glass.encoders.components import KINDS
from edge_glass.training import folders
from edge_glass.training.params import STAGES as SECTIONS
from edge_glass.training.params import parse_params
from edge_glass.training.runtime.pipeline import read_pipeline
from import_graph import COMPONENTS, ROOT, SOURCES, closure, cycles, imports, is_package

# These change no byte of what a stage writes: .dvcignore names the first two, and folders.py holds
# paths that dvc.yaml repeats, see `test_what_has_no_effect`.
NO_EFFECT = {
    "edge_glass.training.runtime.lock",
    "edge_glass.training.runtime.progress",
    "edge_glass.training.folders",
}
RUN_STAGE = "edge_glass.training.runtime.run_stage"
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
        ({"log_with": ["tensorboard"]}, set()),
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
    not_outputs = {str(folders.STATE), str(folders.LOGS)}
    assert named - not_outputs <= outputs


def test_params_pass_values_on() -> None:
    """`params.py` changes no value: what a stage gets is what the file says."""
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


def test_our_reader_of_the_pipeline_agrees_with_dvc(stages: dict[str, Any]) -> None:
    ours = read_pipeline(ROOT, yaml.safe_load((ROOT / "params.yaml").read_text()))
    assert list(ours) == list(stages)
    for name, stage in stages.items():
        assert {*ours[name].sources, *ours[name].inputs} == set(stage["deps"])
        assert set(ours[name].params) == set(stage["params"])


@pytest.mark.parametrize(
    ("file", "before", "after", "changed"),
    [
        ("training/loop/optim.py", "beta2: float = 0.98", "beta2: float = 0.99", True),
        ("training/align/config.py", "collapse_steps: int = 200", "collapse_steps: int = 9", True),
        ("encoders/dual_encoder_config.py", "scale: float = 2.659", "scale: float = 3", True),
        ("encoders/perceiver.py", "num_layers: int = 2", "num_layers: int = 3", True),
        ("training/runtime/progress.py", "def say(", "def  say(", False),
        ("decoders/trm.py", "max_vocab: int = 8192", "max_vocab: int = 9000", False),
    ],
)  # fmt: skip
def test_a_changed_default_changes_the_status_of_align(
    file: str,
    before: str,
    after: str,
    changed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With DVC itself: `dvc repro` must not call a stage up to date whose code has changed."""
    for source in ROOT.glob("packages/*/src"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tmp_path / source.relative_to(ROOT), ignore=ignored)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in (
        "artifacts/prepared/captions",
        "artifacts/features",
        "models/align",
        "plots/align",
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "content").write_text(name)
    monkeypatch.chdir(tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.commit("align", force=True, allow_missing=True)
    with Repo(str(tmp_path)) as repo:
        assert repo.status(["align"]) == {}
    portion = file.partition("/")[0]
    path = tmp_path / f"packages/{portion}/src/edge_glass/{file}"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with Repo(str(tmp_path)) as repo:
        assert bool(repo.status(["align"])) == changed


def test_no_import_cycles_between_files() -> None:
    assert cycles({name: set(imports(name)) for name in SOURCES}) == []


def test_no_import_cycles_between_folders() -> None:
    """A folder below a package is one node; the files directly in a package stand alone."""

    def node(module: str) -> str:
        path = SOURCES[module].relative_to(ROOT)
        within = path.parts[path.parts.index("edge_glass") + 1 : -1]
        return "/".join(within if len(within) > 1 else (*within, path.name))

    graph: dict[str, set[str]] = {node(name): set() for name in SOURCES}
    for name in SOURCES:
        graph[node(name)] |= {node(each) for each in imports(name)} - {node(name)}
    assert cycles(graph) == []


def test_align_knows_nothing_of_decoders() -> None:
    for stage in (*BEFORE_ALIGN, "align", "evaluate_align"):
        assert not any("decoders" in dep for dep in pipeline()["stages"][stage]["deps"])
