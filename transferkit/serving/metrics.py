"""Metrics in the format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one app, in a registry that no other app shares."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry: CollectorRegistry = registry
        model = ("model", "operation")
        self.requests: Counter = Counter("transferkit_requests", "Requests.", ("route", "status"), registry=registry)
        self.seconds: Histogram = Histogram(
            "transferkit_request_seconds", "Duration.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.received: Counter = Counter("transferkit_received_bytes", "Bytes of bodies.", registry=registry)
        self.images: Counter = Counter("transferkit_images", "Images that were run.", model, registry=registry)
        self.unreadable: Counter = Counter(
            "transferkit_unreadable_images", "Images that cannot be read.", model, registry=registry
        )
        self.batch_size: Histogram = Histogram(
            "transferkit_batch_size", "Images of a batch.", model, buckets=_SIZES, registry=registry
        )
        self.batch_seconds: Histogram = Histogram(
            "transferkit_batch_seconds", "Duration of a batch.", model, buckets=_SECONDS, registry=registry
        )
        self.queue: Gauge = Gauge("transferkit_queue_length", "Images that wait.", model, registry=registry)
        self.in_progress: Gauge = Gauge("transferkit_requests_in_progress", "Requests in progress.", registry=registry)
        self.buffered: Gauge = Gauge("transferkit_buffered_bytes", "Bytes of the bodies in memory.", registry=registry)
        self.reloads: Counter = Counter(
            "transferkit_reloads", "Loads of a changed folder.", ("model", "result"), registry=registry
        )

    def observe_batch(self, model: str, operation: str, size: int, seconds: float) -> None:
        """Record a batch."""
        self.images.labels(model, operation).inc(size)
        self.batch_size.labels(model, operation).observe(size)
        self.batch_seconds.labels(model, operation).observe(seconds)

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Record a request; `route` is the pattern of the path, so that there are few."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def to_text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self.registry)
