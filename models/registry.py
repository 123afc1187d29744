"""Model versions as folders under the state folder; which one is the champion is one small file, replaced atomically.

models/20261123T101500-ab12cd/{model.onnx, schema.json, accept.txt, certificate.json, …, manifest.json}
models/champion.json     {"history": [oldest, …, champion]}
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from nba.errors import ModelError, NotFoundError, RefusedError, UnavailableError
from nba.folders import make_private, sync_folder, write_forced, write_whole

MANIFEST = "manifest.json"
_VERSION = re.compile(r"^\d{8}T\d{6}-[0-9a-f]{6}$")
_POINTER = "champion.json"
_STAGING = re.compile(r"^\.(\d{8}T\d{6}-[0-9a-f]{6}|champion\.json)\.\d+$")
Prove: TypeAlias = Callable[[Mapping[str, bytes]], None]


class Registry:
    """The versions under `root`. Several processes may use it at once: writers wait for each other."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> list[str]:
        """Every complete version, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if _VERSION.match(p.name) and (p / MANIFEST).is_file())

    def path(self, version: str) -> Path:
        """The folder of a version. Raises NotFoundError."""
        if version not in self.versions():
            known = ", ".join(self.versions()) or "none yet, run `nba train`"
            raise NotFoundError(f"no model {version!r} in {self.root}: there are {known}")
        return self.root / version

    def champion(self) -> str | None:
        """The promoted version, None before the first. Raises ModelError when the pointer cannot be read."""
        history = self.history()
        return history[-1] if history else None

    def history(self) -> list[str]:
        """Every promotion, the champion last. Raises ModelError when the pointer cannot be read."""
        try:
            return _history(json.loads((self.root / _POINTER).read_bytes()))
        except FileNotFoundError:
            return []
        except IsADirectoryError as error:
            raise ModelError(self._in_the_way()) from error
        except (ValueError, OSError) as error:
            raise ModelError(
                f"{self.root / _POINTER} cannot be read ({error}): `nba models promote VERSION`"
            ) from error

    def check(self) -> None:
        """Before hours of training. Raises UnavailableError (no version could be kept), ModelError (whom to beat is unknown)."""
        with self._lock():
            self.history()

    def write(self, version: str, files: Mapping[str, bytes]) -> Path:
        """Keep a version: all of its files are on disk under its name, or nothing is.

        Raises UnavailableError when the disk does not take it. A version that is there already is left as it is.
        """
        with self._lock():
            target = self.root / version
            if version in self.versions():
                return target
            staging = self.root / f".{version}.{os.getpid()}"
            try:
                _write_all(staging, {**files, MANIFEST: _manifest(files)})
                staging.rename(target)
                sync_folder(self.root)
            except OSError as error:
                raise UnavailableError(
                    f"{target} could not be written ({error}): make room, then train again"
                ) from error
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            return target

    def promote(self, version: str, prove: Prove = lambda files: None) -> None:
        """Make a version the champion. `prove` gets its files first, and raises where they do not run.

        Raises NotFoundError, ModelError (altered, does not run), RefusedError (no passed certificate).
        """
        with self._lock():
            self._promoted(version, self._readable_history(), prove)

    def promote_over(self, version: str, judged_against: str | None) -> bool:
        """Make a version the champion while the champion is the one it was judged against; whether it was. Raises too."""
        with self._lock():
            history = self.history()
            unchanged = (history[-1] if history else None) == judged_against
            if unchanged:
                self._promoted(version, history)
            return unchanged

    def rollback(self) -> tuple[str, list[str]]:
        """Go back to the newest earlier champion that is whole: its name, and why each one between was passed over.

        Raises RefusedError when there is none.
        """
        with self._lock():
            history, passed_over = self.history()[:-1], []
            while history:
                if why := self._why_not(history[-1]):
                    passed_over.append(why)
                    history.pop()
                else:
                    self._point(history)
                    return history[-1], passed_over
            without = "; ".join(["there is no earlier champion to go back to", *passed_over])
            raise RefusedError(f"{without}: promote a version by its name")

    def _why_not(self, version: str) -> str:
        try:
            verified(self.path(version))
        except ModelError as error:
            return str(error)
        except NotFoundError:
            return f"{version}: deleted"
        return ""

    def _promoted(self, version: str, history: list[str], prove: Prove = lambda files: None) -> None:
        files = verified(self.path(version))
        if not certified(files):
            raise RefusedError(f"{version} has no passed parity certificate: train again")
        prove(files)
        if history[-1:] != [version]:
            self._point([*history, version])

    def _readable_history(self) -> list[str]:
        try:
            return self.history()
        except ModelError:  # promoting is the way out of a broken pointer
            return []

    def _point(self, history: list[str]) -> None:
        try:
            write_whole(self.root / _POINTER, json.dumps({"history": history}, indent=1).encode())
        except OSError as error:
            told = f"{self.root} could not be written ({error}): make room, then promote again"
            raise UnavailableError(self._in_the_way() if isinstance(error, IsADirectoryError) else told) from error

    def _in_the_way(self) -> str:
        """No promotion replaces a folder by a file."""
        return f"{self.root / _POINTER} is a folder where a file has to be: take it away, then promote a version"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            make_private(self.root)
            file = (self.root / ".lock").open("w")
        except OSError as error:
            raise UnavailableError(f"{self.root} cannot be written ({error}): set NBA_STATE_DIR") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._clear()
            yield

    def _clear(self) -> None:
        """Remove what killed writers left: whoever holds the lock is the only one that writes."""
        for path in self.root.iterdir():
            if _STAGING.match(path.name):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def verified(folder: Path) -> dict[str, bytes]:
    """The files of a version as the manifest knows them, by name. Raises ModelError: missing, altered, foreign."""
    try:
        manifest: dict[str, str] = json.loads((folder / MANIFEST).read_bytes())["sha256"]
        files = {name: _own_file(folder, name).read_bytes() for name in sorted(manifest)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder.name}: not a whole model ({error}): roll back, or train again") from error
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != manifest[name]:
            raise ModelError(f"{folder.name}: {name} is not what was trained: roll back, or train again")
    missing = {"model.onnx", "schema.json", "certificate.json"} - files.keys()
    if missing:
        raise ModelError(f"{folder.name}: {min(missing)} is missing: roll back, or train again")
    return files


def _own_file(folder: Path, name: str) -> Path:
    """A file of a version. A folder that came from elsewhere may name any place of this machine, or a device without an end."""
    path = folder / name
    if path.parent != folder or path.name != name or path.is_symlink() or not path.is_file():
        raise ValueError(f"{name!r} is no file of it")
    return path


def certified(files: Mapping[str, bytes]) -> bool:
    """Whether the parity certificate passed, for exactly this ONNX file."""
    try:
        certificate = json.loads(files["certificate.json"])
    except ValueError:
        return False
    if not isinstance(certificate, dict):
        return False
    same = certificate.get("onnx_sha256") == hashlib.sha256(files["model.onnx"]).hexdigest()
    return same and certificate.get("passed") is True


def _history(document: Any) -> list[str]:
    history = document.get("history") if isinstance(document, dict) else None
    if not isinstance(history, list) or not all(isinstance(version, str) for version in history):
        raise ValueError('it has to hold {"history": [VERSION, …]}')
    return history


def _manifest(files: Mapping[str, bytes]) -> bytes:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return json.dumps({"sha256": sums}, indent=1).encode()


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        write_forced(folder / name, content)
    sync_folder(folder)
