"""How the processes of stage `vlm_qa` are started and work together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """How the processes of `vlm_qa` are started.

    Attributes:
        num_processes: the command starts so many on this machine. It is ignored if `torchrun` has
            started the command, for example on several machines.
    """

    num_processes: int = 1

    def __post_init__(self) -> None:
        if self.num_processes < 1:
            raise ValueError(f"num_processes is {self.num_processes}, expected 1 or more: raise it")


@dataclass(frozen=True, kw_only=True)
class DeepSpeedLaunchConfig(LaunchConfig):
    """Processes that use DeepSpeed.

    Attributes:
        config: DeepSpeed's JSON file. Its batch sizes and clipping are filled in from `vlm_qa`.
    """

    config: str


LAUNCH_CONFIGS: dict[str, type[LaunchConfig]] = {
    "tree": LaunchConfig,
    "ddp": LaunchConfig,
    "deepspeed_zero2": DeepSpeedLaunchConfig,
}
