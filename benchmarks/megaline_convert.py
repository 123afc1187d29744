"""Megaline's files written in the engine's own form: activity.parquet and customers.parquet.

    .venv/bin/python benchmarks/megaline_convert.py SOURCE TARGET

SOURCE holds megaline_users.csv and megaline_{calls,internet,messages}.csv.gz. Every row of the last three becomes one
event. The operator bills each call rounded up to a minute, so the rounding is done here, per call; a month's megabytes
are rounded up to gigabytes only in the bill, so they stay exact: hundredths of a megabyte. The files carry dates without
a time of day; an event stands at 12:00 UTC of its day.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

NOON = pd.Timedelta(hours=12)


def convert(source: Path, target: Path) -> dict[str, int]:
    """Write both files into `target`; gives the number of rows of each. Raises FileNotFoundError, ValueError."""
    target.mkdir(parents=True, exist_ok=True)
    activity = pd.concat([_calls(source), _sessions(source), _messages(source)], ignore_index=True)
    if not activity["event_id"].is_unique:
        raise ValueError("an id stands twice in one of the files: is this the Megaline data of the README?")
    customers = _customers(source)
    strangers = set(activity["customer_id"]) - set(customers["customer_id"])
    if strangers:
        raise ValueError(f"{len(strangers)} customers have activity but are not in megaline_users.csv")
    activity.to_parquet(target / "activity.parquet", index=False)
    customers.to_parquet(target / "customers.parquet", index=False)
    return {"activity": len(activity), "customers": len(customers)}


def _calls(source: Path) -> pd.DataFrame:
    rows = pd.read_csv(source / "megaline_calls.csv.gz", dtype={"id": str, "user_id": str})
    minutes = np.ceil(rows["duration"].to_numpy()).astype("int64")  # a missed call lasts 0 minutes and stays an event
    return _events(rows, "call", "call_made", rows["call_date"], pd.array(minutes, dtype="Int64"))


def _sessions(source: Path) -> pd.DataFrame:
    rows = pd.read_csv(source / "megaline_internet.csv.gz", dtype={"id": str, "user_id": str})
    hundredths = np.rint(rows["mb_used"].to_numpy() * 100).astype("int64")  # the file has at most two decimals
    return _events(rows, "data", "data_used", rows["session_date"], pd.array(hundredths, dtype="Int64"))


def _messages(source: Path) -> pd.DataFrame:
    rows = pd.read_csv(source / "megaline_messages.csv.gz", dtype={"id": str, "user_id": str})
    return _events(rows, "msg", "message_sent", rows["message_date"], pd.array([pd.NA] * len(rows), dtype="Int64"))


def _events(
    rows: pd.DataFrame, prefix: str, kind: str, dates: pd.Series, value: pd.api.extensions.ExtensionArray
) -> pd.DataFrame:
    at = pd.to_datetime(dates, format="%m/%d/%Y", utc=True) + NOON
    return pd.DataFrame(
        {
            "event_id": prefix + "-" + rows["id"],  # the three files number their rows alike
            "customer_id": rows["user_id"],
            "at": at.astype("datetime64[ms, UTC]"),
            "channel": "network",
            "type": kind,
            "value": value,
            "subject": pd.array([pd.NA] * len(rows), dtype="string"),
        }
    )


def _customers(source: Path) -> pd.DataFrame:
    users = pd.read_csv(source / "megaline_users.csv", dtype={"user_id": str})
    names = {"user_id": "customer_id", "first_name": "given_name", "last_name": "family_name"}
    return users.rename(columns=names)[["customer_id", "given_name", "family_name", "plan"]]


def main() -> int:
    """Read the arguments, convert, print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with the Megaline files")
    parser.add_argument("target", type=Path, help="folder to write activity.parquet and customers.parquet into")
    arguments = parser.parse_args()
    try:
        counts = convert(arguments.source, arguments.target)
    except (FileNotFoundError, ValueError) as error:
        print(f"{error}", file=sys.stderr)
        return 2
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
