"""What is kept of customers is for the account that keeps it, not for everybody on the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.embedded import EmbeddedRedis
from features.refused import append
from kits.journals import NOW_MS, report_outcome, write_decision
from models.registry import Registry
from serving.journal import Journal
from serving.roll import roll
from serving.tokens import kept_secret


@pytest.fixture(autouse=True)
def usual_umask():
    """Of a login shell: what is not asked for otherwise may be read by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def logged(state_dir: Path) -> None:
    """A decision with its outcome, rolled."""
    journal = Journal(state_dir, NOW_MS)
    report_outcome(journal, write_decision(journal), "a", "accepted")
    journal.close()
    assert roll(state_dir) == {"outcomes": 1, "decisions": 1, "quarantined": 0}


def open_to_others(folder: Path) -> list[str]:
    """What somebody else may read, write or enter."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.stat().st_mode & 0o077]


def test_the_log_is_for_its_owner_only(tmp_path):
    """Segments, and what they become: the same names, plans and reasons stand in both."""
    logged(tmp_path / "made" / "state")
    assert open_to_others(tmp_path) == []


def test_the_log_is_for_its_owner_also_where_the_folder_was_there(tmp_path):
    """An administrator may have made the state folder for everybody to see: its parts are still nobody else's."""
    logged(tmp_path)
    assert open_to_others(tmp_path) == []


@pytest.mark.parametrize("first", ["redis", "registry", "secret", "refused"])
def test_whoever_makes_the_state_folder_makes_it_for_its_owner(tmp_path, first):
    """A training, a token, an ingestion may come before the first service."""
    state_dir = tmp_path / "made" / "state"
    if first == "redis":
        own = EmbeddedRedis(state_dir)
        own.start()
        own.stop()
    elif first == "registry":
        Registry(state_dir / "models").check()
    elif first == "secret":
        kept_secret(state_dir)
    else:
        append(state_dir / "rejected" / "list.jsonl", Path("a.csv"), [])
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "made", state_dir)] == [0o700, 0o700]
