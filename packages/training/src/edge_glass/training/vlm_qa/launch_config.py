"""How the processes of stage `vlm_qa` are started and work together."""

from __future__ import annotations

from dataclasses import dataclass

from edge_glass.encoders.limits import check_at_least, check_path


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """How the processes of `vlm_qa` are started.

    Attributes:
        num_processes: the command starts so many on this machine. It is ignored if `torchrun` has
            started the command, for example on several machines.
    """

    num_processes: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_processes")


@dataclass(frozen=True, kw_only=True)
class DeepSpeedLaunchConfig(LaunchConfig):
    """Processes that use DeepSpeed.

    Attributes:
        config: DeepSpeed's JSON file. Its batch sizes and clipping are filled in from `vlm_qa`.
    """

    config: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path(self, "config")


LAUNCH_CONFIGS: dict[str, type[LaunchConfig]] = {
    "tree": LaunchConfig,
    "ddp": LaunchConfig,
    "deepspeed_zero2": DeepSpeedLaunchConfig,
}
