"""What an operator sees: Prometheus metrics. No label carries anything about a person.

With several workers each writes to files of its own in PROMETHEUS_MULTIPROC_DIR and any of them answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import version as installed
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

_SERVING = "nba_serving_version"
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
STAGES = ("read", "score", "decide", "journal", "whole")
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.06, 0.1, 0.25, 0.5, 1, 5)
# What can be counted under a label. Each begins at 0: for Prometheus a series that is born with its first count has not risen.
_DAMAGED = ("activity", "profile", "contacts", "thread")
_RUNGS = ("features", *_DAMAGED, "activity_pending", "experiment", "model", "model_slow", "scores")
_AGES = (1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)


class Metrics:
    """Every metric of one process. Children of labels are looked up once, not at each request."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        of = self.registry
        requests = Counter("nba_requests", "HTTP requests by route and status", ["route", "status"], registry=of)
        seconds = Histogram(
            "nba_stage_seconds", "Time of a decision by stage", ["stage"], buckets=_SECONDS, registry=of
        )
        self._requests, self._route_status = requests, dict[tuple[str, int], Counter]()
        self.stage = {name: seconds.labels(name) for name in STAGES}
        self._request_seconds = Histogram(
            "nba_request_seconds", "Time of an HTTP request by route", ["route"], buckets=_SECONDS, registry=of
        )
        self._took: dict[str, Histogram] = {}
        self._decisions = Counter("nba_decisions", "Decisions by source", ["source"], registry=of)
        self._rungs = Counter(
            "nba_degraded", "Decisions that had to do without something, by what", ["what"], registry=of
        )
        self._damaged = Counter(
            "nba_damaged_values",
            "Values of customers found damaged or of a foreign type, by part",
            ["part"],
            registry=of,
        )
        self._offers = Counter("nba_suggestions", "Suggestions by offer and rank", ["offer", "rank"], registry=of)
        self._withheld = Counter("nba_withheld", "Offers withheld by stage", ["stage"], registry=of)
        self.nothing = Counter("nba_nothing_said", "Decisions without a suggestion", registry=of)
        self.explored = Counter("nba_explored", "Decisions whose first rank was explored", registry=of)
        self._outcomes = Counter("nba_outcomes", "Outcomes by kind", ["outcome"], registry=of)
        self._events = Counter("nba_activity", "Events by result", ["result"], registry=of)
        self.activity_age = Histogram(
            "nba_activity_age_seconds", "Age of the newest event at a decision", buckets=_AGES, registry=of
        )
        self.spooled = Gauge("nba_spool_bytes", "What Redis still has to get", multiprocess_mode="livesum", registry=of)
        self.streams = Gauge("nba_streams", "Open interaction streams", multiprocess_mode="livesum", registry=of)
        self.journal_bytes = Counter("nba_journal_bytes", "Bytes written to the decision log", registry=of)
        self.refusals = Counter(
            "nba_journal_refusals", "Requests refused because the disk did not take the log", registry=of
        )
        self.rolls = Counter("nba_rolls", "Rolls of the decision log by result", ["result"], registry=of)
        self.quarantined = Counter(
            "nba_quarantined_lines", "Lines of the decision log that no row could be made of, set aside", registry=of
        )
        self.reloads = Counter("nba_reloads", "Reloads by result", ["result"], registry=of)
        self._version = Gauge(
            _SERVING, "1 for what is served: model and policy", ["model", "policy"], multiprocess_mode="livemax",
            registry=of,
        )  # fmt: skip
        Gauge(
            "nba_build_info", "1 for the version of the engine", ["version"], multiprocess_mode="livemax", registry=of
        ).labels(installed("nba-engine")).set(1)
        self._children: dict[tuple[str, ...], Counter] = {}
        self._served: tuple[str, str] | None = None
        self._begin()

    def _begin(self) -> None:
        for counter, values in (
            (self._decisions, ("model", "fallback")),
            (self._rungs, _RUNGS),
            (self._damaged, _DAMAGED),
            (self._events, ("accepted", "rejected")),
            (self.rolls, ("done", "failed")),
            (self.reloads, ("done", "refused")),
        ):
            for value in values:
                counter.labels(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request and what it took. `route`: the template of the path, never the path."""
        child = self._route_status.get((route, status))
        if child is None:
            child = self._route_status[route, status] = self._requests.labels(route, str(status))
        child.inc()
        took = self._took.get(route)
        if took is None:
            took = self._took[route] = self._request_seconds.labels(route)
        took.observe(seconds)

    def decision(
        self, source: str, degraded: Iterable[str], offers: Iterable[tuple[str, int]], stages: Iterable[str]
    ) -> None:
        """Count one decision. `offers`: (offer id, rank) of what was suggested; `stages`: of what was withheld."""
        self._count(self._decisions, source)
        for what in degraded:
            self._count(self._rungs, what)
        for offer, rank in offers:
            self._count(self._offers, offer, str(rank))
        counts: dict[str, int] = {}
        for stage in stages:
            counts[stage] = counts.get(stage, 0) + 1
        for stage, count in counts.items():
            self._count(self._withheld, stage, by=count)

    def damaged(self, parts: Iterable[str]) -> None:
        """Count values that a read found and could not read whole: activity, profile, contacts or thread."""
        for part in parts:
            self._count(self._damaged, part)

    def outcome(self, outcome: str) -> None:
        """Count one outcome."""
        self._count(self._outcomes, outcome)

    def events(self, accepted: int, rejected: int) -> None:
        """Count a batch of events."""
        self._count(self._events, "accepted", by=accepted)
        self._count(self._events, "rejected", by=rejected)

    def version(self, model: str | None, policy: str) -> None:
        """Say what is served from now on."""
        before, self._served = self._served, (model or "none", policy)
        if before not in (None, self._served):
            # The files of several workers cannot forget a label: there exposition() leaves out what is zero.
            self._version.labels(*before).set(0)
            if _SHARED not in os.environ:
                self._version.remove(*before)
        self._version.labels(*self._served).set(1)

    def _count(self, counter: Counter, *labels: str, by: int = 1) -> None:
        key = (counter._name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = counter.labels(*labels)
        child.inc(by)

    def exposition(self) -> bytes:
        """The text that Prometheus reads, over all workers."""
        folder = os.environ.get(_SHARED)
        if folder is None:
            return generate_latest(self.registry)
        _forget_dead_workers(Path(folder))
        merged = CollectorRegistry()
        merged.register(_Living(None, folder))  # type: ignore[no-untyped-call]
        return generate_latest(merged)


class _Living(multiprocess.MultiProcessCollector):
    """All workers' metrics, without versions that are served no more."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():  # type: ignore[no-untyped-call]
            if metric.name == _SERVING:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


def _forget_dead_workers(folder: Path) -> None:
    """A worker that was killed has no open streams any more; what it counted stays counted."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        if not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
