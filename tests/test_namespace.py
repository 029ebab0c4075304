"""Five distributions, one native namespace: what is in the wheels, and what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
CHAINS = {
    "encoders": set(),
    "decoders": set(),
    "fusion": {"encoders", "decoders"},
    "training": {"fusion"},
    "tools": set(),
}
HEAVY = ("accelerate", "matplotlib", "sentence_transformers", "sklearn", "torch", "transformers")


def project(name: str) -> dict[str, Any]:
    content = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())
    return content["project"]


def declared(name: str, *, tests: bool) -> set[str]:
    """The distributions that a package and its chain declare; with `tests`, for its tests too."""
    described = project(name)
    extras = described.get("optional-dependencies", {})
    entries = [*described["dependencies"]]
    for extra, listed in extras.items():
        entries += listed if extra != "test" or tests else []
    found = {canonicalize_name(Requirement(entry).name) for entry in entries}
    return found.union(*(declared(each, tests=False) for each in CHAINS[name]))


@cache
def installed_with(distribution: str) -> frozenset[str]:
    """A distribution and what it requires itself, without extras."""
    found, waiting = set(), [distribution]
    while waiting:
        current = canonicalize_name(waiting.pop())
        if current in found:
            continue
        found.add(current)
        try:
            entries = [Requirement(entry) for entry in requires(current) or []]
        except PackageNotFoundError:
            continue
        waiting += [each.name for each in entries if not each.marker or each.marker.evaluate()]
    return frozenset(found)


@cache
def distributions_of_modules() -> Mapping[str, list[str]]:
    return packages_distributions()


def foreign_imports(path: Path) -> set[str]:
    """The top modules of third parties that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    tops = {name.partition(".")[0] for name in found if not name.startswith("edge_glass.")}
    return tops - set(sys.stdlib_module_names) - {"edge_glass"}


def distributions_of(module: str) -> set[str]:
    """Returns the canonical names of the distributions that have the module."""
    # extras that the environment lacks; most distributions have the name of their module
    not_installed = {
        "faiss": ["faiss-cpu"],
        "pillow_heif": ["pillow-heif"],
        "pillow_jxl": ["pillow-jxl-plugin"],
    }
    found = distributions_of_modules().get(module) or not_installed.get(module, [module])
    return set(map(canonicalize_name, found))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheels")
    paths = {
        name: next(
            WheelBuilder(str(ROOT / "packages" / name)).build(
                directory=str(folder), versions=["standard"]
            )
        )
        for name in CHAINS
    }
    return {name: zipfile.ZipFile(path) for name, path in paths.items()}


def test_every_package_is_listed_here() -> None:
    assert {path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")} == set(CHAINS)


@pytest.mark.parametrize("name", CHAINS)
def test_wheel_holds_its_portion_and_no_other(
    name: str, wheels: dict[str, zipfile.ZipFile]
) -> None:
    files = [file for file in wheels[name].namelist() if ".dist-info/" not in file]
    assert f"edge_glass/{name}/__init__.py" in files
    assert f"edge_glass/{name}/py.typed" in files
    assert [file for file in files if not file.startswith(f"edge_glass/{name}/")] == []


def test_no_portion_owns_the_namespace() -> None:
    assert list(ROOT.glob("packages/*/src/edge_glass/*.py")) == []


def test_portions_from_different_folders_import_together(
    tmp_path: Path, wheels: dict[str, zipfile.ZipFile]
) -> None:
    for name, wheel in wheels.items():
        wheel.extractall(tmp_path / name)
    script = (
        "import sys, importlib.util as util; sys.path[:0] = sys.argv[1:]\n"
        "for path in sys.argv[1:]:\n"
        "    spec = util.find_spec('edge_glass.' + path.rsplit('/', 1)[1])\n"
        "    assert spec and spec.origin.startswith(path), (path, spec)\n"
        "assert sys.modules['edge_glass'].__file__ is None"
    )
    # -S: without the site-packages, where the editable installs are
    folders = [str(tmp_path / name) for name in CHAINS]
    subprocess.run([sys.executable, "-I", "-S", "-c", script, *folders], check=True)


@pytest.mark.parametrize("name", CHAINS)
def test_siblings_are_ranges_along_the_chain(name: str) -> None:
    described = project(name)
    siblings = [
        Requirement(entry) for entry in described["dependencies"] if entry.startswith("edge-glass-")
    ]
    assert {each.name for each in siblings} == {f"edge-glass-{each}" for each in CHAINS[name]}
    for each in siblings:
        # before 1.0 a minor version may break: a range is within one, the checkout's
        version = Version(project(each.name.removeprefix("edge-glass-"))["version"])
        bounds = {part.operator: Version(part.version) for part in each.specifier}
        assert bounds.keys() == {">=", "<"}
        assert bounds[">="].release[:2] == version.release[:2]
        assert bounds["<"] == Version(f"{version.major}.{version.minor + 1}")
        assert version in each.specifier
    assert described["name"] == f"edge-glass-{name}"
    assert "dynamic" not in described


# no extra can install it: pip would replace the project's torch; docs/edge.md has the command
INSTALLED_BY_HAND = {"executorch"}


@pytest.mark.parametrize("part", ["src", "tests"])
@pytest.mark.parametrize("name", CHAINS)
def test_third_parties_that_are_imported_are_declared_along_the_chain(name: str, part: str) -> None:
    """`tox` installs all packages together; this holds that each works with its own chain only."""
    entries = declared(name, tests=part == "tests")
    # a test may use what its chain brings along, a source declares what it imports
    allowed = entries if part == "src" else entries.union(*map(installed_with, entries))
    own = {path.stem for path in ROOT.glob(f"packages/{name}/tests/**/*.py")}
    missing = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in (ROOT / "packages" / name / part).rglob("*.py")
        for module in foreign_imports(path) - own - INSTALLED_BY_HAND
        if not allowed & distributions_of(module)
    }
    assert missing == set()


@pytest.mark.parametrize("name", CHAINS)
def test_tests_import_no_package_outside_the_chain(name: str) -> None:
    """import-linter holds the same of the sources."""
    chain, waiting = set(), [name]
    while waiting:
        chain.add(current := waiting.pop())
        waiting += CHAINS[current]
    for path in (ROOT / "packages" / name / "tests").rglob("*.py"):
        named = set(re.findall(r"^\s*(?:from|import) edge_glass\.(\w+)", path.read_text(), re.M))
        assert named <= chain, path


@pytest.mark.parametrize("name", CHAINS)
def test_changelog_has_the_version(name: str) -> None:
    changelog = (ROOT / "packages" / name / "CHANGELOG.md").read_text()
    assert f"## {project(name)['version']}" in changelog.splitlines()


@pytest.mark.parametrize("module", [*CHAINS, "fusion.app.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    script = (
        f"import sys, edge_glass.{module}; "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert answer.stdout.split() == []
