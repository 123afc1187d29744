"""The file of refused rows: one JSON object a line, with file, line and reason. Nothing that was there is destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from features.batches import Unreadable
from nba.errors import DataError
from nba.folders import make_private

_FIELDS = {"file", "line", "reason"}


def make_room(rejected_file: Path) -> None:
    """For a new list: the list of an earlier run is kept beside, as NAME.1, NAME.2 … Raises DataError: it is something else."""
    if not _is_there(rejected_file):
        return
    number = 1
    while (beside := rejected_file.with_name(f"{rejected_file.name}.{number}")).exists():
        number += 1
    rejected_file.rename(beside)


def cut_back(rejected_file: Path, covered: int) -> None:
    """Leave of the list of a broken run what its marks cover, in bytes. Raises DataError: it is something else by now."""
    if not _is_there(rejected_file):
        return
    if not covered:
        rejected_file.unlink()
        return
    with rejected_file.open("r+b") as rejected:
        rejected.truncate(min(covered, rejected_file.stat().st_size))


def _is_there(rejected_file: Path) -> bool:
    """Whether there is a list with something in it. Raises DataError: it is something else."""
    if not rejected_file.exists() or (rejected_file.is_file() and not rejected_file.stat().st_size):
        return False
    if not rejected_file.is_file() or not _is_list(rejected_file):
        raise DataError(f"{rejected_file}: is no list of refused rows: give another --rejected, or move it away")
    return True


def _is_list(rejected_file: Path) -> bool:
    """Whether the first line, which is whole or the only one, is a refused row."""
    with rejected_file.open("rb") as rejected:
        first = rejected.readline(1 << 20)
    try:
        found = orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.keys() == _FIELDS


def append(rejected_file: Path, file: Path, refused: Sequence[Unreadable]) -> int:
    """Write refused rows of a file down; the length of the list in bytes."""
    make_private(rejected_file.parent)
    with rejected_file.open("ab") as out:
        for row in refused:
            told = {"file": str(file), "line": row.line, "reason": row.reason}
            out.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        return out.tell()
