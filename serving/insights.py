"""Today in numbers, for the supervisor's page: read from the decision log as it grows, and from the metrics.

Each segment of the log is counted once, live or rolled, and only what is new of it is read again. Guarantees are
checked a second time by `nba.audit` for as many decisions as fit, newest first; the report says how many those were.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families

from nba.audit import violations
from nba.candidates import Withheld
from nba.clock import HOUR_MS, day_of, format_at
from nba.config import Config
from nba.decide import Decider, Decision, Suggestion
from nba.domain import KINDS, OUTCOMES, STRENGTH
from nba.errors import NbaError
from serving.journal import Folders
from serving.metrics import Metrics
from serving.record import customer_of, past_of, request_of
from serving.segment import parse_line, segment_name, segments

_FRESH_S = 1.5
_CHECKED_A_REPORT = 200
_WAITING = 5_000
_EXAMPLES = 5


@dataclass
class _Tally:
    """What one segment of the log says of today."""

    read_to: int = 0
    decisions: int = 0
    nothing: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    degraded: int = 0
    without: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    hours: Counter[int] = field(default_factory=Counter)
    arms: dict[str, tuple[str, str]] = field(default_factory=dict)
    first_arms: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, record: dict[str, Any]) -> None:
        """Count one decision."""
        answer = record["answer"]
        self.decisions += 1
        self.nothing += not answer["suggestions"]
        self.sources[answer["source"]] += 1
        self.degraded += bool(answer["degraded"])
        self.without.update(answer["degraded"])
        self.kinds.update(s["kind"] for s in answer["suggestions"])
        self.channels[record["request"]["channel"]] += 1
        self.hours[record["at_ms"] // HOUR_MS % 24] += 1
        if record.get("experiment"):
            arm = (record["experiment"], record["arm"])
            self.arms[record["decision_id"]] = arm
            self.first_arms[arm] += 1


class Insights:
    """The numbers of one day, kept while the page is open somewhere. For several threads."""

    def __init__(self, state_dir: Path) -> None:
        self._folders = Folders(state_dir)
        self._lock = threading.Lock()
        self._made_s, self._made = -_FRESH_S, dict[str, Any]()
        self._auditor: _Auditor | None = None
        self._begin("")

    def _begin(self, day: str) -> None:
        self._day = day
        self._tallies: dict[str, _Tally] = {}
        self._rolled: set[str] = set()
        self._parts: dict[Path, float] = {}
        self._read: dict[str, int] = {}
        self._outcomes: dict[tuple[str, str], tuple[str, str]] = {}

    def report(self, config: Config, metrics: Metrics, model: str | None, now_ms: int) -> dict[str, Any]:
        """The numbers as they are now, at most 1.5 s old. Reads files: not for the event loop."""
        with self._lock:
            if time.monotonic() - self._made_s >= _FRESH_S:
                self._update(config, now_ms)
                self._made = self._written(config, metrics, model, now_ms)
                self._made_s = time.monotonic()
            return self._made

    def _update(self, config: Config, now_ms: int) -> None:
        if day_of(now_ms) != self._day:
            self._begin(day_of(now_ms))
        if self._auditor is None or self._auditor.config.fingerprint != config.fingerprint:
            self._auditor = _Auditor(config)
        for path in segments(self._folders.live, "d"):
            self._read_live(path)
        for path in self._folders.parts("records", self._day):
            self._read_rolled(path)
        for path in segments(self._folders.live, "o"):
            self._take(row for row in self._new_lines(path, self._read) if "decision_id" in row)
        for path in self._folders.parts("outcomes", self._day):
            self._read_outcomes(path)
        self._auditor.work(_CHECKED_A_REPORT)

    def _read_live(self, path: Path) -> None:
        name = segment_name(path)
        tally = self._tallies.setdefault(name, _Tally())
        offsets = {path.name: tally.read_to}
        for record in self._new_lines(path, offsets):
            self._count(tally, record)
        tally.read_to = offsets[path.name]

    def _count(self, tally: _Tally, record: dict[str, Any]) -> None:
        if record.get("backtest") or day_of(record["made_ms"]) != self._day:
            return
        tally.add(record)
        if self._auditor is not None:
            self._auditor.see(record)

    def _read_rolled(self, path: Path) -> None:
        """A part is read where its segment was not counted to its end while it lived."""
        name = path.stem.removeprefix("part-")
        if name in self._rolled:
            return
        self._rolled.add(name)
        import pyarrow.parquet as pq

        file = pq.ParquetFile(path)
        seen = self._tallies.get(name)
        if seen is not None and seen.decisions == file.metadata.num_rows:
            return
        tally = self._tallies[name] = _Tally()
        for batch in file.iter_batches(batch_size=256, columns=["record"]):
            for text in batch.column(0).to_pylist():
                self._count(tally, orjson.loads(text))

    def _read_outcomes(self, path: Path) -> None:
        changed = path.stat().st_mtime
        if self._parts.get(path) == changed:
            return
        self._parts[path] = changed
        import pyarrow.parquet as pq

        columns = ["decision_id", "offer_id", "outcome", "channel"]
        self._take(pq.ParquetFile(path).read(columns=columns).to_pylist())

    def _take(self, rows: Iterable[dict[str, Any]]) -> None:
        day = self._day.replace("-", "")
        for row in rows:
            if not row["decision_id"].startswith(day):
                continue
            pair = row["decision_id"], row["offer_id"]
            before = self._outcomes.get(pair)
            if before is None or STRENGTH.index(row["outcome"]) < STRENGTH.index(before[0]):
                self._outcomes[pair] = row["outcome"], row["channel"]

    @staticmethod
    def _new_lines(path: Path, offsets: dict[str, int]) -> Iterator[dict[str, Any]]:
        """The whole lines that were added since the last time."""
        offset = offsets.get(path.name, 0)
        try:
            with path.open("rb") as handle:
                handle.seek(offset)
                for line in handle:
                    if not line.endswith(b"\n"):
                        break
                    offset += len(line)
                    document = parse_line(line)
                    if document:
                        yield document
        except FileNotFoundError:
            return
        finally:
            offsets[path.name] = offset

    def _written(self, config: Config, metrics: Metrics, model: str | None, now_ms: int) -> dict[str, Any]:
        all_of = _sum(self._tallies.values())
        audited = self._auditor
        return {
            "at": format_at(now_ms),
            "day": self._day,
            "model": model,
            "policy": config.fingerprint,
            "decisions": all_of.decisions,
            "nothing": all_of.nothing,
            "suggestions": sum(all_of.kinds.values()),
            "sources": all_of.sources,
            "degraded": {"decisions": all_of.degraded, "without": all_of.without},
            "hours": [all_of.hours[hour] for hour in range(24)],
            "violations": audited.report() if audited else None,
            "latency": latency(metrics),
            "kinds": self._by_kind(config, all_of),
            "channels": self._by_channel(all_of),
            "experiments": self._by_arm(all_of),
        }

    def _by_kind(self, config: Config, all_of: _Tally) -> list[dict[str, Any]]:
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (_, offer_id), (outcome, _) in self._outcomes.items():
            offer = config.catalog.by_id.get(offer_id)
            found[offer.kind if offer else "unknown"][outcome] += 1
        kinds = [kind for kind in KINDS if all_of.kinds[kind] or found[kind]]
        return [{"kind": kind, "suggested": all_of.kinds[kind], **_outcomes(found[kind])} for kind in kinds]

    def _by_channel(self, all_of: _Tally) -> list[dict[str, Any]]:
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for outcome, channel in self._outcomes.values():
            found[channel][outcome] += 1
        return [{"channel": c, "decisions": n, **_outcomes(found[c])} for c, n in all_of.channels.most_common()]

    def _by_arm(self, all_of: _Tally) -> list[dict[str, Any]]:
        found: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for (decision_id, _), (outcome, _) in self._outcomes.items():
            arm = all_of.arms.get(decision_id)
            if arm is not None:
                found[arm][outcome] += 1
        return [
            {"experiment": arm[0], "arm": arm[1], "decisions": count, **_outcomes(found[arm])}
            for arm, count in sorted(all_of.first_arms.items())
        ]


def _sum(tallies: Iterable[_Tally]) -> _Tally:
    whole = _Tally()
    for tally in tallies:
        whole.decisions += tally.decisions
        whole.nothing += tally.nothing
        whole.degraded += tally.degraded
        for name in ("sources", "without", "kinds", "channels", "hours", "arms", "first_arms"):
            getattr(whole, name).update(getattr(tally, name))
    return whole


def _outcomes(found: Counter[str]) -> dict[str, Any]:
    """Counts by outcome, and the share accepted of those that the customer answered."""
    answered = found["accepted"] + found["declined"] + found["later"]
    share = round(found["accepted"] / answered, 4) if answered else None
    return {**{name: found[name] for name in OUTCOMES}, "acceptance": share}


class _Auditor:
    """Checks decisions made with this config a second time; see nba.audit."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._decider = Decider(config)
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_WAITING)
        self._checked = self._found = self._skipped = 0
        self._examples: list[dict[str, Any]] = []

    def see(self, record: dict[str, Any]) -> None:
        """Remember a decision for checking; one of another config or of an arm of an experiment is not held to this one."""
        if record["policy"] == self.config.fingerprint and not record.get("experiment"):
            self._waiting.append(record)
        else:
            self._skipped += 1

    def work(self, most: int) -> None:
        """Check so many, newest first."""
        for _ in range(min(most, len(self._waiting))):
            record = self._waiting.pop()
            broken = self._broken(record)
            self._checked += 1
            self._found += bool(broken)
            if broken and len(self._examples) < _EXAMPLES:
                self._examples.append({"decision_id": record["decision_id"], "broken": broken})

    def _broken(self, record: dict[str, Any]) -> list[str]:
        try:
            case = self._decider.case(customer_of(record, self.config), request_of(record))
            return violations(self.config, self._decider.rules, case, decision_of(record))
        except (NbaError, KeyError, TypeError, StopIteration) as error:
            return [f"record: cannot be checked ({type(error).__name__})"]

    def report(self) -> dict[str, Any]:
        """How many were checked, and how many broke something."""
        return {
            "checked": self._checked, "waiting": len(self._waiting), "skipped": self._skipped,
            "found": self._found, "examples": self._examples,
        }  # fmt: skip


def decision_of(record: dict[str, Any]) -> Decision:
    """The decision as it was answered, for checking it."""
    answer = record["answer"]
    named = (
        "rank",
        "offer_id",
        "kind",
        "title",
        "say",
        "accept_probability",
        "expected_value",
        "propensity",
        "explored",
    )
    suggestions = tuple(
        Suggestion(
            because=(),
            past=past_of(shown),
            **{name: s[name] for name in named},
            **{name: shown[name] for name in ("cost_month", "saving_month", "margin_delta_month", "covers")},
        )
        for s, shown in zip(answer["suggestions"], record["shown"], strict=True)
    )
    withheld = tuple(Withheld(*entry) for entry in record["withheld"])
    counts = answer["funnel"]
    return Decision(
        suggestions, withheld, counts["eligible"], counts["passed"], answer["nothing_because"], answer["source"],
        tuple(answer["degraded"]),
    )  # fmt: skip


def latency(metrics: Metrics) -> dict[str, float | int | None]:
    """Milliseconds of a whole decision since the service started, between the edges of the histogram's buckets."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    samples = (sample for family in families if family.name == "nba_stage_seconds" for sample in family.samples)
    whole = (s for s in samples if s.name.endswith("_bucket") and s.labels.get("stage") == "whole")
    counts = sorted((float(sample.labels["le"]), sample.value) for sample in whole)
    total = counts[-1][1] if counts else 0
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {"count": int(total), **{name: _quantile(counts, share * total) for name, share in shares.items()}}


def _quantile(counts: list[tuple[float, float]], wanted: float) -> float | None:
    """Milliseconds below which `wanted` of the observations lie, by a straight line inside the bucket."""
    below_s = before = 0.0
    for edge_s, count in counts:
        if count >= wanted > 0:
            inside = (wanted - before) / (count - before) if count > before else 0.0
            return round(1000 * (below_s + (min(edge_s, 10.0) - below_s) * inside), 3)
        below_s, before = edge_s, count
    return None
