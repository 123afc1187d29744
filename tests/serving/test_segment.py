"""A file of lines that processes append to: whole lines only, whatever the disk or a signal does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from serving.segment import abandoned, documents, segments


def test_a_full_disk_is_refused_and_leaves_no_half_line(tmp_path):
    """The write that does not fit raises, the file ends in whole lines, and it goes on when there is room."""
    code = f"""
import resource, signal, sys
from datetime import date
from pathlib import Path
from serving.segment import Segment
from nba.errors import JournalError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
segment = Segment(Path({str(tmp_path)!r}), "d", 1)
segment.append(b'{{"a": 1}}')
resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
try:
    segment.append(b'{{"b": "' + b"x" * 100 + b'"}}')
except JournalError as error:
    print("refused", segment.size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
segment.append(b'{{"c": 1}}')
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "refused 9\n"
    [path] = segments(tmp_path, "d")
    assert list(documents(path)) == [{"a": 1}, {"c": 1}]


def test_what_a_killed_process_wrote_is_there(tmp_path):
    """kill -9 between two writes: every write that returned is in the file, and the file is free to be rolled."""
    code = f"""
import sys
from datetime import date
from pathlib import Path
from serving.segment import Segment
segment = Segment(Path({str(tmp_path)!r}), "d", 1)
while True:
    segment.append(b'{{"n": 1}}')
    print(1, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        seen = sum(1 for _ in zip(range(500), child.stdout, strict=False))
        [path] = segments(tmp_path, "d")
        with abandoned(path) as handle:
            assert handle is None
        os.kill(child.pid, signal.SIGKILL)
    with abandoned(path) as handle:
        assert handle is not None
    assert len(list(documents(path))) >= seen == 500
