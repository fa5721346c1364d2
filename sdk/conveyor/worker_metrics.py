"""Metrics of a worker in Prometheus' text format."""

from __future__ import annotations

from conveyor.observation import Outcome

try:
    from prometheus_client import CollectorRegistry, Gauge, Histogram, start_http_server
except ModuleNotFoundError as absent:
    raise ModuleNotFoundError(
        "metrics need prometheus-client: pip install 'conveyor-sdk[metrics]'",
        name="prometheus_client",
    ) from absent

_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class WorkerMetrics:
    """An `Observer`; labels are service, operation and outcome, never ids."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._runs = Histogram(
            "conveyor_worker_handler_seconds",
            "Runs of handlers, by outcome: performed, failed, unknown",
            ("service", "operation", "outcome"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "conveyor_worker_requests_in_flight",
            "Requests taken that have no reply yet",
            registry=self.registry,
        )

    def serve(self, host: str, port: int) -> None:
        """At /metrics, from a thread of its own. Raises OSError."""
        start_http_server(port, host, self.registry)

    def requests_taken(self, count: int) -> None:
        self._in_flight.inc(count)

    def requests_finished(self, count: int) -> None:
        self._in_flight.dec(count)

    def handler_ran(self, service: str, operation: str, outcome: Outcome, seconds: float) -> None:
        self._runs.labels(service, operation, outcome).observe(seconds)
