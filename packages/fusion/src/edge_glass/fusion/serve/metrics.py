"""Counters of the server in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """Counters of one server; each has its own registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU time and open files
        self.requests = Counter(
            "edge_glass_requests",
            "Requests by route and status",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "edge_glass_request_seconds",
            "Time from a request to the end of its response",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "edge_glass_tokens", "Tokens read and generated", ("kind",), registry=self.registry
        )
        self.waiting = Gauge(
            "edge_glass_queue", "Requests that wait or run now", registry=self.registry
        )

    def count(self, route: str, status: str, seconds: float) -> None:
        """Counts one request when its response has ended."""
        self.requests.labels(route, status).inc()
        self.seconds.labels(route).observe(seconds)

    def count_tokens(self, prompt: int, completion: int = 0) -> None:
        """Counts tokens that were read and generated."""
        self.tokens.labels("prompt").inc(prompt)
        self.tokens.labels("completion").inc(completion)

    def text(self) -> bytes:
        """Returns all values in Prometheus's text format."""
        content: bytes = generate_latest(self.registry)
        return content
