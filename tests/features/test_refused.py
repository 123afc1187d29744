"""The file of refused rows destroys nothing that another run or another program has written."""

from __future__ import annotations

import json

import pytest

from features.ingest import ingest
from kits.activity import NOW_MS
from nba.errors import DataError, StoreError

GOOD = {"event_id": "e1", "customer_id": "c1", "at": "2026-09-01T10:00:00Z", "channel": "web", "type": "seen"}
BAD = GOOD | {"event_id": "e2", "type": "nosuch"}


@pytest.fixture
def load(opened, run, tmp_path):
    """Ingest rows from one file; refusals go to `rejected.jsonl` if nothing else is said."""
    store = opened()

    def go(*rows, rejected="rejected.jsonl", name="a.jsonl", store=store):
        file = tmp_path / name
        if rows:  # else it lies there, and its marks know it by size and time
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = {"now_ms": NOW_MS, "rejected_file": tmp_path / rejected}
        return run(ingest([file], "activity", store, store._spec, **given))

    return go


@pytest.fixture
def url(redis_url):
    return redis_url


@pytest.mark.parametrize("rows", [(GOOD,), (GOOD, BAD)], ids=["nothing refused", "something refused"])
@pytest.mark.parametrize("text", ["my precious notes\n", '{"file": 1}\n', "[1]", "\x00"])
def test_a_foreign_file_is_refused_and_left_as_it_is(load, tmp_path, rows, text):
    """The error names the way out, and nothing was loaded."""
    notes = tmp_path / "rejected.jsonl"
    notes.write_text(text)
    with pytest.raises(DataError, match="give another --rejected"):
        load(*rows)
    assert notes.read_text() == text


def test_the_list_of_an_earlier_run_is_kept_beside(load, tmp_path):
    """Each run has a list of its own under the given name; earlier ones keep their lines."""
    for number in range(3):
        load(GOOD, *[BAD] * (number + 1))
    lengths = {path.name: len(path.read_text().splitlines()) for path in tmp_path.glob("rejected*")}
    assert lengths == {"rejected.jsonl": 3, "rejected.jsonl.1": 1, "rejected.jsonl.2": 2}
    load(GOOD)
    assert not (tmp_path / "rejected.jsonl").exists()
    assert (tmp_path / "rejected.jsonl.3").exists()


def test_a_run_that_goes_on_leaves_another_list_alone(load, opened, tmp_path, monkeypatch):
    """Resumed with another --rejected, the list that is there belongs to somebody else; its own is cut back, not renewed."""
    load(GOOD, BAD, rejected="theirs.jsonl", name="theirs-rows.jsonl")
    before = (tmp_path / "theirs.jsonl").read_bytes()
    monkeypatch.setattr("features.files.BATCH_ROWS", 1)
    dying = opened()
    taken = iter([dying.append_packed])

    async def dies(batch):
        for takes in taken:
            return await takes(batch)
        raise StoreError("gone")

    monkeypatch.setattr(dying, "append_packed", dies)
    for rows in ((BAD, GOOD, BAD, GOOD), ()):
        with pytest.raises(StoreError):
            load(*rows, rejected="mine.jsonl", store=dying)
    assert [path.name for path in tmp_path.glob("mine*")] == ["mine.jsonl"]
    report = load(rejected="theirs.jsonl")
    assert (report.resumed, report.rejected) == (3, 2)
    assert (tmp_path / "theirs.jsonl.1").read_bytes() == before
