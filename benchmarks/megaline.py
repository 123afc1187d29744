"""Would the other plan be cheaper? Asked of the running service for every month of 500 real customers, and told truly?

    .venv/bin/python benchmarks/megaline.py [--quick] [--json] [--data FOLDER]

Megaline's 318,611 calls, data sessions and messages are loaded with `nba ingest`, `nba serve --config megaline` runs, and
POST /v1/recommend is asked with `at` = the first instant after each month with use. What both plans would have cost is
computed apart from the engine, in whole cents, from the operator's own files. Without the data it says so and ends.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from megaline_convert import convert
from results import absent, goal, keep

DATA = Path(__file__).parents[2] / "shared" / "data" / "megaline"
NBA = Path(sys.executable).with_name("nba")
#        fee, minutes, messages, GB, cents a minute, a message, a GB
PLANS = {"surf": (2000, 500, 50, 15, 3, 3, 1000), "ultimate": (7000, 3000, 1000, 30, 1, 1, 700)}


def bill_cents(plan: str, minutes: int, messages: int, megabytes: float) -> int:
    """A month's bill by the operator's rule, in cents: a month's megabytes rounded up to gigabytes."""
    fee, free_minutes, free_messages, free_gb, minute, message, gigabyte = PLANS[plan]
    gigabytes = -(-round(megabytes * 100) // 102_400)
    beyond = (max(0, minutes - free_minutes), max(0, messages - free_messages), max(0, gigabytes - free_gb))
    return fee + beyond[0] * minute + beyond[1] * message + beyond[2] * gigabyte


def true_months(source: Path) -> pd.DataFrame:
    """One row a customer and month with use: customer_id, plan, month (Period), own and other bill in cents."""
    users = pd.read_csv(source / "megaline_users.csv", dtype={"user_id": str}).set_index("user_id")
    calls = _by_month(source / "megaline_calls.csv.gz", "call_date", "duration", np.ceil)
    data = _by_month(source / "megaline_internet.csv.gz", "session_date", "mb_used", lambda mb: mb)
    sent = _by_month(source / "megaline_messages.csv.gz", "message_date", None, None)
    months = pd.concat({"minutes": calls, "megabytes": data, "messages": sent}, axis=1).fillna(0).reset_index()
    months["plan"] = months["user_id"].map(users["plan"])
    other = {"surf": "ultimate", "ultimate": "surf"}
    rows = list(zip(months["plan"], months["minutes"], months["messages"], months["megabytes"], strict=True))
    months["own"] = [bill_cents(plan, int(m), int(s), mb) for plan, m, s, mb in rows]
    months["other"] = [bill_cents(other[plan], int(m), int(s), mb) for plan, m, s, mb in rows]
    return months


def _by_month(file: Path, day: str, value: str | None, rounded: Any) -> pd.Series:
    rows = pd.read_csv(file, dtype={"user_id": str})
    rows["month"] = pd.to_datetime(rows[day], format="%m/%d/%Y").dt.to_period("M")
    rows["value"] = 1 if value is None else rounded(rows[value])
    return rows.groupby(["user_id", "month"])["value"].sum()


@contextmanager
def service(state: Path) -> Iterator[http.client.HTTPConnection]:
    """`nba serve --config megaline` in its own process, and a connection to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [NBA, "serve", "--config", "megaline", "--state-dir", state, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "NBA_BUDGET_MS": "1000"})
    try:
        yield _connection(port, process)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _connection(port: int, process: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    for _ in range(600):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return connection
    raise SystemExit("the service did not start: run `nba serve --config megaline` and see what it says")


def ask(connection: http.client.HTTPConnection, customer_id: str, at: str) -> dict[str, Any]:
    """The answer as of a moment."""
    body = json.dumps(
        {"customer_id": customer_id, "channel": "call", "interaction_id": f"{customer_id}-{at}", "at": at}
    )
    connection.request("POST", "/v1/recommend", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise SystemExit(f"/v1/recommend answered {response.status}: {answer}")
    return answer


def run(source: Path) -> dict[str, Any]:
    """Convert, ingest, serve, ask; the counts and the largest error."""
    months = true_months(source)
    with tempfile.TemporaryDirectory() as folder:
        state, files = Path(folder) / "state", Path(folder) / "files"
        counts = convert(source, files)
        for kind in ("customers", "activity"):
            command = [
                NBA,
                "ingest",
                files / f"{kind}.parquet",
                "--kind",
                kind,
                "--config",
                "megaline",
                "--state-dir",
                state,
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with service(state) as connection:
            found = [_compare(connection, row) for row in _progress(months.itertuples(index=False), len(months))]
    return {"events": counts["activity"], **_summary(months, found)}


def _progress(rows: Iterator[Any], total: int) -> Iterator[Any]:
    for number, row in enumerate(rows):
        if sys.stderr.isatty() and number % 100 == 0:
            print(f"\r{number} of {total} customer-months", end="", file=sys.stderr)
        yield row


def _compare(connection: http.client.HTTPConnection, row: Any) -> dict[str, Any]:
    at = (row.month + 1).start_time.strftime("%Y-%m-%dT00:00:00.000Z")
    answer = ask(connection, row.user_id, at)
    true = row.own - row.other
    told = [s["saving_month"] for s in answer["suggestions"]]
    return {
        "cheaper": true > 0,
        "suggested": bool(told),
        "own_error": abs(round(answer["own"]["cost_month"] * 100) - row.own),
        "errors": [abs(saving - true / 100) for saving in told],
        "false": sum(saving > 0 >= true for saving in told),
    }


def _summary(months: pd.DataFrame, found: list[dict[str, Any]]) -> dict[str, Any]:
    cheaper = months["own"] > months["other"]
    return {
        "months": len(months),
        "cheaper_months": sum(row["cheaper"] for row in found),
        "suggested_months": sum(row["suggested"] and row["cheaper"] for row in found),
        "suggested_where_dearer": sum(row["suggested"] and not row["cheaper"] for row in found),
        "largest_saving_error": max((e for row in found for e in row["errors"]), default=0.0),
        "largest_own_bill_error": max(row["own_error"] for row in found) / 100,
        "false_savings": sum(row["false"] for row in found),
        "share_cheaper": {plan: round(float(cheaper[months["plan"] == plan].mean()), 4) for plan in PLANS},
    }


def main() -> int:
    """Read the arguments, run, say and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same: all of it takes about ten seconds")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the Megaline files")
    arguments = parser.parse_args()
    if not (arguments.data / "megaline_users.csv").is_file():
        return absent(
            "megaline",
            f"no Megaline data in {arguments.data.name}/: give its folder with --data",
            as_json=arguments.json,
        )
    found = run(arguments.data)
    goals = [
        goal("cheaper_months", found["cheaper_months"], "> 0"),
        goal("suggested_months", found["suggested_months"], f">= {found['cheaper_months']}"),
        goal("largest_saving_error", found["largest_saving_error"], "<= 0.0"),
        goal("false_savings", found["false_savings"], "<= 0"),
    ]
    if not arguments.json:
        print(json.dumps(found, indent=2))
    return keep("megaline", goals, as_json=arguments.json, quick=arguments.quick, **found)


if __name__ == "__main__":
    raise SystemExit(main())
