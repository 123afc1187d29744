"""Vectors as they would have been served at any (customer, moment), from files of activity: the same bytes through the same
function as online, so training and serving cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.activity import FIELDS
from features.bulk import Parts, pack_batch
from features.compute import settle, vector
from features.files import expand, read_batches
from features.spec import FeatureSpec
from nba.config import FeaturesConfig
from nba.errors import DataError

_CUSTOMERS_A_TASK = 200
_Asked = tuple[bytes, list[int], list[int]]  # a log, the moments, their rows in the answer


def read_logs(paths: Sequence[Path], spec: FeatureSpec, now_ms: int) -> dict[str, bytes]:
    """The packed log of every customer in files of activity, in the order of the files.

    Raises DataError: a file cannot be read, or has a row that the store would refuse; training on less than what was
    sent would be a gap between the two.
    """
    parts: Parts = {}
    for file in expand(paths):
        for batch in read_batches(file, FIELDS, FIELDS[:5]):
            refused = pack_batch(batch, spec, now_ms, parts)
            if refused:
                raise DataError(f"{file}:{refused[0].line}: {refused[0].reason}")
    return {customer_id: b"".join(log) for customer_id, (log, _) in parts.items()}


def replay(
    logs: Mapping[str, bytes], moments: Sequence[tuple[str, int]], config: FeaturesConfig, *, processes: int = 1
) -> NDArray[np.float64]:
    """The vector of each (customer, at_ms), float64 of shape (len(moments), len(config.features)), in the order asked.

    A customer without activity gets what a new customer gets. `processes`: 1 stays in this one.
    """
    answers = np.empty((len(moments), len(config.features)))
    tasks = list(_tasks(logs, moments))
    if processes == 1 or len(tasks) == 1:
        _begin(config)
        _write(answers, map(_vectors, tasks))
        return answers
    # Spawned, not forked: the caller may have threads and event loops.
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (config,)) as pool:
        _write(answers, pool.map(_vectors, tasks))
    return answers


def _tasks(logs: Mapping[str, bytes], moments: Sequence[tuple[str, int]]) -> Iterator[list[_Asked]]:
    asked: dict[str, _Asked] = {}
    for row, (customer_id, at_ms) in enumerate(moments):
        _, at, rows = asked.setdefault(customer_id, (logs.get(customer_id, b""), [], []))
        at.append(at_ms)
        rows.append(row)
    customers = list(asked.values())
    for first in range(0, len(customers), _CUSTOMERS_A_TASK):
        yield customers[first : first + _CUSTOMERS_A_TASK]


def _write(answers: NDArray[np.float64], results: Iterable[tuple[list[int], NDArray[np.float64]]]) -> None:
    for rows, vectors in results:
        answers[rows] = vectors


_SPECS: list[FeatureSpec] = []  # the one of this process, compiled once


def _begin(config: FeaturesConfig) -> None:
    _SPECS[:] = [FeatureSpec(config)]


def _vectors(task: Sequence[_Asked]) -> tuple[list[int], NDArray[np.float64]]:
    spec = _SPECS[0]
    rows: list[int] = []
    vectors = []
    for log, moments, places in task:
        settled = settle(log, spec)
        vectors += [vector(settled, at_ms, spec) for at_ms in moments]
        rows += places
    return rows, np.stack(vectors) if vectors else np.empty((0, len(spec.names)))
