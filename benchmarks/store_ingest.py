"""A part of benchmarks/store.py: how much memory `nba ingest` takes, and that twice the file takes no more of it.

The verb itself runs as an operator would start it, on CSV files far larger than what it may hold; its peak is what the
kernel noted for that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from redis import Redis
from results import goal

from nba.clock import DAY_MS, system_now_ms

ROOT = Path(__file__).resolve().parents[1]
CHUNK, CUSTOMERS = 100_000, 20_000
STATUS = Path("/proc/self/status")
VERB = f"""
import sys
from pathlib import Path
from nba.cli import main
try:
    main()
finally:
    peak = next(line for line in Path({str(STATUS)!r}).read_text().splitlines() if line.startswith("VmHWM:"))
    print(peak.split()[1], file=sys.stderr)
"""
Part = tuple[list[dict[str, Any]], dict[str, Any]]


def peaks(client: Redis, url: str, quick: bool, folder: Path) -> Part:
    """The peak of the verb on a file, and on one with twice as many rows of the same customers.

    Each on an empty Redis. Goals are stated only where the kernel tells the peak of a process (Linux).
    """
    if not STATUS.exists():
        return [], {"ingest_memory": {"absent": "this system does not tell the peak of a process in /proc"}}
    rows = 200_000 if quick else 3_000_000
    runs = []
    for count in (rows, 2 * rows):
        file = csv_file(count, folder / f"activity-{count}.csv")
        runs.append({"rows": count, "file_mb": round(file.stat().st_size / 2**20, 1), "peak_mb": peak_mb(file, url)})
        file.unlink()
        client.flushall()
    smaller, larger = (run["peak_mb"] for run in runs)
    goals = [
        goal("ingest_peak_mb", max(smaller, larger), "<= 256"),
        goal("ingest_peak_ratio_of_twice_the_file", round(larger / smaller, 3), "<= 1.1"),
    ]
    return goals, {"ingest_memory": runs}


def peak_mb(file: Path, url: str) -> float:
    """Megabytes that `nba ingest` had resident at most. Raises SystemExit when not every row was taken."""
    command = [sys.executable, "-c", VERB, "ingest", str(file), "--config", "telco", "--redis-url", url, "--json"]
    command += ["--state-dir", str(file.parent / "state")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    report = json.loads(done.stdout) if done.returncode == 0 else {}
    if not report or report["accepted"] != report["rows"]:
        raise SystemExit(f"`nba ingest` did not take every row: {done.stderr[-500:]}")
    return round(int(done.stderr.split()[-1]) / 1024, 1)


def csv_file(count: int, file: Path) -> Path:
    """Sessions of the last 100 days in order of time, written in pieces: nothing here grows with the file either."""
    rng, start_ms = np.random.default_rng(17), system_now_ms() - 100 * DAY_MS
    writer = None
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        at_ms = start_ms + (np.arange(first, first + size) * (99 * DAY_MS) // count)
        table = pa.table(
            {
                "event_id": [f"session-{number:09d}" for number in range(first, first + size)],
                "customer_id": [f"customer-{number:06d}" for number in rng.integers(0, CUSTOMERS, size).tolist()],
                "at": pa.array([f"{text}Z" for text in at_ms.astype("datetime64[ms]").astype(str)]),
                "channel": ["app"] * size,
                "type": ["data_used"] * size,
                "value": rng.integers(1, 2000, size),
            }
        )
        writer = writer or pa_csv.CSVWriter(file, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    return file
