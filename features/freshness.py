"""How fresh each feature is: the newest event that it stands on, for the unified view of a customer. Pure."""

from __future__ import annotations

from features.compute import moments, settle
from features.packing import LAST_MS
from features.spec import FeatureSpec


def newest_events(log: bytes, now_ms: int, spec: FeatureSpec) -> dict[str, int | None]:
    """By feature, the moment of the newest event in its window; of what it reads for a derived one; None: no event."""
    settled, windows = settle(log, spec), spec.windows
    found = settled.keys[1:].searchsorted(windows.keys(min(now_ms, LAST_MS)), side="right").tolist()
    low, high = found[: windows.segments], found[windows.segments :]
    newest: dict[str, int | None] = {}
    for name, place in zip(spec.names, spec.place.tolist(), strict=True):
        some = name in spec.windowed and high[place] > low[place]
        newest[name] = int(moments(settled.keys[high[place] : high[place] + 1])[0]) if some else None
    for item in spec.derived:
        times = [newest[name] for _, name in item.rule.reads if newest.get(name) is not None]
        newest[spec.names[item.position]] = max((at for at in times if at is not None), default=None)
    return newest
