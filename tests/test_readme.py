"""Every command in the pages exists: it is compared with its tool, not run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from pages import commands

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
PROOFS = "docs/reproducibility.md"
FIRST_COMMANDS = [
    "docker compose run --rm train dvc repro",
    "python -m pip install tox && tox run -e repro",
    "tox",
]


@cache
def params() -> dict[str, object]:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@cache
def stages() -> set[str]:
    return set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


@cache
def tox_environments() -> set[str]:
    listed = re.findall(r"^\[testenv:([\w-]+)\]", (ROOT / "tox.ini").read_text(), re.MULTILINE)
    return set(listed)


def succeeds(*command: str) -> bool:
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


@cache
def subcommand_exists(command: str, *names: str) -> bool:
    return succeeds(str(Path(sys.executable).parent / command), *names, "--help")


@cache
def names_of_tests(environment: str) -> str:
    """The names of the tests that a tox environment runs, one per line: file and function."""
    folder = ROOT if environment == "slow" else ROOT / "packages" / environment
    paths = [path for path in folder.glob("**/test_*.py") if ".tox" not in path.parts]
    return "\n".join(
        f"{path.stem}::{name}"
        for path in paths
        for name in re.findall(r"^\s*def (test_\w+)", path.read_text(), re.MULTILINE)
    )


def check_tox(words: list[str]) -> None:
    environments: set[str] = set()
    for option, value in pairwise(words):
        if option == "-e":
            environments = set(value.split(","))
            assert environments <= tox_environments(), f"tox.ini has no {value}"
        if option == "-k":
            for environment in environments:
                for name in re.split(r"\s+or\s+", value):
                    assert name in names_of_tests(environment), f"{environment} has no test {name}"


def check_dvc(words: list[str]) -> None:
    names = [word for word in words[1:] if not word.startswith("-")]
    if words[1] in ("exp", "metrics", "plots", "params"):
        assert subcommand_exists("dvc", *words[1:3]), f"dvc has no {' '.join(words[1:3])}"
    else:
        assert subcommand_exists("dvc", words[1]), f"dvc has no {words[1]}"
    if words[1] == "repro":
        assert set(names[1:]) <= stages(), f"dvc.yaml has no {names[1:]}"
    for option, value in pairwise(words):
        if option in ("-S", "--set-param"):
            key, _, choice = value.partition("=")
            found: object = params()
            for part in key.split("."):
                assert isinstance(found, dict), f"params.yaml has no {key}"
                assert part in found, f"params.yaml has no {key}"
                found = found[part]
            table = params().get(f"{key}s")
            if isinstance(table, dict) and "…" not in choice:
                assert set(choice.split(",")) <= set(table), f"params.yaml: {key} has no {choice}"


def check_docker(words: list[str]) -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert words[1] == "compose", "the image is built and run by Docker Compose"
    assert words[2] in ("build", "run"), f"unknown here: docker compose {words[2]}"
    rest = [word for word in words[3:] if not word.startswith("-")]
    assert rest[0] in services, f"compose.yaml has no service {rest[0]}"
    if len(rest) > 1:
        check(shlex.join(rest[1:]))


def check_python(words: list[str]) -> None:
    if words[1] == "-m":
        assert words[2] in ("http.server", "pip", "venv"), f"unknown here: python -m {words[2]}"
        for option, value in pairwise(words):
            if option in ("-e", "-c", "-r"):
                assert (ROOT / value.partition("[")[0]).exists(), f"there is no {value}"
    else:
        assert (ROOT / words[1]).is_file(), f"there is no {words[1]}"


def check_launcher(words: list[str]) -> None:
    for option, value in pairwise(words):
        if option == "--config_file":
            assert (ROOT / value).is_file(), f"there is no {value}"
        if option in ("--no-python", "--no_python"):
            check(shlex.join(words[words.index(option) + 1 :]))


def check(command: str) -> None:
    """Fails if a part of the command names something that does not exist."""
    for part in re.split(r"\s*(?:&&|\|\||;|\|)\s*", command):
        words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
        tool = words[0]
        if tool == "tox":
            check_tox(words)
        elif tool == "dvc":
            check_dvc(words)
        elif tool == "docker":
            check_docker(words)
        elif tool == "python":
            check_python(words)
        elif tool in ("torchrun", "accelerate"):
            check_launcher(words)
        elif tool == "dask":
            assert words[1] in entry_points(group="dask_cli").names, f"dask has no {words[1]}"
        elif tool in ("edge-glass", "edge-glass-notebooks"):
            names = [word for word in words[1:2] if not word.startswith("-")]
            assert subcommand_exists(tool, *names), f"{tool} has no {' '.join(names)}"
        elif "/" in tool:
            assert (ROOT / tool).is_file(), f"there is no {tool}"
        else:
            known = (".", "bash", "cd", "curl", "git", "ls", "openssl", "pre-commit", "tensorboard")
            assert tool in known, f"unknown here: {tool}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    for command in commands(page):
        try:
            check(command)
        except AssertionError as error:
            pytest.fail(f"{page.name}: `{command}`: {error}")


def test_the_proofs_select_tests() -> None:
    """The tests that docs/reproducibility.md names as proof are there."""
    proofs = re.findall(r"`(tox run -e \w+ -- -k [^`]+)`", (ROOT / PROOFS).read_text())
    assert len(proofs) > 5
    for proof in proofs:
        check(proof)


def test_the_readme_has_the_three_commands() -> None:
    assert set(FIRST_COMMANDS) <= set(commands(ROOT / "README.md"))


@pytest.mark.parametrize(
    "command",
    [
        "tox run -e nothing",
        "tox run -e slow -- -k nothing_is_named_so",
        "dvc repro nothing",
        "dvc exp run -S nothing=1",
        "dvc exp run -S decoder=nothing",
        "docker compose run --rm nothing dvc repro",
        "docker compose run --rm train dvc nothing",
        "edge-glass nothing",
        "python nothing.py",
        "torchrun --no-python edge-glass nothing",
        "nothing",
    ],
)
def test_the_check_itself_refuses(command: str) -> None:
    with pytest.raises(AssertionError):
        check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path = target.partition("#")[0]
        if path and not re.match(r"[a-z]+:", path):
            assert (page.parent / path).exists(), f"{page.name}: there is no {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_lines_are_short(page: Path) -> None:
    """At most 100 columns outside of tables, blocks and lines of a single link."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith(("|", "![", "<!--"))]
    assert [line for line in prose if len(line) > 100 and " " in line.strip()] == []
