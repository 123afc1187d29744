"""Nothing answered is lost: segments, their rolling into Parquet, and what a crash leaves."""

from __future__ import annotations

import asyncio
import re
from datetime import date

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kits.journals import NOW_MS, record, report_outcome, rolled_rows, write_decision
from kits.waiting import wait_until
from nba.clock import DAY_MS
from nba.domain import OUTCOMES, STRENGTH
from nba.errors import JournalError, NotFoundError
from serving.forget import forget_logged, forget_spooled
from serving.journal import Folders, Journal, decision_id, find_live, place_of
from serving.parts import find_rolled, stronger
from serving.roll import pending_table, roll
from serving.segment import Segment, documents, segments


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.integers(0, 2**40 - 1))
def test_an_id_says_where_its_record_stands(day, offset):
    """There and back for every place."""
    segment = "d" + "0" * 21
    place = place_of(decision_id(day.isoformat(), segment, offset))
    assert (place.day, place.segment, place.offset) == (day.isoformat(), segment, offset)


@given(st.text())
def test_other_text_is_no_place(text):
    """No text but an id of ours leads to a file."""
    with pytest.raises(NotFoundError):
        place_of(text)


def test_a_decision_is_found_while_written_and_after_rolling(tmp_path):
    """The id leads to the record wherever it has gone."""
    journal = Journal(tmp_path, NOW_MS)
    ids = [write_decision(journal, f"c-{i}") for i in range(1200)]
    for identifier in (ids[0], ids[700], ids[-1]):
        assert find_live(journal.folders, identifier)["decision_id"] == identifier
    journal.close()
    assert roll(tmp_path) == {"outcomes": 0, "decisions": 1, "quarantined": 0}
    for identifier in (ids[0], ids[700], ids[-1]):
        assert find_live(journal.folders, identifier) is None
        assert find_rolled(journal.folders, identifier)["decision_id"] == identifier
    assert len(rolled_rows(tmp_path, "decisions")) == 2400


def test_of_two_outcomes_under_one_id_none_is_lost(tmp_path):
    """Both were acknowledged, for the process had forgotten the first; a repeated one is still one."""
    journal = Journal(tmp_path, NOW_MS)
    one, two = write_decision(journal), write_decision(journal)
    for identifier in (one, two, two):
        report_outcome(journal, identifier, "a", "accepted", outcome_id="once-more")
    journal.close()
    roll(tmp_path)
    assert sorted(row["decision_id"] for row in rolled_rows(tmp_path, "outcomes")) == sorted([one, two])
    known = {(row["decision_id"], row["offer_id"]): row["outcome"] for row in rolled_rows(tmp_path, "decisions")}
    assert known == {(one, "a"): "accepted", (one, "b"): None, (two, "a"): "accepted", (two, "b"): None}


def test_rows_are_what_the_contract_says(tmp_path):
    """One row a shown candidate, required columns typed, the vector as x.NAME."""
    journal = Journal(tmp_path, NOW_MS)
    identifier = write_decision(journal)
    write_decision(
        journal, n=None, plan=None, late=2.0, past={"accepted_before": 0.0, "declined_before": 2.0, "heard_30d": None}
    )
    journal.close()
    roll(tmp_path)
    [path] = Folders(tmp_path).parts("decisions")
    assert path.parent.name == "day=2026-11-23"
    schema = pq.read_schema(path)
    assert str(schema.field("at").type) == "timestamp[us, tz=UTC]"
    wanted = {
        "decision_id": "string",
        "offer_id": "string",
        "propensity": "double",
        "x.n": "double",
        "x.plan": "string",
    }
    assert {name: str(schema.field(name).type) for name in wanted} == wanted
    first, _, third, _ = rolled_rows(tmp_path, "decisions")
    assert (first["decision_id"], first["offer_id"], first["rank"], first["x.n"]) == (identifier, "a", 1, 1.5)
    assert (third["x.n"], third["x.plan"], third["x.late"], first["x.late"]) == (None, None, 2.0, None)
    assert [third[f"pair.{name}"] for name in ("accepted_before", "declined_before", "heard_30d")] == [0.0, 2.0, None]
    assert first["pair.declined_before"] is None


@pytest.mark.parametrize(("then", "now"), [("text", 2.5), (7, True), (1.5, "text")])
def test_a_field_of_another_type_than_its_column_keeps_nobody_from_the_table(tmp_path, then, now):
    """A reload may change a field's type inside a segment: what does not fit is missing there, and whole in the record."""
    kinds = {str: "category", bool: "boolean", float: "number"}
    journal = Journal(tmp_path, NOW_MS)
    first = write_decision(journal, field=then)
    identifier = journal.next_id(NOW_MS)
    newer = orjson.loads(record(identifier, field=now))
    journal.write(orjson.dumps(newer | {"types": {"plan": "category", "field": kinds[type(now)]}}))
    journal.close()
    assert roll(tmp_path)["decisions"] == 1
    assert [row["x.field"] for row in rolled_rows(tmp_path, "decisions")] == [None, None, now, now]
    assert find_rolled(journal.folders, first)["x"]["field"] == then


@pytest.mark.parametrize("order", ["outcome first", "roll first", "both live"])
def test_the_strongest_outcome_stands_in_the_row(tmp_path, order):
    """Whenever it is reported: before the decision is rolled, after, or while both are being written."""
    journal = Journal(tmp_path, NOW_MS)
    identifier = write_decision(journal)
    report_outcome(journal, identifier, "b", "shown")
    if order == "roll first":
        journal.rotate(NOW_MS)
        roll(tmp_path)
    report_outcome(journal, identifier, "b", "accepted")
    report_outcome(journal, identifier, "b", "later")
    if order == "both live":
        assert pending_table(tmp_path).to_pylist()[1]["outcome"] == "accepted"
    journal.close()
    roll(tmp_path)
    assert [row["outcome"] for row in rolled_rows(tmp_path, "decisions")] == [None, "accepted"]
    assert len(rolled_rows(tmp_path, "outcomes")) == 3
    assert segments(tmp_path / "live", "d") == segments(tmp_path / "live", "o") == []


def test_every_outcome_has_its_strength():
    """The order is total, so the sequence of reports does not matter."""
    assert set(STRENGTH) == set(OUTCOMES)
    assert stronger(None, "shown") == "shown"
    assert stronger("declined", "accepted") == stronger("accepted", "declined") == "accepted"


def test_a_living_segment_is_left_alone(tmp_path):
    """Rolling beside a running service takes nothing from it."""
    journal = Journal(tmp_path, NOW_MS)
    write_decision(journal)
    assert roll(tmp_path) == {"outcomes": 0, "decisions": 0, "quarantined": 0}
    assert len(pending_table(tmp_path)) == 2
    journal.close()


def test_rolling_again_after_a_crash_ends_in_the_same_files(tmp_path):
    """Killed after a part was written and before the segment was removed: the second roll writes the same part."""
    journal = Journal(tmp_path, NOW_MS)
    identifier = write_decision(journal)
    report_outcome(journal, identifier, "a", "accepted")
    kept = {path: path.read_bytes() for kind in "do" for path in segments(tmp_path / "live", kind)}
    journal.close()
    roll(tmp_path)
    before = rolled_rows(tmp_path, "decisions"), rolled_rows(tmp_path, "records"), rolled_rows(tmp_path, "outcomes")
    for path, content in kept.items():
        path.write_bytes(content)
    roll(tmp_path)
    assert (
        rolled_rows(tmp_path, "decisions"),
        rolled_rows(tmp_path, "records"),
        rolled_rows(tmp_path, "outcomes"),
    ) == before
    assert not list(tmp_path.rglob(".part*"))


def test_a_line_cut_off_by_a_crash_is_left_out_and_the_rest_is_kept(tmp_path):
    """Half a line, an empty file and foreign bytes do not stop a roll."""
    journal = Journal(tmp_path, NOW_MS)
    write_decision(journal)
    path = journal.decisions.path
    journal.close()
    with path.open("ab") as handle:
        handle.write(b"\xff\xfe\n" + record("x")[:50])
    (tmp_path / "live" / f"d{'1' * 21}.jsonl").touch()
    assert roll(tmp_path)["decisions"] == 2
    assert len(rolled_rows(tmp_path, "records")) == 1


def test_a_new_day_gets_a_segment_of_its_own(tmp_path):
    """A segment holds the decisions of one UTC day, which its part is filed under."""
    journal = Journal(tmp_path, NOW_MS)
    today, tomorrow = write_decision(journal), write_decision(journal, now_ms=NOW_MS + DAY_MS)
    journal.close()
    roll(tmp_path)
    assert place_of(today).segment != place_of(tomorrow).segment
    assert {path.parent.name for path in Folders(tmp_path).parts("records")} == {"day=2026-11-23", "day=2026-11-24"}


def test_what_is_due_is_full_or_old(tmp_path):
    """Empty segments are never due; full or old ones are, and are then free to be rolled beside the running service."""
    journal = Journal(tmp_path, NOW_MS, max_bytes=10_000, max_age_ms=1000)
    assert not journal.due(NOW_MS + 5000)
    first = write_decision(journal)
    report_outcome(journal, first, "a", "accepted")
    assert not journal.due(NOW_MS + 999)
    assert journal.due(NOW_MS + 1000)
    asyncio.run(journal.rotate_full(NOW_MS + 1000))
    assert not journal.due(NOW_MS + 5000)
    roll(tmp_path)
    assert [row["decision_id"] for table in ("records", "outcomes") for row in rolled_rows(tmp_path, table)] == [
        first,
        first,
    ]
    write_decision(journal, now_ms=NOW_MS + 1000, words="x" * 9_999)
    assert journal.due(NOW_MS + 1000)
    journal.close()


def test_forgetting_reaches_the_log_wherever_it_is(tmp_path):
    """Lines of living segments, rolled rows, outcomes; other customers keep theirs at their places."""
    journal = Journal(tmp_path, NOW_MS)
    gone, kept = write_decision(journal, "gone"), write_decision(journal, "kept")
    report_outcome(journal, gone, "a", "accepted", "gone")
    journal.rotate(NOW_MS)
    roll(tmp_path)
    live_gone, live_kept = write_decision(journal, "gone"), write_decision(journal, "kept")
    removed = forget_logged("gone", tmp_path)
    assert removed == {"live": 2, "decisions": 2, "records": 1, "outcomes": 0, "outcomes_delayed": 0}
    assert find_live(journal.folders, live_gone) is None
    assert find_live(journal.folders, live_kept)["customer_id"] == "kept"
    assert find_rolled(journal.folders, gone) is None
    assert find_rolled(journal.folders, kept)["customer_id"] == "kept"
    assert forget_logged("gone", tmp_path)["live"] == 0
    journal.close()
    assert not any(b"gone" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("end", [lambda folder: forget_logged("gone", folder), roll])
def test_what_a_killed_roll_was_writing_does_not_stay(tmp_path, end):
    """A half-written part holds customers too, and nobody would ever look at it again."""
    journal = Journal(tmp_path, NOW_MS)
    write_decision(journal, "gone")
    journal.close()
    roll(tmp_path)
    for table in ("decisions", "records"):
        [part] = journal.folders.parts(table)
        part.rename(part.with_name(f".{part.name}.1"))  # killed before this was done the other way round
    assert any(tmp_path.rglob(".part-*"))
    end(tmp_path)
    assert not any(tmp_path.rglob(".part-*"))


def test_forgetting_reaches_the_spool_and_spares_the_others(tmp_path):
    """A batch that waits for Redis loses this customer's events only."""
    segment = Segment(tmp_path / "spool", "s", NOW_MS)
    segment.append(orjson.dumps({"events": [{"customer_id": "gone"}, {"customer_id": "kept"}]}))
    segment.append(orjson.dumps({"customer_id": "gone", "contacts": []}))
    assert forget_spooled("gone", tmp_path) == 2
    assert list(documents(segment.path)) == [{"events": [{"customer_id": "kept"}]}]
    segment.close()


def test_the_disk_that_cannot_be_written_is_named(tmp_path):
    """Where a folder cannot be made, the error says which and what to do."""
    (tmp_path / "live").touch()
    with pytest.raises(JournalError, match="live"):
        Journal(tmp_path, NOW_MS)


@pytest.mark.parametrize("table", ["decisions", "outcomes"])
def test_a_damaged_part_is_named_with_the_way_out(tmp_path, table):
    """By a roll that has to read it and by an erasure; what waits is not lost: it is rolled once the part is away."""
    journal = Journal(tmp_path, NOW_MS)
    first, second = write_decision(journal), write_decision(journal, "c-2")
    journal.rotate(NOW_MS)
    report_outcome(journal, first, "a", "accepted")
    journal.close()
    roll(tmp_path)
    [part] = journal.folders.parts(table)
    part.write_bytes(b"PAR1")
    later = Journal(tmp_path, NOW_MS)
    write_decision(later, "c-3")
    report_outcome(later, second, "a", "declined", "c-2")
    later.close()
    for verb in (lambda: roll(tmp_path), lambda: forget_logged("c-1", tmp_path)):
        with pytest.raises(JournalError, match=f"{re.escape(str(part))} cannot be read.*take it away"):
            verb()
    # An erasure goes on behind the damage.
    assert "c-1" not in {row["customer_id"] for row in rolled_rows(tmp_path, "records")}
    part.unlink()
    roll(tmp_path)
    assert {row["customer_id"] for row in rolled_rows(tmp_path, "records")} >= {"c-2", "c-3"}


def test_a_defect_in_the_housekeeping_does_not_end_it(start, monkeypatch, caplog):
    """Whatever a step raises: it is said and tried again, or nobody would roll and deliver any more, and nobody would know."""
    service, tried = start(), []

    def broken() -> None:
        tried.append(1)
        raise KeyError("a defect of ours")

    monkeypatch.setattr(service.app.state.service.spool, "look_around", broken)
    wait_until(lambda: len(tried) > 1)
    assert "housekeeping failed and is tried again" in caplog.text
