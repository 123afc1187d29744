"""The keeper of the embedded Redis: a small process between the engines of one state folder and their Redis.

Every engine holds a shared lock on one file for as long as it lives; the kernel lets go of it however the engine ends,
`kill -9` included. The keeper starts Redis, waits for the lock to be free, and ends it. So Redis lives exactly as long
as its last engine, and never becomes an orphan. When the keeper itself is killed, Linux ends Redis with it.

Run as `python keeper.py FOLDER REDIS ARGUMENT…`; the standard library only, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def keep(folder: Path, command: list[str]) -> int:
    """Run Redis until nobody holds `users.lock` any more; its exit status, or 3 where another keeper is at work."""
    mine = os.open(folder / "keeper.pid", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two Redis on one append-only file would spoil it
    except BlockingIOError:
        return 3
    os.ftruncate(mine, 0)
    os.write(mine, str(os.getpid()).encode())
    parent = os.getpid()
    redis = subprocess.Popen(command, preexec_fn=lambda: _die_with(parent))  # noqa: PLW1509, S603 - one thread so far
    signal.signal(signal.SIGTERM, lambda *_: redis.terminate())
    threading.Thread(target=_end_when_free, args=(folder / "users.lock", redis), daemon=True).start()
    return redis.wait()


def _die_with(parent: int) -> None:
    """In the child: be ended when the keeper ends. Elsewhere than on Linux a killed keeper leaves a Redis to be adopted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def _end_when_free(lock: Path, redis: subprocess.Popen[bytes]) -> None:
    # Held until this process is gone: an engine that comes now waits, finds no Redis, and starts its own.
    handle = os.open(lock, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    redis.terminate()


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), sys.argv[2:]))
