"""A line of the log that no row can be made of is set aside with its reason, and everything behind it goes on."""

from __future__ import annotations

import orjson
import pytest

from kits.journals import NOW_MS, record, report_outcome, rolled_rows, write_decision
from kits.waiting import wait_until
from nba.cli.records import read_records
from nba.settings import Settings
from serving.forget import forget_logged
from serving.journal import Folders, Journal
from serving.roll import pending_table, roll
from serving.segment import segments

OUTCOME = {
    "outcome_id": "o", "decision_id": "20261123-d00000000000000000000a-0000000000", "offer_id": "a", "customer_id": "c-9",
    "outcome": "accepted", "at_ms": NOW_MS, "received_ms": NOW_MS,
}  # fmt: skip
DELAYED = {"outcome_id": "o", "customer_id": "c-9", "outcome": "churned", "at_ms": NOW_MS, "received_ms": NOW_MS}
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
    identifier = write_decision(journal)
    journal.outcomes.segment.append(line)
    report_outcome(journal, identifier, "a", "accepted")
    assert [row["outcome"] for row in pending_table(tmp_path).to_pylist()] == ["accepted", None]
    journal.close()
    assert roll(tmp_path) == {"outcomes": 1, "decisions": 1, "quarantined": 1}
    assert [row["decision_id"] for row in rolled_rows(tmp_path, "outcomes")] == [identifier]
    assert rolled_rows(tmp_path, "outcomes_delayed") == []
    assert [row["outcome"] for row in rolled_rows(tmp_path, "decisions")] == ["accepted", None]
    [kept] = quarantined(tmp_path)
    assert (kept["line"], bool(kept["reason"])) == (line.decode(errors="backslashreplace"), True)
    assert segments(tmp_path / "live", "o") == []


@pytest.mark.parametrize("line", NO_DECISIONS)
def test_a_foreign_line_among_decisions_is_set_aside_and_the_others_are_rolled(tmp_path, line):
    """Also where it stands first; `nba train` beside the running service leaves it out until it is rolled."""
    journal = Journal(tmp_path, NOW_MS)
    journal.write(wrong_decision(journal, line))
    identifier = write_decision(journal)
    assert {row["decision_id"] for row in pending_table(tmp_path).to_pylist()} == {identifier}
    journal.close()
    assert roll(tmp_path) == {"outcomes": 0, "decisions": 1, "quarantined": 1}
    for table in ("records", "decisions"):
        assert {row["decision_id"] for row in rolled_rows(tmp_path, table)} == {identifier}
    assert len(quarantined(tmp_path)) == 1


def test_what_is_no_fault_is_not_set_aside(tmp_path):
    """The line that a crash cut off was never answered, and an erased one is to be gone."""
    journal = Journal(tmp_path, NOW_MS)
    write_decision(journal, "gone")
    write_decision(journal)
    forget_logged("gone", tmp_path)
    path = journal.decisions.path
    journal.close()
    with path.open("ab") as handle:
        handle.write(record("x")[:50])
    assert roll(tmp_path)["quarantined"] == 0
    assert len(rolled_rows(tmp_path, "records")) == 1
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


def test_records_of_a_living_service_are_read_over_a_foreign_line(tmp_path):
    """What `nba evaluate` reads beside the service does not stop at a line that the next roll will set aside."""
    journal = Journal(tmp_path, NOW_MS)
    write_decision(journal)
    journal.decisions.append(b'{"some": "thing"}')
    assert len(list(read_records(Settings(state_dir=tmp_path), tmp_path / "decisions"))) == 1
    journal.close()
