"""How the processes of stage `vlm_qa` are started and work together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """How the processes of `vlm_qa` come about.

    Attributes:
        num_processes: that the command starts by itself on this machine. Under `torchrun` (several
            machines, say) it counts for nothing: the command joins what there is.
    """

    num_processes: int = 1

    def __post_init__(self) -> None:
        if self.num_processes < 1:
            raise ValueError(f"num_processes is {self.num_processes}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class DeepSpeedLaunchConfig(LaunchConfig):
    """DeepSpeed's file besides; sizes and clipping in it are filled in from `vlm_qa`."""

    config: str


LAUNCHES: dict[str, type[LaunchConfig]] = {
    "tree": LaunchConfig,
    "ddp": LaunchConfig,
    "deepspeed_zero2": DeepSpeedLaunchConfig,
}
