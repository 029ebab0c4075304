"""The container, as a newcomer meets it: `docker compose run --rm train dvc repro` on a clone.

Run with `tox run -e docker`. The image is built for real and the whole pipeline runs in it with the
network off. What this machine needs beside the committed files (a base image, wheels, the host's
network while building) goes into a compose override file and into `docker/wheels` of the clone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[1]
OWNER = 12345  # has no entry in any passwd file, in the image or out of it
OVERRIDE = {"services": {"train": {"build": {"network": "host"}, "network_mode": "none"}}}


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

    def git(self, *arguments: str) -> str:
        """Runs git in the clone, whoever owns it."""
        # no optional locks: `git status` would leave an index that belongs to whoever runs it
        options = ["--no-optional-locks", "-c", f"safe.directory={self.folder}"]
        command = ["git", *options, "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def owner(self) -> int:
        """The user that the clone belongs to."""
        return self.folder.stat().st_uid


def engine_trouble() -> str:
    """What keeps a Docker engine from answering; empty where one does."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            return f"`{' '.join(command)}` says: {answer.stderr.strip()}"
    return ""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A clone with an image built from it."""
    if trouble := engine_trouble():
        # a job that was given an engine must not pass by skipping
        (pytest.fail if "DOCKER_HOST" in os.environ else pytest.skip)(f"no engine: {trouble}")
    base = tmp_path_factory.mktemp("docker")
    clone = base / "checkout"
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
def reproduced(checkout: Checkout) -> Checkout:
    """The clone after `dvc repro` in the container."""
    answer = checkout.run("dvc", "repro")
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


def test_labels_tell_the_versions(checkout: Checkout) -> None:
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


def test_pipeline_gives_the_results_of_this_checkout(reproduced: Checkout) -> None:
    """The commit's results; or, on another model of CPU, those of `tox run -e repro` here."""
    assert (reproduced.folder / "data").is_dir(), "the data did not pull themselves"
    # not `git diff`, which would write the index, as root
    changed = reproduced.git("status", "--porcelain", "--untracked-files=no").splitlines()
    differ = [
        name
        for name in (line[3:] for line in changed)
        if (reproduced.folder / name).read_bytes() != (ROOT / name).read_bytes()
    ]
    assert differ == []


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


def test_without_a_checkout_it_says_what_to_mount(checkout: Checkout) -> None:
    name = checkout.compose("config", "--images", "train").stdout.split()[-1]
    answer = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", name], capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert "mount the repository" in answer.stderr
