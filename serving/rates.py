"""So many requests a second from one key (or, without keys, one address): a token bucket each."""

from __future__ import annotations

from collections import OrderedDict

_REMEMBERED = 10_000


class Rates:
    """Buckets that fill with `per_s` tokens a second up to two seconds' worth. `per_s` None: no limit."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def allows(self, who: bytes, now_s: float) -> bool:
        """Take a token of `who`; False when there is none."""
        if self._per_s is None:
            return True
        full = max(1.0, 2 * self._per_s)
        tokens, since_s = self._buckets.pop(who, (full, now_s))
        tokens = min(full, tokens + (now_s - since_s) * self._per_s)
        allowed = tokens >= 1.0
        self._buckets[who] = (tokens - 1.0 if allowed else tokens, now_s)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed
