"""What each route needs: the models, the limits, the worker and the counters."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_glass.fusion.serve.limits import Limits
from edge_glass.fusion.serve.metrics import Metrics
from edge_glass.fusion.serve.served import Served
from edge_glass.fusion.serve.worker import Worker


@dataclass(frozen=True, kw_only=True)
class Context:
    """What each route needs.

    Attributes:
        served: the models and the index.
        limits: of requests.
        worker: runs everything that touches images and models.
        metrics: counters for /metrics.
        allow_remote: whether image_url may be a public URL.
    """

    served: Served
    limits: Limits
    worker: Worker
    metrics: Metrics = field(default_factory=Metrics)
    allow_remote: bool = False
