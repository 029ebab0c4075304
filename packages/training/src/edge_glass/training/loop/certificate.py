"""The proof of a training run: a chain of hashes over what each step saw and made.

A link hashes the link before it, the samples of its step, and the bits of the loss and of the
gradient's norm; every so many steps it also hashes the bits of the trained weights. Equal last
links mean equal runs. If two runs differ, the first link that differs names the step.

`chain.json` is an output of the stage, so `dvc.lock` has its hash. `certificate.json` adds what
differs between machines; it is under `logs/STAGE` and not an output.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_glass.encoders.files import write_json
from edge_glass.training.engine.processes import Processes
from edge_glass.training.folders import LOGS
from edge_glass.training.loop.environment import describe_environment

CHAIN = "chain.json"  # the hash chain, among the outputs of the stage
CERTIFICATE = "certificate.json"  # the chain with facts about the machine, in `LOGS / stage`
SHORT = 8  # hexadecimal digits of a step's link that are kept: enough to find the first difference


@dataclass
class Chain:
    """The links so far, part of a run's state.

    Attributes:
        head: the last link, 64 hexadecimal digits.
        steps: the first digits of each step's link.
        weights: step to whole link, for the steps at which the weights were hashed as well.
        starts: one entry per start of the run: the steps done before, and the environment.
    """

    head: str = ""
    steps: list[str] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    starts: list[dict[str, Any]] = field(default_factory=list)


class Certificate:
    """Extends the hash chain while a stage trains.

    Args:
        stage: its name.
        chain: of the run's state; grows with each step.
        trained: the weights, by name. The first link hashes their initial values.
        processes: only the main one extends the chain and writes.
        every: weights are hashed every so many steps.
        seed: of the run.
        level: what tests prove for this configuration, see `proven_level`.
    """

    def __init__(
        self,
        stage: str,
        chain: Chain,
        trained: Mapping[str, Tensor],
        processes: Processes,
        *,
        every: int,
        seed: int,
        level: str,
    ) -> None:
        self.stage, self.chain, self.trained, self.every = stage, chain, trained, every
        self.seed, self.level, self.main = seed, level, processes.main
        if not self.main:
            return
        if not chain.head:
            link = hashlib.sha256(f"{stage} {seed}\n".encode())
            self._add_weights(link)
            chain.head = link.hexdigest()
        environment = describe_environment(processes.size)
        chain.starts.append({"after_step": len(chain.steps), **environment})

    def add(self, batch: Iterable[int], loss: float, norm: Tensor) -> None:
        """Adds the link of the step that was just taken.

        Args:
            batch: numbers of its samples, in order.
            loss: of the whole batch; the link hashes its bits as float32.
            norm: () of the whole gradient, before clipping.
        """
        if not self.main:
            return
        samples = list(batch)
        link = hashlib.sha256(bytes.fromhex(self.chain.head))
        link.update(struct.pack(f"<{len(samples)}q", *samples))
        link.update(struct.pack("<ff", loss, norm.item()))
        hashed = (len(self.chain.steps) + 1) % self.every == 0
        if hashed:
            self._add_weights(link)
        self.chain.head = link.hexdigest()
        self.chain.steps.append(self.chain.head[:SHORT])
        if hashed:
            self.chain.weights[str(len(self.chain.steps))] = self.chain.head

    def write(self, outputs: Path) -> None:
        """Writes `chain.json` into `outputs`, and the whole certificate under `logs/STAGE`."""
        if not self.main:
            return
        chain = {
            "stage": self.stage,
            "seed": self.seed,
            "level": self.level,
            "weights_hashed_every": self.every,
            "head": self.chain.head,
            "weights": self.chain.weights,
            "steps": " ".join(self.chain.steps),
        }
        write_json(outputs / CHAIN, chain)
        write_json(LOGS / self.stage / CERTIFICATE, {**chain, "starts": self.chain.starts})

    def _add_weights(self, link: Any) -> None:
        for name in sorted(self.trained):
            value = self.trained[name].detach().cpu().contiguous()
            link.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            link.update(value.reshape(-1).view(torch.uint8).numpy())
