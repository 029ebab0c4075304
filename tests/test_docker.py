"""The container as a new user runs it: `docker compose run --rm train dvc repro` on a clone.

Run with `tox run -e docker`. The image is built for real and the whole pipeline runs in it with the
network off. What this machine needs in addition to the committed files (a base image, wheels, the
host's network while building) goes into a compose override file and into `docker/wheels` of the
clone. The variable EDGE_GLASS_CHECKOUT names the clone's folder, for a caller that uses it later.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[1]
OWNER = 12345  # has no entry in any passwd file, in the image or outside
# DVC skips these on a fresh clone: their inputs are those of dvc.lock, their results are in git.
IN_GIT = ("prepare_samples", "evaluate_align", "evaluate_vlm_qa", "notebooks")
# docker/wheels has torch for CPUs, so its index is not asked
BUILD = {"network": "host", "args": {"TORCH_INDEX": ""}}
OVERRIDE = {"services": {"train": {"build": BUILD, "network_mode": "none"}}}


class Checkout:
    """A clone of the committed repository with its own owner, and Docker Compose in it."""

    def __init__(self, folder: Path, override: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "COMPOSE_FILE": f"{folder / 'compose.yaml'}{os.pathsep}{override}",
            "COMPOSE_PROJECT_NAME": "edge-glass-test",
            "DOCKER_BUILDKIT": "1",
        }

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `docker compose ...` and returns what it printed, both streams together."""
        return subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in a new container of the service `train`."""
        return self.compose("run", "--rm", "-T", "train", *command)

    def owner(self) -> int:
        """The user that the clone belongs to."""
        return self.folder.stat().st_uid


def engine_trouble() -> str:
    """Why no Docker engine answers; empty if one does."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            return f"`{' '.join(command)}` printed: {answer.stderr.strip()}"
    return ""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A clone with an image built from it."""
    if trouble := engine_trouble():
        # a job that was given an engine must not pass by skipping
        (pytest.fail if "DOCKER_HOST" in os.environ else pytest.skip)(f"no engine: {trouble}")
    base = tmp_path_factory.mktemp("docker")
    clone = Path(os.environ.get("EDGE_GLASS_CHECKOUT", base / "checkout"))
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    for wheel in Path(os.environ.get("WHEELHOUSE", base / "none")).glob("*.whl"):
        shutil.copy(wheel, clone / "docker" / "wheels")
    if os.geteuid() == 0:
        for path in (clone, *clone.rglob("*")):
            os.chown(path, OWNER, OWNER, follow_symlinks=False)
    override = base / "override.yaml"
    override.write_text(yaml.safe_dump(OVERRIDE))
    checkout = Checkout(clone, override)
    built = checkout.compose("build", "train")
    assert built.returncode == 0, built.stdout[-8000:]
    yield checkout
    checkout.compose("down", "--remove-orphans")


@pytest.fixture(scope="module")
def first_run(checkout: Checkout) -> str:
    """What the README's first command prints on a fresh clone."""
    answer = checkout.run("dvc", "repro")
    assert answer.returncode == 0, answer.stdout[-8000:]
    return answer.stdout


@pytest.fixture(scope="module")
def reproduced(first_run: str, checkout: Checkout) -> Checkout:
    """The clone after every stage has run once."""
    answer = checkout.run("dvc", "repro", "--force", "--single-item", *IN_GIT)
    assert answer.returncode == 0, answer.stdout[-8000:]
    return checkout


def test_container_has_no_network(checkout: Checkout) -> None:
    answer = checkout.run("cat", "/proc/net/route")
    assert answer.returncode == 0, answer.stdout
    routes = [line for line in answer.stdout.splitlines() if line.startswith(("eth", "en"))]
    assert routes == []


def test_command_runs_as_the_owner_of_the_checkout(checkout: Checkout) -> None:
    answer = checkout.run("id", "-u")
    assert answer.stdout.split()[-1] == str(checkout.owner())
    assert os.geteuid() != 0 or checkout.owner() == OWNER


def test_mounted_sources_are_what_runs(checkout: Checkout) -> None:
    script = (
        "import edge_glass.encoders, edge_glass.decoders, edge_glass.fusion, edge_glass.training, "
        "edge_glass.tools; print(*edge_glass.__path__, sep='\\n')"
    )
    answer = checkout.run("python", "-c", script)
    assert answer.returncode == 0, answer.stdout
    folders = sorted(line for line in answer.stdout.splitlines() if line.startswith("/workspace"))
    names = ("decoders", "encoders", "fusion", "tools", "training")
    assert folders == [f"/workspace/packages/{name}/src/edge_glass" for name in names]


def test_everything_in_the_image_is_pinned(checkout: Checkout) -> None:
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    )
    listed = checkout.run("pip", "list", "--format=json", "--exclude-editable", "--exclude", "pip")
    assert listed.returncode == 0, listed.stdout
    start = listed.stdout.index("[{")
    for found in json.JSONDecoder().raw_decode(listed.stdout[start:])[0]:
        name = found["name"].lower().replace("_", "-")
        version = found["version"].split("+")[0]
        if name.startswith(("nvidia-", "cuda-", "triton")) and name not in pins:
            continue  # torch's own exact requirements, in its CUDA build only
        assert pins.get(name) == version, f"the image has {name} {version}"


def test_labels_have_the_versions(checkout: Checkout) -> None:
    name = checkout.compose("config", "--images", "train").stdout.split()[-1]
    labels = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", name],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(labels.stdout)
    project = tomllib.loads((ROOT / "packages/training/pyproject.toml").read_text())["project"]
    assert found["org.opencontainers.image.version"] == project["version"]
    assert found["org.opencontainers.image.licenses"] == project["license"]
    pins = (ROOT / "constraints.txt").read_text().split()
    assert f"torch=={found['edge-glass.torch.version']}" in pins


def test_first_run_prints_progress_and_results_but_no_warning(
    first_run: str, checkout: Checkout
) -> None:
    assert (checkout.folder / "data").is_dir(), "the data were not pulled"
    assert "WARNING" not in first_run
    for stage in ("prepare", "encode", "align", "vlm_qa"):
        assert f"Running stage '{stage}'" in first_run
    for stage in IN_GIT:
        assert f"Stage '{stage}' didn't change, skipping" in first_run
    results = first_run[first_run.rindex("Running stage") :]
    for expected in ("results are in git", "plots", "dvc exp run"):
        assert expected in results


def test_pipeline_gives_the_bytes_of_the_commit(reproduced: Checkout) -> None:
    """On every CPU with AVX2: that is what `reproducibility: portable` guarantees."""
    compared = subprocess.run(
        [sys.executable, ROOT / ".ci" / "compare_lock.py"],
        cwd=reproduced.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert compared.returncode == 0, compared.stdout


def test_outputs_belong_to_the_owner_of_the_checkout(reproduced: Checkout) -> None:
    strangers = [
        str(path.relative_to(reproduced.folder))
        for path in reproduced.folder.rglob("*")
        if path.lstat().st_uid != reproduced.owner()
    ]
    assert strangers == []


def test_second_run_does_nothing(reproduced: Checkout) -> None:
    answer = reproduced.run("dvc", "repro")
    assert answer.returncode == 0, answer.stdout
    assert "Running stage" not in answer.stdout
    assert "Data and pipelines are up to date." in answer.stdout


def test_broken_stage_fails(reproduced: Checkout) -> None:
    pipeline = reproduced.folder / "dvc.yaml"
    content = yaml.safe_load(pipeline.read_text())
    content["stages"]["broken"] = {"cmd": "python -c 'raise SystemExit(3)'"}
    original = pipeline.read_bytes()
    pipeline.write_text(yaml.safe_dump(content))
    try:
        answer = reproduced.run("dvc", "repro", "broken")
    finally:
        pipeline.write_bytes(original)
    assert answer.returncode != 0
    assert "failed to reproduce 'broken'" in answer.stdout


def test_an_interrupted_pull_is_completed(reproduced: Checkout) -> None:
    pulled, mark = reproduced.folder / "data/questions", reproduced.folder / ".dvc/tmp/pulling-data"
    files = sorted(path.name for path in pulled.iterdir())
    shutil.rmtree(pulled)
    mark.touch()
    os.chown(mark, OWNER, OWNER)  # as the container's user leaves it
    answer = reproduced.run("dvc", "status", "data.dvc")
    assert answer.returncode == 0, answer.stdout[-8000:]
    assert sorted(path.name for path in pulled.iterdir()) == files
    assert not mark.exists()


def test_a_worktree_without_its_repository_is_refused_with_the_remedy(
    reproduced: Checkout,
) -> None:
    git, away = reproduced.folder / ".git", reproduced.folder / ".git-away"
    git.rename(away)
    git.write_text("gitdir: /home/me/edge-glass/.git/worktrees/copy\n")
    try:
        answer = reproduced.run("dvc", "repro")
    finally:
        git.unlink()
        away.rename(git)
    assert answer.returncode == 2
    assert (
        "-v '/home/me/edge-glass/.git:/home/me/edge-glass/.git:z' train dvc repro" in answer.stdout
    )


def test_without_a_checkout_the_error_names_what_to_mount(checkout: Checkout) -> None:
    name = checkout.compose("config", "--images", "train").stdout.split()[-1]
    answer = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", name], capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert "mount the repository" in answer.stderr
