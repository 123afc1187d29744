"""Files into the store: whatever the format, whatever is wrong in them, whenever the run is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import files as files_module
from features.keys import customer_keys
from features.store import Store
from kits.activity import CONFIG, NOW_MS, refused, rows_of, write_rows
from nba.clock import format_at
from nba.errors import DataError

ROOT = Path(files_module.__file__).parents[1]


@pytest.fixture
def url(redis_url):
    """One Redis is enough here; the store's own tests know the cluster."""
    return redis_url


def everybody(store, run, customers: int = 7) -> str:
    return repr([run(store.read(f"c{i}", NOW_MS)) for i in range(customers)])


UTC_MS = pa.timestamp("ms", "UTC")


@pytest.mark.parametrize(
    ("name", "casts"),
    [
        ("a.jsonl", {}),
        ("a.jsonl.gz", {}),
        ("a.csv", {}),
        ("a.parquet", {}),
        ("b.parquet", {"at": UTC_MS}),
        (
            "c.parquet",
            {
                "at": pa.timestamp("ns", "Europe/Berlin"),
                "value": pa.float64(),
                "type": pa.dictionary(pa.int32(), pa.string()),
            },
        ),
        ("d.parquet", {"customer_id": pa.large_string(), "value": pa.int32()}),
    ],
)
def test_every_format_gives_what_the_same_events_over_http_give(load, store, run, spec, tmp_path, name, casts):
    """Parquet, CSV and JSON Lines, with times as text or as timestamps, whole numbers also as floats with gaps."""
    from features.activity import parse_event

    rows = rows_of(500)
    run(store.append([parse_event(row, spec, NOW_MS) for row in rows]))
    expected = everybody(store, run)
    run(store._client.flushall())
    report = load(write_rows(rows, tmp_path / name, **casts))
    assert (report.rows, report.accepted, report.rejected, report.rejected_file) == (500, 500, 0, None)
    assert everybody(store, run) == expected


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "us.parquet", "ns.parquet"])
def test_what_was_used_in_the_last_microsecond_of_a_month_is_of_that_month(load, store, run, tmp_path, name):
    """Meters and data frames write the end of a period so: finer digits are cut off, and carry nothing over its edge."""
    ends = ("2026-08-31T21:59:59.999999", "2026-08-31T21:59:59.999500", "2026-07-31T21:59:59.999999")
    rows = [
        {"event_id": f"e{i}", "customer_id": "c", "at": f"{at}Z", "channel": "web", "type": "spent", "value": 10**i}
        for i, at in enumerate(ends)
    ]
    casts = {"at": pa.timestamp(name.split(".")[0], "UTC")} if name.endswith(".parquet") else {}
    assert load(write_rows(rows, tmp_path / name, **casts)).accepted == 3
    features = run(store.read("c", NOW_MS)).features
    assert (features["spent_sum_month_1"], features["spent_sum_month_2"]) == (11, 100)


@pytest.mark.parametrize("also", [[], ["19.00"]])
def test_whole_numbers_that_a_data_frame_wrote_with_a_point_are_whole_in_csv_too(load, store, run, tmp_path, also):
    """A column with gaps is written as 6035.0, in Parquet and in CSV; 19.00 is money in another unit and stays refused."""
    amounts = ["6035.0", "-7.0", "", "41", *also]
    rows = [f"e{i},c,{format_at(NOW_MS - 60_000)},web,spent,{amount}" for i, amount in enumerate(amounts)]
    (tmp_path / "a.csv").write_text("\n".join(["event_id,customer_id,at,channel,type,value", *rows]) + "\n")
    report = load(tmp_path / "a.csv")
    assert (report.accepted, report.rejected) == (4, len(also))
    assert all("19.00" in reason for _, reason in (refused(report) if also else []))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_rejected_rows_go_to_a_file_with_line_and_reason(load, store, run, tmp_path, name):
    """The others are taken; the file says which rows were not, and why."""
    rows = rows_of(60)
    wrong = {
        3: {"type": "sold"},
        11: {"customer_id": " \u00a0"},
        20: {"customer_id": "a{b"},
        41: {"at": "1999-01-01T00:00:00Z"},
        59: {"channel": "WEB"},
    }
    rows = [row | wrong.get(i, {}) for i, row in enumerate(rows)]
    report = load(write_rows(rows, tmp_path / name))
    assert (report.rows, report.accepted, report.rejected) == (60, 55, 5)
    told = [json.loads(line) for line in report.rejected_file.read_text().splitlines()]
    first = 2 if name.endswith("csv") else 1
    assert [row["line"] for row in told] == [i + first for i in wrong]
    assert [row["reason"].partition(":")[0] for row in told] == ["type", "customer_id", "customer_id", "at", "channel"]
    assert all(row["file"].endswith(name) for row in told)


def test_lines_that_are_no_rows_are_rejected_too(load, tmp_path):
    """Broken JSON, a list, a row with too many columns, a line of megabytes: one bad line does not cost the file."""
    good = [json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows_of(3)]
    (tmp_path / "a.jsonl").write_text("\n".join([good[0], '{"half', good[1], "[1]", "", "x" * 3_000_000, good[2]]))
    report = load(tmp_path / "a.jsonl")
    assert (report.accepted, report.rejected) == (3, 3)
    assert [json.loads(line)["line"] for line in report.rejected_file.read_text().splitlines()] == [2, 4, 6]
    write_rows(rows_of(3), tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([*lines[:2], "a,b", *lines[2:], lines[1] + ",more"]))
    report = load(tmp_path / "a.csv")
    assert (report.accepted, report.rejected) == (3, 2)
    assert [json.loads(line)["line"] for line in report.rejected_file.read_text().splitlines()] == [3, 6]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_row_in_another_encoding_is_refused_alone(load, tmp_path, name):
    """An export from an old system has one name in Latin-1: the other rows are taken."""
    rows = [row | {"subject": f"Gr\u00fc\u00dfe {i}"} for i, row in enumerate(rows_of(4))]
    text = (
        write_rows(rows, tmp_path / name).read_text(encoding="utf-8")
        if name == "a.csv"
        else "".join(
            json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) + "\n" for row in rows
        )
    )
    lines = text.encode().splitlines(keepends=True)
    place = 2 if name == "a.csv" else 1
    lines[place] = lines[place].decode().encode("latin-1")
    (tmp_path / name).write_bytes(b"".join(lines))
    report = load(tmp_path / name)
    assert (report.accepted, report.rejected) == (3, 1)
    [(line, reason)] = refused(report)
    assert (line, "UTF-8" in reason) == (place + 1, True)


def test_a_mark_that_windows_puts_before_a_file_is_no_fault(load, tmp_path):
    """The byte order mark of UTF-8, in both formats of text."""
    for name in ("a.csv", "a.jsonl"):
        file = write_rows(rows_of(3), tmp_path / name)
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
        assert load(file).accepted == 3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda p: _bytes(p / "a.csv", "event_id,customer_id,at,channel,type,Stra\u00dfe\n".encode("latin-1")),
            "UTF-8",
        ),
        (lambda p: _bytes(p / "a.csv", "event_id,customer_id,at,channel,type\n".encode("utf-16")), "UTF-8"),
        (lambda p: p / "none.parquet", "no such file"),
        (
            lambda p: _text(p / "a.csv", "event_id,customer_id,at,type,channel,at\n1,2,3,4,5,6\n"),
            "'at' stands there twice",
        ),
        (lambda p: _text(p / "a.txt", "x"), "what is it"),
        (lambda p: _text(p / "a.parquet", "no parquet"), "cannot be read"),
        (lambda p: _text(p / "a.jsonl.gz", "no gzip"), "cannot be read"),
        (lambda p: _text(p / "a.csv", "event_id,customer_id,at,type\n"), "'channel'"),
        (lambda p: _text(p / "a.csv", "event_id,customer_id,at,type,channel,colour\n1,2,3,4,5,6\n"), "'colour'"),
        (lambda p: _naive(p / "a.parquet"), "no time zone"),
        (
            lambda p: _text(p / "a.csv", f"event_id,customer_id,at,channel,type\n1,2,3,4,{'t' * (3 << 20)}\n"),
            "a row has more than 512 KB, or a quote is not closed",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_so_and_how_to_mend_it(load, tmp_path, make, says):
    """Before a single row is taken."""
    with pytest.raises(DataError, match=says):
        load(make(tmp_path))


def _bytes(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def _text(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def _naive(file: Path) -> Path:
    text = pa.array(["x"])
    pq.write_table(
        pa.table(
            dict.fromkeys(("event_id", "customer_id", "channel", "type"), text)
            | {"at": pa.array([0], pa.timestamp("ms"))}
        ),
        file,
    )
    return file


@pytest.mark.parametrize("kind", ["activity", "customers"])
@pytest.mark.parametrize("unit", ["s", "us"])
def test_a_moment_that_no_calendar_has_is_refused_with_its_row(load, tmp_path, kind, unit):
    """The year 148,000 in a Parquet file costs its row, not the run."""
    at = pa.array(
        [2**52 if unit == "s" else 2**62, 1_780_000_000 * (1 if unit == "s" else 10**6)], pa.timestamp(unit, "UTC")
    )
    columns = {
        "event_id": ["a", "b"],
        "customer_id": ["c", "c"],
        "at": at,
        "channel": ["web"] * 2,
        "type": ["complaint"] * 2,
    }
    if kind == "customers":
        columns = {"customer_id": ["c", "d"], "age": at}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    report = load(tmp_path / "a.parquet", kind=kind)
    assert [line for line, _ in refused(report)] == ([1] if kind == "activity" else [1, 2])
    assert refused(report)[0][1].startswith("at: " if kind == "activity" else "age: ")


def test_a_pipe_is_refused_at_once(load, tmp_path):
    """Nobody may ever write into it, and nobody could read it again after a stop."""
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match="is no file but a pipe or a device: write it to a file first"):
        load(tmp_path / "a.csv")


def test_hidden_files_of_a_folder_are_left_out(load, tmp_path):
    """Those that an editor, a version control or another system keeps beside the real ones."""
    for name in ("day/a.jsonl", "day/._a.jsonl", ".checkpoints/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_rows(rows_of(5), tmp_path / name)
    report = load(tmp_path)
    assert (report.files, report.rows) == (1, 5)


@pytest.mark.parametrize("between", [";", "\t"])
def test_columns_that_no_commas_separate_are_said(load, tmp_path, between):
    """As some spreadsheets write them: not that a column is missing."""
    (tmp_path / "a.csv").write_text(between.join(["event_id", "customer_id", "at", "channel", "type"]) + "\n")
    with pytest.raises(DataError, match="not separated by commas: save it with commas"):
        load(tmp_path / "a.csv")


def test_refusals_name_the_encoding_the_missing_id_and_the_size(load, tmp_path):
    """Each with its cure: UTF-16 is no broken JSON, an empty cell no wrong type, a long number no text."""
    (tmp_path / "a.jsonl").write_bytes('{"event_id": "é"}'.encode("latin-1"))
    assert refused(load(tmp_path / "a.jsonl")) == [(1, "is not UTF-8: save the file as UTF-8")]
    (tmp_path / "a.csv").write_text("customer_id,plan\n,l\n")
    assert refused(load(tmp_path / "a.csv", kind="customers")) == [(2, "customer_id: is missing: send it")]
    event = rows_of(1)[0] | {"type": "spent", "value": "9" * 400}
    [(_, reason)] = refused(load(write_rows([event], tmp_path / "b.csv")))
    assert reason == "value: the value does not fit 64 bits: choose a larger unit"


def test_refused_lines_stand_in_the_order_of_the_file(load, tmp_path):
    """What is no JSON stands between the events that are refused, where its line is."""
    event = rows_of(1)[0]
    lines = [json.dumps(event | {"type": "sold"}), "no json", json.dumps(event | {"value": 1.5}), "[]"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert [line for line, _ in refused(load(tmp_path / "a.jsonl"))] == [1, 2, 3, 4]


def test_progress_reaches_the_end_and_a_second_run_counts_nothing_twice(load, store, run, tmp_path, monkeypatch):
    """Shares grow to 1; the marks are gone afterwards, so the same file may be loaded again."""
    monkeypatch.setattr(files_module, "BATCH_ROWS", 1000)
    file = write_rows(rows_of(2500), tmp_path / "a.parquet")
    shares: list[float] = []
    load(file, progress=lambda p: shares.append(p.share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    expected = everybody(store, run)
    assert run(store._client.keys("nba:ingest:*")) == []
    assert load(file).resumed == 0
    assert everybody(store, run) == expected


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from features import files as files_module
from features.ingest import ingest
from features.spec import FeatureSpec
from features.store import Store
from nba.clock import format_at
from nba.config import FeaturesConfig

url, config, now_ms, after, *files = sys.argv[1:]
files_module.BATCH_ROWS = 1000
spec = FeatureSpec(FeaturesConfig.model_validate_json(config))

class Dying(Store):
    left = int(after)
    async def append_packed(self, batch):
        await super().append_packed(batch)
        Dying.left -= 1
        if not Dying.left:
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    store = await Dying.open(url, spec, timeout_s=10.0)
    files_ = [Path(f) for f in files]
    await ingest(files_, "activity", store, spec, now_ms=int(now_ms), rejected_file=files_[0].parent / "rejected.jsonl")

asyncio.run(main())
"""


def test_a_killed_run_goes_on_where_it_stood_and_counts_nothing_twice(
    load, store, run, tmp_path, redis_url, monkeypatch
):
    """Killed with kill -9 again and again, in the middle of a batch and between files: as if it had run through."""
    monkeypatch.setattr(files_module, "BATCH_ROWS", 1000)
    rows = rows_of(5 * 1000, 50)
    rows[7]["type"] = rows[3 * 1000]["type"] = rows[-1]["type"] = "sold"
    files = [
        write_rows(rows[: 3 * 1000], tmp_path / "a.parquet"),
        write_rows(rows[3 * 1000 :], tmp_path / "b.parquet"),
    ]
    load(*files)
    expected = everybody(store, run, 50)
    refused = (tmp_path / "rejected.jsonl").read_bytes()
    run(store._client.flushall())
    config = json.dumps(CONFIG)
    for after in (1, 2, 2, 1):
        child = [sys.executable, "-c", CHILD, redis_url, config, str(NOW_MS), str(after), *map(str, files)]
        assert subprocess.run(child, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    report = load(*files)
    assert report.resumed >= 2 * 1000
    assert (report.rows, report.rejected) == (len(rows), 3)
    assert everybody(store, run, 50) == expected
    assert (tmp_path / "rejected.jsonl").read_bytes() == refused


def test_what_stands_before_a_broken_place_is_taken(load, store, run, tmp_path, monkeypatch):
    """A file whose second half is damaged: its first half is in the store when the error is told."""
    monkeypatch.setattr(files_module, "BATCH_ROWS", 3000)
    whole = pq.read_table(write_rows(rows_of(6000, 3000), tmp_path / "whole.parquet"))
    pq.write_table(whole, tmp_path / "a.parquet", row_group_size=3000)
    half = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1).column(0).dictionary_page_offset
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[half : half + 100] = bytes(100)
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "a.parquet")
    kept = [run(store._client.strlen(customer_keys(f"c{number}").log)) for number in range(3000)]
    assert sum(kept) == 3000 * 32


def test_a_file_larger_than_a_batch_is_read_in_pieces(load, store, run, tmp_path, monkeypatch):
    """Never more than a batch of rows at once, whatever the size of the file."""
    monkeypatch.setattr(files_module, "BATCH_ROWS", 1000)
    sizes: list[int] = []
    original = Store.append_packed

    async def noted(self, batch):
        sizes.append(sum(len(item.log) // 32 for item in batch))
        await original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "append_packed", noted)
        load(write_rows(rows_of(3000), tmp_path / "a.jsonl"))
    assert sum(sizes) == 3000
    assert max(sizes) <= 1000
    assert run(store._client.exists(customer_keys("c0").log)) == 1
