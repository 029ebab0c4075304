"""The state of a running stage: what a restart needs to write the same bytes.

Order and noise are functions of (seed, step), so a state holds model, optimizer, averages, step,
and the curves and the certificate so far, but no state of a random generator.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edge_glass.encoders.checkpoint import load_checkpoint, save_checkpoint
from edge_glass.training.engine.processes import Processes
from edge_glass.training.folders import STATE
from edge_glass.training.loop.certificate import Chain
from edge_glass.training.runtime.progress import say


@dataclass
class RunState:
    """What changes while a stage trains.

    Attributes:
        step: optimizer steps done.
        history: one record per logged step.
        notes: numbers that a stage needs again after a restart, such as its best score.
        chain: the certificate so far.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    chain: Chain = field(default_factory=Chain)


class StateFile:
    """Saves and restores a stage's state under `artifacts/state/STAGE/`.

    Args:
        fingerprint: of configuration, code and data. A state with a different fingerprint is not
            resumed.
        launch: how the processes work together and in which dtype. A state of a different launch
            is an error: it may be days of several GPUs, which the next save would replace.
    """

    def __init__(self, stage: str, fingerprint: str, launch: str = "") -> None:
        self.stage = stage
        self.folder = STATE / stage
        self.fingerprint, self.launch = fingerprint, launch

    def save(
        self,
        state: RunState,
        tensors: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        """Writes a state atomically: if the process is killed, the previous state remains whole.

        `optimizer` is None if its state is kept elsewhere.
        """
        config = {
            "fingerprint": self.fingerprint,
            "launch": self.launch,
            "step": state.step,
            "history": json.dumps(state.history),
            "notes": json.dumps(state.notes),
            "chain": json.dumps(dataclasses.asdict(state.chain)),
        }
        everything = {f"tensor.{name}": value for name, value in tensors.items()}
        moments = {} if optimizer is None else optimizer.state_dict()["state"]
        for index, values in moments.items():
            for name, value in values.items():
                everything[f"optimizer.{index}.{name}"] = value
        save_checkpoint(self.folder, config, everything)

    def restore(
        self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer | None
    ) -> RunState:
        """Fills `tensors` and `optimizer` in place and returns the state to continue from.

        Returns a fresh `RunState` if no state is saved, or if it belongs to a different
        configuration, code or data. The latter is printed.

        Raises:
            ValueError: if the state belongs to a different launch or model.
        """
        if not (self.folder / "model.safetensors").is_file():
            return RunState()
        config, saved = load_checkpoint(self.folder)
        if config.get("launch", self.launch) != self.launch:
            raise ValueError(
                f"{self.folder}: the saved state of step {config['step']} is of launch "
                f"{config['launch']}, and this run is of launch {self.launch}: set launch, its "
                "number of processes and the decoder as they were to go on, or delete the folder "
                "to start from step 0"
            )
        if config["fingerprint"] != self.fingerprint:
            say(
                f"{self.stage}: the saved state belongs to a different configuration, code or "
                f"data: starting from step 0; to go on from step {config['step']}, stop now and "
                "restore what has changed"
            )
            return RunState()
        expected = {f"tensor.{name}" for name in tensors}
        found = {name for name in saved if name.startswith("tensor.")}
        if expected != found:
            raise ValueError(
                f"{self.folder}: the state's tensors differ from the model's "
                f"({sorted(expected ^ found)[:5]} ...): delete the folder to start from step 0"
            )
        with torch.no_grad():
            for name, value in tensors.items():
                value.copy_(saved[f"tensor.{name}"])
        if optimizer is not None:
            states: dict[int, dict[str, Any]] = {}
            for name, value in saved.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".")
                    states.setdefault(int(index), {})[key] = value
            description = optimizer.state_dict()
            optimizer.load_state_dict({**description, "state": states})
        say(f"{self.stage}: going on from step {config['step']}")
        return RunState(
            step=config["step"],
            history=json.loads(config["history"]),
            notes=json.loads(config["notes"]),
            chain=Chain(**json.loads(config["chain"])),
        )

    def continues(self) -> bool:
        """Returns whether a state is saved that `restore` would take, or refuse by an error."""
        if not (self.folder / "model.safetensors").is_file():
            return False
        return bool(load_checkpoint(self.folder)[0]["fingerprint"] == self.fingerprint)

    def clear(self) -> None:
        """Removes the state; call it when the stage's outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


class StateSaver:
    """Saves and restores the state of a run whose optimizer is whole in every process.

    Args:
        processes: only the main one writes.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, optimizer: torch.optim.Optimizer, processes: Processes) -> None:
        self.optimizer, self.processes = optimizer, processes

    def save(
        self,
        file: StateFile,
        state: RunState,
        weights: Mapping[str, Tensor],
        others: Mapping[str, Tensor],
    ) -> None:
        """Saves what a restart needs: trained weights, other tensors, the optimizer's state."""
        if self.processes.main:
            file.save(state, {**weights, **others}, self.optimizer)

    def restore(
        self, file: StateFile, weights: Mapping[str, Tensor], others: Mapping[str, Tensor]
    ) -> RunState:
        """Fills in place what `save` saved, and returns the state to continue from."""
        return file.restore({**weights, **others}, self.optimizer)
