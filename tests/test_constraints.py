"""constraints.txt pins everything, and the other files that name a version agree with it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = {canonicalize_name(name): version for name, version in (line.split("==") for line in LINES)}


def requirements() -> list[tuple[str, Requirement]]:
    """What the packages ask for, their extras included, siblings left out."""
    found = []
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        extras = project.get("optional-dependencies", {}).values()
        for entry in [*project["dependencies"], *(entry for extra in extras for entry in extra)]:
            requirement = Requirement(entry)
            if not requirement.name.startswith("edge-glass-"):
                found.append((path.parent.name, requirement))
    return found


def test_each_line_is_one_exact_pin() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert len(PINS) == len(LINES)
    assert sorted(LINES, key=str.lower) == LINES


def test_packages_ask_for_ranges_that_the_pins_satisfy() -> None:
    for package, requirement in requirements():
        operators = {part.operator for part in requirement.specifier}
        assert ">=" in operators, f"{package}: {requirement} has no lower bound"
        assert "==" not in operators, f"{package}: {requirement} is a pin"
        pin = PINS.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{package}: {requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pin), f"{package}: {requirement} excludes {pin}"


def test_installed_is_what_is_pinned() -> None:
    installed = {
        canonicalize_name(found.metadata["Name"]): found.version.split("+")[0]
        for found in distributions()
    }
    known = {
        name: version
        for name, version in installed.items()
        # pip is tox's; the NVIDIA libraries are torch's own exact requirements, in its CUDA build
        if not name.startswith(("edge-glass-", "nvidia-", "cuda-", "triton", "pip"))
    }
    assert known == {name: PINS.get(name) for name in known}


def test_torch_is_the_same_everywhere() -> None:
    torch = f"torch=={PINS[canonicalize_name('torch')]}"
    assert torch in (ROOT / "tox.ini").read_text()
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert f"ARG TORCH_VERSION={torch.partition('==')[2]}\n" in dockerfile


def test_the_image_is_labelled_with_the_version_of_training() -> None:
    project = tomllib.loads((ROOT / "packages/training/pyproject.toml").read_text())["project"]
    assert f"ARG VERSION={project['version']}\n" in (ROOT / "docker" / "Dockerfile").read_text()


def test_hooks_run_the_pinned_tools() -> None:
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    pinned = {
        entry
        for repository in content["repos"]
        for hook in repository["hooks"]
        for entry in hook["additional_dependencies"]
    }
    assert pinned <= set(LINES)
