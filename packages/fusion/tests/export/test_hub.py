"""The Hugging Face Hub both ways: the real client, against a stand-in of its server on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge_glass.encoders.checkpoint import CheckpointError
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.vlm import VisionLanguageModel


class StandIn(ThreadingHTTPServer):
    """Holds repositories: id -> commit -> name -> content."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """The requests that huggingface_hub sends, with large files through LFS."""

    server: StandIn

    def log_message(self, *arguments: object) -> None:
        """Keeps the tests quiet."""

    def reply(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def reply_json(self, value: Any, status: int = 200) -> None:
        self.reply(json.dumps(value).encode(), status, Content_Type="application/json")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self) -> None:
        body, parts = self.body(), self.path.strip("/").split("/")
        if self.path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given.get('organization') or 'me'}/{given['name'].split('/')[-1]}"
            self.server.repositories.setdefault(name, {})
            self.reply_json({"url": f"{self.server.url}/{name}", "id": name})
        elif self.path == "/api/validate-yaml":
            self.reply_json({"errors": [], "warnings": []})
        elif "preupload" in parts:
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            self.reply_json({"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            found = [
                {**each, "actions": {"upload": {"href": f"{self.server.url}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self.reply_json({"transfer": "basic", "objects": found})
        elif "commit" in parts:
            self.commit("/".join(parts[2:4]), [json.loads(line) for line in body.splitlines()])
        else:
            self.reply_json({"error": f"unknown {self.path}"}, 404)

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        digest = hashlib.sha1(b"".join(files[key] for key in sorted(files))).hexdigest()
        self.server.repositories[name][digest] = files
        url = f"{self.server.url}/{name}/commit/{digest}"
        self.reply_json({"success": True, "commitOid": digest, "commitUrl": url})

    def do_PUT(self) -> None:
        content = self.body()
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.blobs[oid] = content
        self.reply(b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) > 5:
            name, (what, commit) = "/".join(parts[2:4]), parts[4:6]
            files = self.server.repositories.get(name, {}).get(commit)
            if files is None:
                self.missing("RevisionNotFound" if name in self.server.repositories else "Repo")
            elif what == "revision":
                siblings = [{"rfilename": each} for each in sorted(files)]
                self.reply_json({"id": name, "sha": commit, "siblings": siblings})
            else:
                tree = [
                    {"type": "file", "path": each, "size": len(files[each]), "oid": commit}
                    for each in sorted(files)
                ]
                self.reply_json(tree)
        elif len(parts) > 4 and parts[2] == "resolve":
            found = self.server.repositories["/".join(parts[:2])][parts[3]]["/".join(parts[4:])]
            etag = f'"{hashlib.sha1(found).hexdigest()}"'
            self.reply(found, ETag=etag, X_Repo_Commit=parts[3])
        else:
            self.missing("Repo")

    def missing(self, code: str) -> None:
        code = "RepoNotFound" if code == "Repo" else code
        self.reply(b"{}", 404, X_Error_Code=code, X_Error_Message="not found")


@pytest.fixture(scope="module")
def hub() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def project(folder: Path, model: Path) -> Path:
    """A folder with the lock file and the figures of a dual encoder."""
    from edge_glass.fusion.export.model_card import folder_md5

    ways = {"i2t": {"R@1": 0.519}, "t2i": {"R@1": 0.72}}
    interval = {"24": {"i2t": [0.45, 0.58], "t2i": [0.66, 0.78]}}
    metrics = {"val_vendor": {"24": ways, "chance": ways, "R@1_interval": interval}}
    (folder / "metrics").mkdir()
    (folder / "metrics" / "evaluate_align.json").write_text(json.dumps(metrics))
    params = {"params.yaml": {"data": "pixmo_sample", "seed": 0}}
    outs = [{"path": "models/align", "md5": folder_md5(model)}]
    stages = {"align": {"cmd": "edge-glass align", "params": params, "outs": outs}}
    (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
    return folder


PROGRAM = """
import contextlib, io, json, sys
from PIL import Image
from edge_glass.fusion.app.cli import app
from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.encoders.hub import HubError
from edge_glass.fusion.vlm import VisionLanguageModel

dual, vlm, project = sys.argv[1:]
options = ["--project", project]
with contextlib.redirect_stdout(io.StringIO()) as printed:
    app(["push", dual, "me/dual", "--license", "apache-2.0", *options], standalone_mode=False)
    app(["push", vlm, "me/vlm", *options], standalone_mode=False)
commits = dict(line.split() for line in printed.getvalue().splitlines())
image = Image.linear_gradient("L")
model = DualEncoder.from_pretrained("me/dual", revision=commits["me/dual"])
found = [commits, model.encode_text(["a dog"]).tolist(), model.encode_image([image]).tolist()]
model = VisionLanguageModel.from_pretrained("me/vlm", revision=commits["me/vlm"])
found.append(model.answer([image], ["how many dogs are there?"]))
found.append(model.push_to_hub("me/again"))
try:
    DualEncoder.from_pretrained("me/dual", revision="0" * 40)
except HubError as error:
    found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.slow  # starts a server and a second process
def test_a_model_is_published_and_loads_by_its_commit(
    hub: StandIn,
    dual_folder: Path,
    dual: DualEncoder,
    vlm_folder: Path,
    tmp_path: Path,
) -> None:
    from PIL import Image

    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_stand_in",
    }
    (tmp_path / "project").mkdir()
    folders = [dual_folder, vlm_folder, project(tmp_path / "project", dual_folder)]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    printed, texts, images, answers, commit, refused = json.loads(run.stdout)
    # the same weights on the same machine, in a different process
    image = Image.linear_gradient("L")
    assert texts[0] == pytest.approx(dual.encode_text(["a dog"]).tolist()[0], abs=1e-6)
    assert images[0] == pytest.approx(dual.encode_image([image]).tolist()[0], abs=1e-6)
    model = VisionLanguageModel.from_pretrained(vlm_folder)
    assert answers == model.answer([image], ["how many dogs are there?"])
    assert commit in hub.repositories["me/again"]
    assert refused.startswith("can't download me/dual at 000")
    assert "\n" not in refused
    files = hub.repositories["me/dual"][printed["me/dual"]]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert files["model.safetensors"] == (dual_folder / "model.safetensors").read_bytes()
    check_card(files["README.md"].decode())
    assert "No figures" in hub.repositories["me/vlm"][printed["me/vlm"]]["README.md"].decode()


def check_card(card: str) -> None:
    from huggingface_hub import ModelCard

    data = ModelCard(card).data
    assert (data.license, data.pipeline_tag) == ("apache-2.0", "image-feature-extraction")
    assert 'DualEncoder.from_pretrained("me/dual", revision="COMMIT")' in card
    assert "| `val_vendor` | image to text | 51.9 (45.0 to 58.0) | 51.9 |" in card
    assert "Training data `pixmo_sample`: emoji of six vendors" in card
    assert "| `models/align` | `" in card
    assert '"matryoshka_dims"' in card
    assert "seed: 0" in card


@pytest.mark.parametrize("revision", [None, "main", "abc"])
def test_a_hub_id_without_a_commit_is_refused(revision: str | None) -> None:
    for load in (DualEncoder.from_pretrained, VisionLanguageModel.from_pretrained):
        with pytest.raises(CheckpointError, match="give its commit of 40 hexadecimal digits"):
            load("owner/name", revision=revision)
    with pytest.raises(CheckpointError, match="run the stage that writes it"):
        DualEncoder.from_pretrained("/nowhere/at/all")
