"""Nothing answered is lost: segments, their rolling into Parquet, and what a crash leaves."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kits.waiting import wait_until
from nba.cli.records import read_records
from nba.domain import OUTCOMES, STRENGTH
from nba.errors import JournalError, NotFoundError
from nba.settings import Settings
from serving.forget import forget_logged, forget_spooled
from serving.journal import Folders, Journal, decision_id, find_live, place_of
from serving.parts import find_rolled, stronger
from serving.roll import pending_table, roll
from serving.segment import Segment, documents, segments

NOW_MS = 1_795_428_000_000  # 2026-11-23
DAY_MS = 86_400_000
ROLL_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from serving.roll import roll
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))  # no file may grow beyond it: the write fails as on a full disk
roll(Path(sys.argv[1]))
"""


def record(
    identifier: str, customer: str = "c-1", offers: tuple[str, ...] = ("a", "b"), past: dict | None = None, **x: object
) -> bytes:
    """A record with what rolling needs of it; without `past` one of an older version."""
    suggestion = {"propensity": 0.5, "kind": "optimize", "accept_probability": 0.1, "expected_value": 1.0}
    answer = {
        "source": "model",
        "suggestions": [{**suggestion, "rank": i + 1, "offer_id": o} for i, o in enumerate(offers)],
    }
    pair = {"cost_month": 1.0, "saving_month": None, "margin_delta_month": 2.0, "covers": True, **(past or {})}
    return orjson.dumps(
        {
            "decision_id": identifier, "customer_id": customer, "at_ms": NOW_MS, "made_ms": NOW_MS, "backtest": False,
            "request": {"channel": "call", "interaction_id": None},
            "x": {"n": 1.5, "plan": "s", **x}, "types": {"plan": "category"},
            "shown": [{"offer_id": o, **pair} for o in offers], "answer": answer, "model": "m", "policy": "p", "experiment": None,
            "arm": None,
        }
    )  # fmt: skip


def write(journal: Journal, customer: str = "c-1", now_ms: int = NOW_MS, **x: object) -> str:
    """One decision; its id."""
    identifier = journal.next_id(now_ms)
    journal.write(record(identifier, customer, **x))
    return identifier


def report(
    journal: Journal, identifier: str, offer: str, outcome: str, customer: str = "c-1", outcome_id: str | None = None
) -> None:
    """One outcome, durably."""
    row = {
        "outcome_id": outcome_id or f"{identifier}{offer}{outcome}",
        "decision_id": identifier,
        "offer_id": offer,
        "customer_id": customer,
    }
    asyncio.run(journal.write_outcome({**row, "outcome": outcome, "at_ms": NOW_MS, "received_ms": NOW_MS}))


def rows(state: Path, table: str) -> list[dict]:
    """Every row of a rolled table."""
    return [row for path in Folders(state).parts(table) for row in pq.ParquetFile(path).read().to_pylist()]


@given(st.dates(min_value=date(2000, 1, 1)), st.integers(0, 2**40 - 1))
def test_an_id_says_where_its_record_stands(day, offset):
    """There and back for every place."""
    segment = "d" + "0" * 21
    if day.year < 2100:
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
    ids = [write(journal, f"c-{i}") for i in range(1200)]
    for identifier in (ids[0], ids[700], ids[-1]):
        assert find_live(journal.folders, identifier)["decision_id"] == identifier
    journal.close()
    assert roll(tmp_path) == {"outcomes": 0, "decisions": 1, "quarantined": 0}
    for identifier in (ids[0], ids[700], ids[-1]):
        assert find_live(journal.folders, identifier) is None
        assert find_rolled(journal.folders, identifier)["decision_id"] == identifier
    assert len(rows(tmp_path, "decisions")) == 2400


def test_of_two_outcomes_under_one_id_none_is_lost(tmp_path):
    """Both were acknowledged, for the process had forgotten the first; a repeated one is still one."""
    journal = Journal(tmp_path, NOW_MS)
    one, two = write(journal), write(journal)
    for identifier in (one, two, two):
        report(journal, identifier, "a", "accepted", outcome_id="once-more")
    journal.close()
    roll(tmp_path)
    assert sorted(row["decision_id"] for row in rows(tmp_path, "outcomes")) == sorted([one, two])
    known = {(row["decision_id"], row["offer_id"]): row["outcome"] for row in rows(tmp_path, "decisions")}
    assert known == {(one, "a"): "accepted", (one, "b"): None, (two, "a"): "accepted", (two, "b"): None}


def test_rows_are_what_the_contract_says(tmp_path):
    """One row a shown candidate, required columns typed, the vector as x.NAME."""
    journal = Journal(tmp_path, NOW_MS)
    identifier = write(journal)
    write(
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
    first, _, third, _ = rows(tmp_path, "decisions")
    assert (first["decision_id"], first["offer_id"], first["rank"], first["x.n"]) == (identifier, "a", 1, 1.5)
    assert (third["x.n"], third["x.plan"], third["x.late"], first["x.late"]) == (None, None, 2.0, None)
    assert [third[f"pair.{name}"] for name in ("accepted_before", "declined_before", "heard_30d")] == [0.0, 2.0, None]
    assert first["pair.declined_before"] is None


@pytest.mark.parametrize(("then", "now"), [("text", 2.5), (7, True), (1.5, "text")])
def test_a_field_of_another_type_than_its_column_keeps_nobody_from_the_table(tmp_path, then, now):
    """A reload may change a field's type inside a segment: what does not fit is missing there, and whole in the record."""
    kinds = {str: "category", bool: "boolean", float: "number"}
    journal = Journal(tmp_path, NOW_MS)
    first = write(journal, field=then)
    identifier = journal.next_id(NOW_MS)
    newer = orjson.loads(record(identifier, field=now))
    journal.write(orjson.dumps(newer | {"types": {"plan": "category", "field": kinds[type(now)]}}))
    journal.close()
    assert roll(tmp_path)["decisions"] == 1
    assert [row["x.field"] for row in rows(tmp_path, "decisions")] == [None, None, now, now]
    assert find_rolled(journal.folders, first)["x"]["field"] == then


@pytest.mark.parametrize("order", ["outcome first", "roll first", "both live"])
def test_the_strongest_outcome_stands_in_the_row(tmp_path, order):
    """Whenever it is reported: before the decision is rolled, after, or while both are being written."""
    journal = Journal(tmp_path, NOW_MS)
    identifier = write(journal)
    report(journal, identifier, "b", "shown")
    if order == "roll first":
        journal.rotate(NOW_MS)
        roll(tmp_path)
    report(journal, identifier, "b", "accepted")
    report(journal, identifier, "b", "later")
    if order == "both live":
        assert pending_table(tmp_path).to_pylist()[1]["outcome"] == "accepted"
    journal.close()
    roll(tmp_path)
    assert [row["outcome"] for row in rows(tmp_path, "decisions")] == [None, "accepted"]
    assert len(rows(tmp_path, "outcomes")) == 3
    assert segments(tmp_path / "live", "d") == segments(tmp_path / "live", "o") == []


def test_every_outcome_has_its_strength():
    """The order is total, so the sequence of reports does not matter."""
    assert set(STRENGTH) == set(OUTCOMES)
    assert stronger(None, "shown") == "shown"
    assert stronger("declined", "accepted") == stronger("accepted", "declined") == "accepted"


def test_a_living_segment_is_left_alone(tmp_path):
    """Rolling beside a running service takes nothing from it."""
    journal = Journal(tmp_path, NOW_MS)
    write(journal)
    assert roll(tmp_path) == {"outcomes": 0, "decisions": 0, "quarantined": 0}
    assert len(pending_table(tmp_path)) == 2
    journal.close()


def test_rolling_again_after_a_crash_ends_in_the_same_files(tmp_path):
    """Killed after a part was written and before the segment was removed: the second roll writes the same part."""
    journal = Journal(tmp_path, NOW_MS)
    identifier = write(journal)
    report(journal, identifier, "a", "accepted")
    kept = {path: path.read_bytes() for kind in "do" for path in segments(tmp_path / "live", kind)}
    journal.close()
    roll(tmp_path)
    before = rows(tmp_path, "decisions"), rows(tmp_path, "records"), rows(tmp_path, "outcomes")
    for path, content in kept.items():
        path.write_bytes(content)
    roll(tmp_path)
    assert (rows(tmp_path, "decisions"), rows(tmp_path, "records"), rows(tmp_path, "outcomes")) == before
    assert not list(tmp_path.rglob(".part*"))


def test_a_line_cut_off_by_a_crash_is_left_out_and_the_rest_is_kept(tmp_path):
    """Half a line, an empty file and foreign bytes do not stop a roll."""
    journal = Journal(tmp_path, NOW_MS)
    write(journal)
    path = journal.decisions.path
    journal.close()
    with path.open("ab") as handle:
        handle.write(b"\xff\xfe\n" + record("x")[:50])
    (tmp_path / "live" / f"d{'1' * 21}.jsonl").touch()
    assert roll(tmp_path)["decisions"] == 2
    assert len(rows(tmp_path, "records")) == 1


def test_a_new_day_gets_a_segment_of_its_own(tmp_path):
    """A segment holds the decisions of one UTC day, which its part is filed under."""
    journal = Journal(tmp_path, NOW_MS)
    today, tomorrow = write(journal), write(journal, now_ms=NOW_MS + DAY_MS)
    journal.close()
    roll(tmp_path)
    assert place_of(today).segment != place_of(tomorrow).segment
    assert {path.parent.name for path in Folders(tmp_path).parts("records")} == {"day=2026-11-23", "day=2026-11-24"}


def test_what_is_due_is_full_or_old(tmp_path):
    """Empty segments are never due; full or old ones are, and are then free to be rolled beside the running service."""
    journal = Journal(tmp_path, NOW_MS, max_bytes=10_000, max_age_ms=1000)
    assert not journal.due(NOW_MS + 5000)
    first = write(journal)
    report(journal, first, "a", "accepted")
    assert not journal.due(NOW_MS + 999)
    assert journal.due(NOW_MS + 1000)
    asyncio.run(journal.rotate_full(NOW_MS + 1000))
    assert not journal.due(NOW_MS + 5000)
    roll(tmp_path)
    assert [row["decision_id"] for table in ("records", "outcomes") for row in rows(tmp_path, table)] == [first, first]
    write(journal, now_ms=NOW_MS + 1000, words="x" * 9_999)
    assert journal.due(NOW_MS + 1000)
    journal.close()


def test_forgetting_reaches_the_log_wherever_it_is(tmp_path):
    """Lines of living segments, rolled rows, outcomes; other customers keep theirs at their places."""
    journal = Journal(tmp_path, NOW_MS)
    gone, kept = write(journal, "gone"), write(journal, "kept")
    report(journal, gone, "a", "accepted", "gone")
    journal.rotate(NOW_MS)
    roll(tmp_path)
    live_gone, live_kept = write(journal, "gone"), write(journal, "kept")
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
    write(journal, "gone")
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


def test_a_full_disk_is_told_by_readyz_and_counted(start, monkeypatch):
    """Whoever sends calls to this machine learns that it refuses them; outcomes that are refused count too."""
    service = start()
    journal = service.app.state.service.journal
    customer = service.customer()
    decision = service.recommend(customer)

    def full(line: bytes) -> int:
        raise JournalError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
        disk.setattr(journal.outcomes.segment, "append", full)
        assert service.outcome(decision, "spoken").status_code == 503
        ready = service.http.get("/readyz")
        assert (ready.status_code, "full" in ready.json()["dependencies"]["journal"]) == (503, True)
    assert "nba_journal_refusals_total 1.0" in service.http.get("/metrics").text
    assert service.http.get("/readyz").json()["dependencies"]["journal"] == "ok"
    assert service.outcome(decision, "spoken").json()["duplicate"] is False


@pytest.mark.parametrize("table", ["decisions", "outcomes"])
def test_a_damaged_part_is_named_with_the_way_out(tmp_path, table):
    """By a roll that has to read it and by an erasure; what waits is not lost: it is rolled once the part is away."""
    journal = Journal(tmp_path, NOW_MS)
    first, second = write(journal), write(journal, "c-2")
    journal.rotate(NOW_MS)
    report(journal, first, "a", "accepted")
    journal.close()
    roll(tmp_path)
    [part] = journal.folders.parts(table)
    part.write_bytes(b"PAR1")
    later = Journal(tmp_path, NOW_MS)
    write(later, "c-3")
    report(later, second, "a", "declined", "c-2")
    later.close()
    for verb in (lambda: roll(tmp_path), lambda: forget_logged("c-1", tmp_path)):
        with pytest.raises(JournalError, match=f"{re.escape(str(part))} cannot be read.*take it away"):
            verb()
    assert "c-1" not in {
        row["customer_id"] for row in rows(tmp_path, "records")
    }  # an erasure goes on behind the damage
    part.unlink()
    roll(tmp_path)
    assert {row["customer_id"] for row in rows(tmp_path, "records")} >= {"c-2", "c-3"}


def test_a_disk_that_takes_no_part_is_told_and_nothing_is_lost(tmp_path):
    """Not as an output that could not be written: the folder is named, and what waits is rolled once there is room."""
    journal = Journal(tmp_path, NOW_MS)
    write(journal)
    journal.close()
    command = [sys.executable, "-c", ROLL_ON_A_FULL_DISK, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "JournalError" in said.stderr
    assert str(tmp_path / "records") in said.stderr
    assert "make room" in said.stderr
    assert not any(tmp_path.rglob(".part-*"))
    assert roll(tmp_path)["decisions"] == 1


OUTCOME = {
    "outcome_id": "o", "decision_id": "20261123-d00000000000000000000a-0000000000", "offer_id": "a", "customer_id": "c-9",
    "outcome": "accepted", "at_ms": NOW_MS, "received_ms": NOW_MS,
}  # fmt: skip
DELAYED = {"outcome_id": "o", "customer_id": "c-9", "outcome": "left", "at_ms": NOW_MS, "received_ms": NOW_MS}
NO_OUTCOMES = [
    b'{"some": "object"}', b'{"decision_id": "d-1"}', b'{"decision_id": 5}', b"[1]", b"{}", b'{"half": "a li', b"\xff\xfe",
    *(orjson.dumps({k: v for k, v in OUTCOME.items() if k != gone}) for gone in OUTCOME if gone != "decision_id"),
    *(orjson.dumps(OUTCOME | wrong) for wrong in (
        {"offer_id": ["a"]}, {"outcome": "unheard of"}, {"at_ms": "noon"}, {"at_ms": 1 << 62}, {"value": [1]}, {"reason": 5})),
    *(orjson.dumps(DELAYED | wrong) for wrong in ({"at_ms": None}, {"value": "much"}, {"at_ms": 10**17}, {"customer_id": 5})),
]  # fmt: skip
RECORD = orjson.loads(record("20261123-d00000000000000000000a-0000000000", "c-9"))
NEEDED = ("answer", "x", "types", "shown", "request", "at_ms", "customer_id", "model")
NO_DECISIONS = [
    b'{"some": "object"}', b'{"decision_id": "d-1"}', b"[1]", b'{"half": "a li', b"\xff\xfe", orjson.dumps(RECORD),
    *(wrong for name in NEEDED for wrong in (name, {name: []})),
]  # fmt: skip


def wrong_decision(journal: Journal, line: bytes | str | dict) -> bytes:
    """A line as it is, or a whole record of this place without a field or with a wrong one."""
    if isinstance(line, bytes):
        return line
    whole = orjson.loads(record(journal.next_id(NOW_MS), "c-9"))
    return orjson.dumps({k: v for k, v in whole.items() if k != line} if isinstance(line, str) else whole | line)


def quarantined(state) -> list[dict]:
    """What was set aside."""
    return [orjson.loads(line) for path in state.glob("quarantine/*") for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("line", NO_OUTCOMES)
def test_a_foreign_line_among_outcomes_is_set_aside_and_the_others_are_rolled(tmp_path, line):
    """It stands first: what was acknowledged behind it is in its table and its row, and the line is kept, with a reason."""
    journal = Journal(tmp_path, NOW_MS)
    identifier = write(journal)
    journal.outcomes.segment.append(line)
    report(journal, identifier, "a", "accepted")
    assert [row["outcome"] for row in pending_table(tmp_path).to_pylist()] == ["accepted", None]
    journal.close()
    assert roll(tmp_path) == {"outcomes": 1, "decisions": 1, "quarantined": 1}
    assert [row["decision_id"] for row in rows(tmp_path, "outcomes")] == [identifier]
    assert rows(tmp_path, "outcomes_delayed") == []
    assert [row["outcome"] for row in rows(tmp_path, "decisions")] == ["accepted", None]
    [kept] = quarantined(tmp_path)
    assert (kept["line"], bool(kept["reason"])) == (line.decode(errors="backslashreplace"), True)
    assert segments(tmp_path / "live", "o") == []


@pytest.mark.parametrize("line", NO_DECISIONS)
def test_a_foreign_line_among_decisions_is_set_aside_and_the_others_are_rolled(tmp_path, line):
    """Also where it stands first; `nba train` beside the running service leaves it out until it is rolled."""
    journal = Journal(tmp_path, NOW_MS)
    journal.write(wrong_decision(journal, line))
    identifier = write(journal)
    assert {row["decision_id"] for row in pending_table(tmp_path).to_pylist()} == {identifier}
    journal.close()
    assert roll(tmp_path) == {"outcomes": 0, "decisions": 1, "quarantined": 1}
    for table in ("records", "decisions"):
        assert {row["decision_id"] for row in rows(tmp_path, table)} == {identifier}
    assert len(quarantined(tmp_path)) == 1


def test_what_is_no_fault_is_not_set_aside(tmp_path):
    """The line that a crash cut off was never answered, and an erased one is to be gone."""
    journal = Journal(tmp_path, NOW_MS)
    write(journal, "gone")
    write(journal)
    forget_logged("gone", tmp_path)
    path = journal.decisions.path
    journal.close()
    with path.open("ab") as handle:
        handle.write(record("x")[:50])
    assert roll(tmp_path)["quarantined"] == 0
    assert len(rows(tmp_path, "records")) == 1
    assert not Folders(tmp_path).quarantine.exists()


def test_forgetting_reaches_what_was_set_aside(tmp_path):
    """Every line that names the customer goes, readable or not."""
    journal = Journal(tmp_path, NOW_MS)
    for line in (
        orjson.dumps(OUTCOME | {"outcome": "?"}),
        b'{"customer_id":"c-9","half',
        b'{"customer_id":"c-99","half',
    ):
        journal.outcomes.segment.append(line)
    journal.close()
    assert roll(tmp_path)["quarantined"] == 3
    assert forget_logged("c-9", tmp_path)["live"] == 2
    assert forget_logged("c-9", tmp_path)["live"] == 0
    text = b"".join(path.read_bytes() for path in tmp_path.glob("quarantine/*"))
    assert (b'c-9\\"' in text, b'c-99\\"' in text) == (False, True)


def test_a_running_service_says_and_counts_what_it_sets_aside(start, caplog):
    """In the metric and in the log, without a word of the line."""
    first = start()
    live = first.state_dir / "live"
    (live / f"o{'1' * 21}.jsonl").write_bytes(b'{"some": "secret"}\n')
    second = start()
    wait_until(lambda: "nba_quarantined_lines_total 1.0" in second.http.get("/metrics").text)
    assert "set aside" in caplog.text and "secret" not in caplog.text


def test_a_defect_in_the_housekeeping_does_not_end_it(start, monkeypatch, caplog):
    """Whatever a step raises: it is said and tried again, or nobody would roll and deliver any more, and nobody would know."""
    service, tried = start(), []

    def broken() -> None:
        tried.append(1)
        raise KeyError("a defect of ours")

    monkeypatch.setattr(service.app.state.service.spool, "look_around", broken)
    wait_until(lambda: len(tried) > 1)
    assert "housekeeping failed and is tried again" in caplog.text


def test_records_of_a_living_service_are_read_over_a_foreign_line(tmp_path):
    """What `nba evaluate` reads beside the service does not stop at a line that the next roll will set aside."""
    journal = Journal(tmp_path, NOW_MS)
    write(journal)
    journal.decisions.append(b'{"some": "thing"}')
    assert len(list(read_records(Settings(state_dir=tmp_path), tmp_path / "decisions"))) == 1
    journal.close()
