"""Long logs that were settled a moment ago, so that a call that asks again does not settle them again.

During a call the desktop refreshes its suggestions many times, and a long log costs more to settle than to fetch and compare.
What is remembered counts only for the very same bytes, so nothing can be out of date; light logs are settled as quickly
as they are looked up and are not kept. Bounded in bytes, and let go after a while: who was erased is not kept in memory.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from features.compute import Settled, settle
from features.packing import EVENT_BYTES
from features.spec import FeatureSpec

LONG_BYTES = 1_000 * EVENT_BYTES
_MOST_BYTES = 64 << 20
_KEPT_S = 900.0


class _Known(NamedTuple):
    log: bytes
    settled: Settled
    until_s: float


class LongLogs:
    """The long logs of one worker's last callers. `clock`: seconds that only ever rise."""

    def __init__(
        self, spec: FeatureSpec, *, most_bytes: int = _MOST_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spec, self._most, self._clock = spec, most_bytes, clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Bytes that are held."""
        return self._bytes

    def settle(self, customer_id: str, log: bytes) -> Settled:
        """What `features.compute.settle` gives for this log."""
        self._let_go()
        if len(log) < LONG_BYTES:
            return settle(log, self._spec)
        known = self._known.get(customer_id)
        if known is not None and known.log == log:
            return known.settled
        settled = settle(log, self._spec)
        self.forget(customer_id)
        self._keep(customer_id, _Known(log, settled, self._clock() + _KEPT_S))
        return settled

    def _keep(self, customer_id: str, known: _Known) -> None:
        self._known[customer_id] = known
        self._bytes += _size(known)
        self._let_go()

    def _let_go(self) -> None:
        now_s = self._clock()
        while self._known:
            oldest = next(iter(self._known))
            if self._bytes <= self._most and self._known[oldest].until_s > now_s:
                return
            self.forget(oldest)

    def forget(self, customer_id: str) -> None:
        """Let go of a customer's log."""
        known = self._known.pop(customer_id, None)
        if known is not None:
            self._bytes -= _size(known)


def _size(known: _Known) -> int:
    settled = known.settled
    arrays = (settled.records, settled.keys, settled.rows, settled.values, settled.sums, settled.valued)
    return len(known.log) + sum(array.nbytes for array in arrays if array is not None)
