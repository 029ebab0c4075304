"""DeepSpeed ZeRO-2 through accelerate: each process owns a part of the optimizer's state.

Every process keeps all weights and works on its own microbatches. DeepSpeed clips and takes the
step within the backward pass of the last microbatch, then sends the new weights to all processes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edge_glass.encoders.components import Component
from edge_glass.encoders.files import sha256_of
from edge_glass.training.engine.processes import Processes
from edge_glass.training.loop.state import RunState, StateFile
from edge_glass.training.vlm_qa.launch import DdpLaunch

if TYPE_CHECKING:
    from accelerate.utils import DeepSpeedPlugin

CPU_BUCKET = 1_000_000  # elements; DeepSpeed's default is 500 times as large: a second per step
BUCKETS = ("reduce_bucket_size", "allgather_bucket_size")


def deepspeed_plugin(
    file: str,
    processes: Processes,
    *,
    microbatch_size: int,
    microbatches_each: int,
    max_grad_norm: float,
) -> DeepSpeedPlugin:
    """Reads DeepSpeed's file and fills in the values that params.yaml decides."""
    if not torch.distributed.is_initialized():
        raise ValueError(
            "launch deepspeed_zero2 needs two processes or more, found one: set num_processes in "
            "launches.deepspeed_zero2, or start them by torchrun --no-python"
        )
    on_cpu = processes.device.type == "cpu"
    if on_cpu and torch.cuda.is_available():
        raise ValueError(
            "device is cpu, but DeepSpeed uses any GPU that it finds: set device: cuda, or hide "
            "the GPU by CUDA_VISIBLE_DEVICES="
        )
    try:
        config = json.loads(Path(file).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"launches.deepspeed_zero2.config: {file}: {error}") from None
    stage = config.get("zero_optimization", {}).get("stage")
    if stage not in (1, 2):
        raise ValueError(
            f"{file}: zero_optimization.stage is {stage!r}, expected 1 or 2, because vlm_qa saves "
            "and validates whole weights: change it"
        )
    config["train_micro_batch_size_per_gpu"] = microbatch_size
    config["gradient_accumulation_steps"] = microbatches_each
    config["train_batch_size"] = microbatch_size * microbatches_each * processes.size
    config["gradient_clipping"] = max_grad_norm
    if on_cpu:
        config["zero_optimization"].update(dict.fromkeys(BUCKETS, CPU_BUCKET))

    from accelerate.utils import DeepSpeedPlugin

    return DeepSpeedPlugin(hf_ds_config=config)


class DeepSpeedLaunch(DdpLaunch):
    """ZeRO-2: this process has only its own part of the optimizer's state."""

    def prepare(self, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Makes module and optimizer ready, and checks that accelerate really uses DeepSpeed."""
        from accelerate.utils import DistributedType

        found = self.accelerator.distributed_type
        if found is not DistributedType.DEEPSPEED:
            raise RuntimeError(
                f"launch deepspeed_zero2: accelerate chose {found}, expected DEEPSPEED: start the "
                "processes by torchrun"
            )
        super().prepare(objective, optimizer)

    def mark(self, choice: Component) -> str:
        return f"{super().mark(choice)}, config {sha256_of(Path(choice.config.config))[:12]}"

    def step(self, max_grad_norm: float, where: str) -> Tensor:
        del max_grad_norm  # it is in DeepSpeed's configuration
        norm = torch.as_tensor(self.accelerator.clip_grad_norm_([], 0.0))
        if not torch.isfinite(norm):
            raise ValueError(
                f"{where}: the gradient's norm is {norm.item()}, expected a finite number: lower "
                "learning_rate, or check the data of this step; the last saved state is older"
            )
        return norm

    def save(
        self,
        file: StateFile,
        state: RunState,
        weights: Mapping[str, Tensor],
        others: Mapping[str, Tensor],
    ) -> None:
        """Saves the parts first, then the file that names them, so a kill leaves a whole state.

        The parts are DeepSpeed's own files. All processes must see the same folder.
        """
        del weights  # they are in the parts
        parts = self._parts(file, state.step)
        if self.processes.main:
            shutil.rmtree(parts, ignore_errors=True)
        self.processes.wait()
        self.accelerator.save_state(str(parts), exclude_frozen_parameters=True)
        self.processes.wait()
        if self.processes.main:
            file.save(state, others, None)
            for old in file.folder.glob("parts-*"):
                if old != parts:
                    shutil.rmtree(old)

    def restore(
        self, file: StateFile, weights: Mapping[str, Tensor], others: Mapping[str, Tensor]
    ) -> RunState:
        del weights  # they are in the parts
        state = file.restore(others, None)
        if state.step:
            self.accelerator.load_state(
                str(self._parts(file, state.step)), custom_load_fn=self._load_trained
            )
        return state

    @staticmethod
    def _parts(file: StateFile, step: int) -> Path:
        return file.folder / f"parts-{step}"

    @staticmethod
    def _load_trained(src: Mapping[str, Tensor], dst: nn.Module) -> None:
        """Copies trained weights and buffers; frozen weights are not saved and remain as built."""
        own = {name: value for name, value in dst.named_parameters() if value.requires_grad}
        own.update({name: value for name, value in dst.state_dict().items() if name in src})
        missing = sorted(set(own) ^ set(src))
        if missing:
            raise ValueError(
                f"the saved parts do not fit the model ({missing[:5]}): delete artifacts/state/ to "
                "start from step 0"
            )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(src[name])
