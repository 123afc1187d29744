"""CSV files into the store: which line a row stands on, and which rows are none."""

from __future__ import annotations

import pytest

from features import csv_rows
from kits.activity import refused, rows_of, write_rows


@pytest.fixture
def url(redis_url):
    """One Redis is enough here; the store's own tests know the cluster."""
    return redis_url


def test_lines_are_told_as_an_editor_counts_them(load, tmp_path):
    """A quoted value may run over several lines, in good rows, in refused ones and in those that are no rows."""
    start = "event_id,customer_id,at,channel,type,text\n"
    row = "e{0},c-{0},2026-09-01T10:00:00Z,web,{1},{2}\n"
    cells = [("spent", '"two\nlines"'), ("sold", "x"), ("sold", '"a\nb\nc"'), ("spent", '"x\ny",more'), ("sold", "x")]
    (tmp_path / "a.csv").write_text(start + "".join(row.format(i, *cell) for i, cell in enumerate(cells)))
    report = load(tmp_path / "a.csv")
    assert [(line, reason.partition(" ")[0]) for line, reason in refused(report)] == [
        (4, "type:"), (5, "type:"), (8, "has"), (10, "type:"),
    ]  # fmt: skip


def test_a_quote_that_is_not_closed_says_which_lines_it_swallowed(load, tmp_path):
    """A value that should be an id runs on to the next quote: those lines are told, and what follows is read."""
    start = "event_id,customer_id,at,channel,type,text\n"
    row = "e{0},{1},2026-09-01T10:00:00Z,web,spent,{2}\n"
    cells = [("c-1", "x"), ('"c-2', "x"), ("c-3", "x"), ("c-4", '"y"'), ("c-5", "x")]
    (tmp_path / "a.csv").write_text(start + "".join(row.format(i, *cell) for i, cell in enumerate(cells)))
    report = load(tmp_path / "a.csv")
    [(line, reason)] = refused(report)
    assert (line, report.accepted) == (3, 2)
    assert "a quote that opens here runs over 2 more lines, which were not read: close it" in reason


def test_a_row_with_two_faults_is_refused_alone_too(load, tmp_path):
    """In another encoding and with a column too many, and a character cut in two by the reader's blocks harms nobody."""
    rows = [row | {"text": "\u00fc" * 1001} for row in rows_of(3000)]
    lines = write_rows(rows, tmp_path / "a.csv").read_bytes().splitlines(keepends=True)
    lines[1500] = "M\u00fcller,too,much,of,it,all,in,all,here,x\n".encode("latin-1")
    (tmp_path / "a.csv").write_bytes(b"".join(lines))
    assert (tmp_path / "a.csv").stat().st_size > 2 * csv_rows.BLOCK_BYTES
    report = load(tmp_path / "a.csv")
    assert (report.accepted, report.rejected) == (2999, 1)
    assert [(line, reason.partition(" ")[0]) for line, reason in refused(report)] == [(1501, "has")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_count_as_lines_and_are_no_rows(load, tmp_path, end):
    """Above the header, between rows and at the end: an editor shows them, nobody has to answer for them."""
    start = "event_id,customer_id,at,channel,type,text"
    row = "e{0},c-{0},2026-09-01T10:00:00Z,web,{1},x"
    lines = [
        "",
        "",
        start,
        "",
        row.format(1, "spent"),
        "",
        "",
        row.format(2, "sold"),
        "a,b",
        "",
        row.format(3, "sold"),
        "",
    ]
    (tmp_path / "a.csv").write_bytes((end.join(lines) + end).encode())
    report = load(tmp_path / "a.csv")
    assert (report.rows, report.accepted) == (4, 1)
    assert [(line, reason.partition(" ")[0]) for line, reason in refused(report)] == [
        (8, "type:"), (9, "has"), (11, "type:"),
    ]  # fmt: skip
