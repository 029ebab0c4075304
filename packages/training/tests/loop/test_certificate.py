"""The chain of hashes: what it depends on, what it does not, and where two of them part."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_glass.training.compare.divergence import describe, environment_differences
from edge_glass.training.engine.processes import Processes
from edge_glass.training.loop.certificate import Certificate, Chain


def weights() -> dict[str, Tensor]:
    return {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(1.5, dtype=torch.bfloat16)}


def forge(
    folder: Path, steps: int = 6, *, change: int | None = None, of: str = "loss", every: int = 3
) -> Chain:
    """Trains for some steps in `folder`; at step `change` one thing is another."""
    chain, trained = Chain(), weights()
    certificate = Certificate(
        "align",
        chain,
        trained,
        Processes(),
        every=every,
        seed=7,
        level="R0",
    )
    for step in range(1, steps + 1):
        other = step == change
        trained["b"] += 0.5
        if other and of == "weights":
            trained["b"][1, 2] += 1.0
        certificate.add(
            [step, step + 1] if not (other and of == "samples") else [step + 1, step],
            1 / step + (1e-6 if other and of == "loss" else 0.0),
            torch.tensor(2.0 + (1e-6 if other and of == "norm" else 0.0)),
        )
    certificate.write(folder / "models/align")
    return chain


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_links_are_hashes_of_the_links_before() -> None:
    chain = forge(Path(), 3)
    trained = weights()

    def bits() -> bytes:
        a = b"a torch.bfloat16 ()\n" + trained["a"].view(torch.int16).numpy().tobytes()
        return a + b"b torch.float32 (2, 3)\n" + trained["b"].numpy().tobytes()

    link = hashlib.sha256(b"align 7\n" + bits()).digest()
    for step in (1, 2, 3):
        trained["b"] += 0.5
        seen = struct.pack("<qqff", step, step + 1, 1 / step, 2.0)
        link = hashlib.sha256(link + seen + (bits() if step == 3 else b"")).digest()
        assert chain.steps[step - 1] == link.hex()[:8]
    assert chain.head == link.hex() == chain.weights["3"]


def test_what_is_written_repeats_and_the_machine_stands_beside_it(tmp_path: Path) -> None:
    forge(tmp_path / "one")
    forge(tmp_path / "two")
    one, two = (
        (tmp_path / name / "models/align/chain.json").read_bytes() for name in ("one", "two")
    )
    assert one == two
    whole = json.loads((tmp_path / "logs/align/certificate.json").read_text())
    (start,) = whole.pop("starts")
    assert whole == json.loads(one)
    assert start["after_step"] == 0
    assert start["threads"] == torch.get_num_threads()
    assert start["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"cpu", "gpus", "python", "variables", "processes"} <= start.keys()


@pytest.mark.parametrize("of", ["samples", "loss", "norm"])
def test_the_first_step_that_differs_is_named(tmp_path: Path, of: str) -> None:
    forge(tmp_path / "one")
    forge(tmp_path / "two", change=5, of=of)
    first, *_ = describe(tmp_path / "one", tmp_path / "two", ["models/align"])
    assert first == (
        "first at step 5 of the chain: samples, loss, gradient; weights are known to be equal "
        "after step 3"
    )


def test_other_weights_are_seen_where_they_are_hashed(tmp_path: Path) -> None:
    forge(tmp_path / "one")
    forge(tmp_path / "two", change=2, of="weights")
    first, *_ = describe(tmp_path / "one", tmp_path / "two", ["models/align"])
    assert first == "first at step 3 of the chain: samples, loss, gradient or weights"


def test_a_shorter_run_is_named(tmp_path: Path) -> None:
    forge(tmp_path / "one")
    forge(tmp_path / "two", 4)
    first, *_ = describe(tmp_path / "one", tmp_path / "two", ["models/align"])
    assert first == "one run ends after step 4, the other continues"


def test_environments_are_compared_start_by_start(tmp_path: Path) -> None:
    for name, threads, starts in (("one", 1, 1), ("two", 2, 2)):
        path = tmp_path / name / "logs/align/certificate.json"
        path.parent.mkdir(parents=True)
        start = {"after_step": 0, "threads": threads, "versions": {"torch": "2"}}
        path.write_text(json.dumps({"starts": [start] * starts}))
    assert environment_differences(tmp_path / "one", tmp_path / "two", "align") == [
        "environment: threads: 1 and 2",
        f"environment: {tmp_path / 'two'} was resumed after step 0",
    ]
    assert environment_differences(tmp_path / "one", tmp_path / "none", "align") == []


def test_only_the_main_process_forges(tmp_path: Path) -> None:
    chain = Chain()
    other = Certificate(
        "align", chain, weights(), Processes(rank=1, size=2), every=1, seed=0, level=""
    )
    other.add([1], 1.0, torch.tensor(1.0))
    other.write(tmp_path / "models")
    assert chain == Chain()
    assert not (tmp_path / "models").exists()
