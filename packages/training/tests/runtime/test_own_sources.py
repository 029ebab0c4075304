"""One environment and two checkouts: a stage stops if it would run the code of the other one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_glass.training.runtime.own_sources import check_own_sources
from edge_glass.training.runtime.pipeline import installed_source

PORTIONS = ("encoders", "decoders", "fusion", "training")
FOLDER = "packages/training/src/edge_glass/training"


@pytest.fixture
def checkout(project: Path) -> Path:
    """A second checkout, whose sources equal the installed ones."""
    for portion in PORTIONS:
        shutil.copytree(
            installed_source(f"src/edge_glass/{portion}"),
            project / f"packages/{portion}/src/edge_glass/{portion}",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return project


def test_equal_files_are_the_project_s_own(checkout: Path) -> None:
    check_own_sources(checkout, "align")


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_file_that_differs_stops_the_stages_that_depend_on_it(
    checkout: Path, change: str
) -> None:
    file = checkout / FOLDER / "align/config.py"
    if change == "edited":
        file.write_text(file.read_text() + "\n# different\n")
    elif change == "added":
        (file.parent / "new.py").write_text("")
    else:
        file.unlink()
    with pytest.raises(ValueError, match="align would run ") as caught:
        check_own_sources(checkout, "align")
    message = str(caught.value)
    name = "new.py" if change == "added" else "config.py"
    assert f"{installed_source(f'{FOLDER}/align')}/{name}" in message
    assert f"{checkout / FOLDER}/align/{name}" in message
    assert "pip install -e packages/decoders -e packages/encoders" in message
    assert "PYTHONPATH=packages/decoders/src:packages/encoders/src" in message
    check_own_sources(checkout, "encode")  # which does not use the file


def test_a_project_without_sources_runs_what_is_installed(project: Path) -> None:
    check_own_sources(project, "align")
    (project / "dvc.yaml").unlink()
    check_own_sources(project, "align")


@pytest.mark.slow
def test_the_command_stops_and_the_remedy_helps(checkout: Path) -> None:
    """The whole command, as DVC runs it, in a checkout whose code differs from the installed."""
    file = checkout / FOLDER / "prepare/filters.py"
    file.write_text(file.read_text() + "\n# different\n")
    program = "from edge_glass.fusion.app.cli import main; main()"

    def prepare(search_path: str | None) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ)
        if search_path:
            environment["PYTHONPATH"] = search_path
        return subprocess.run(
            [sys.executable, "-c", program, "prepare"],
            cwd=checkout,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )

    # an option that the code that runs does not know: the sources are the reason, not the file
    written = Path("params.yaml").read_text()
    Path("params.yaml").write_text(f"{written}\nnew_option: 1\n")
    assert prepare(None).stderr.startswith("edge-glass: prepare would run ")
    Path("params.yaml").write_text(written)
    done = prepare(None)
    assert done.returncode == 1
    assert done.stderr.startswith("edge-glass: prepare would run ")
    assert "Traceback" not in done.stderr
    assert not Path("artifacts/prepared").exists()
    remedy = done.stderr.rpartition("set PYTHONPATH=")[2].strip()
    done = prepare(remedy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().splitlines()[-1].startswith("next: ")
