"""Where a benchmark's figures go: one JSON document on stdout or in words, and kept under benchmarks/results/."""

from __future__ import annotations

import json
import operator
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
PACKAGES = (
    "numpy",
    "redis",
    "hiredis",
    "fastapi",
    "uvicorn",
    "onnxruntime",
    "lightgbm",
    "pyarrow",
    "common-expression-language",
)
_TESTS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt}


def goal(name: str, value: float | None, wanted: str) -> dict[str, Any]:
    """One goal: `wanted` such as "<= 2.0". A value that could not be had (None) is not met."""
    sign, limit = wanted.split()
    return {
        "name": name,
        "value": value,
        "goal": wanted,
        "met": value is not None and bool(_TESTS[sign](value, float(limit))),
    }


def keep(
    benchmark: str,
    goals: list[dict[str, Any]],
    *,
    as_json: bool,
    quick: bool = False,
    so_far: bool = False,
    **more: Any,
) -> int:
    """Write the result file, say it, and give the exit status: 0 when every goal is met. `so_far`: written, not yet said."""
    document = {
        "benchmark": benchmark,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in PACKAGES},
        "goals": goals,
        **more,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{benchmark}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if so_far:
        return 1
    if as_json:
        print(json.dumps(document))
    else:
        for item in goals:
            print(f"{'met   ' if item['met'] else 'MISSED'} {item['name']}: {item['value']} (goal {item['goal']})")
    return 0 if all(item["met"] for item in goals) else 1


def absent(benchmark: str, reason: str, *, as_json: bool) -> int:
    """The data or the contender is not there: said, never guessed, and no result is written."""
    print(json.dumps({"benchmark": benchmark, "absent": reason}) if as_json else reason, file=sys.stdout)
    return 0


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
