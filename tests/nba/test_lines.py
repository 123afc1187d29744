"""Files of YAML that would take all time or memory are refused with their line, before anything is made of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nba.errors import ConfigError
from nba.lines import read_document

MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}\n" for level in range(1, 12)
)
READ = """
import resource, sys
from pathlib import Path
from nba.lines import read_document
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
try:
    read_document(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, str(error)[:200])
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MERGES, "policy.yaml:1: deeper than 20 levels or more than 200,000 entries"),
        ("a:\n  b: 1" + ":59" * 300_000 + "\n", "policy.yaml:2: a number of 900,001 characters"),
        ("a: 1" + "0" * 3_000_000 + "\n", "policy.yaml:1: a number of 3,000,001 characters"),
    ],
    ids=["merges of merges", "a number of sixtieths", "a long number"],
)
def test_what_unfolds_without_end_is_refused(tmp_path, text, said):
    """In the time and memory of a process that has little of both."""
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", READ, str(tmp_path / "policy.yaml")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.stdout.startswith(f"ConfigError {said}"), (told.returncode, told.stdout, told.stderr[-300:])


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path):
    """A terabyte of nothing, which takes no room on the disk, is refused as what it is."""
    with (tmp_path / "policy.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="larger than 4,000,000 characters"):
        read_document(tmp_path / "policy.yaml")
