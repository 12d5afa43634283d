"""What Prometheus reads from `/metrics`: requests by route, and what was published and fetched.

Counts are those of one process. With several workers on one machine set PROMETHEUS_MULTIPROC_DIR to
an empty folder before they start, and each of them answers with the sum over all.
"""

import hmac
import os

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Scope

from registry.errors import NotAuthenticated
from web.deps import AppSettings, bearer

router = APIRouter(include_in_schema=False)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Seconds. Most answers take milliseconds; a push of a large file takes as long as its bytes."""
PUSHES = ("/commit/", "/preupload/", ".git/info/lfs/", "/api/lfs/", "/tag/", "/versions")
"""What the route of a request that belongs to a push holds."""


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "hub_requests_total", "Requests answered.", "method", "route", "status"
        )
        self.seconds = Histogram(
            "hub_request_seconds",
            "Time to the end of the answer.",
            ("method", "route"),
            registry=self.registry,
            buckets=BUCKETS,
        )
        self.events = {
            "publish": self._counter("hub_publishes_total", "Versions published."),
            "download": self._counter("hub_downloads_total", "Downloads counted."),
        }
        self.refused = self._counter("hub_refused_pushes_total", "Pushes refused.", "code")

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that was answered; its state says what came of it."""
        # By template: names of adapters are neither bounded in number nor everybody's to see.
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if route != "none" else "any"
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)
        if (event := self.events.get(scope["state"].get("event", ""))) is not None:
            event.inc()
        code = scope["state"].get("error_code")
        if code is not None and method in {"POST", "PUT"} and any(part in route for part in PUSHES):
            self.refused.labels(code).inc()

    def text(self) -> bytes:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return generate_latest(every)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, registry=self.registry)


@router.get("/metrics")
def get_metrics(request: Request, settings: AppSettings) -> Response:
    if settings.metrics_token is not None:
        wanted = settings.metrics_token.get_secret_value()
        if not hmac.compare_digest((bearer(request) or "").encode(), wanted.encode()):
            raise NotAuthenticated("the metrics need the token set by HUB_METRICS_TOKEN")
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
