"""The registry: whole versions or none, one champion, and nothing half done whoever writes at the same time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from models.registry import Registry, verified
from nba.errors import ModelError, NotFoundError, RefusedError, UnavailableError

NAMES = [f"2026010{i}T000000-00000{i}" for i in range(1, 6)]


def files(passed: bool = True, model: bytes = b"onnx") -> dict[str, bytes]:
    certificate = {"passed": passed, "onnx_sha256": hashlib.sha256(model).hexdigest()}
    return {"model.onnx": model, "schema.json": b"{}", "certificate.json": json.dumps(certificate).encode()}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def test_a_version_is_kept_and_found(registry: Registry) -> None:
    """What is written is listed, oldest first, and verified."""
    for name in reversed(NAMES[:3]):
        registry.write(name, files())
    assert registry.versions() == NAMES[:3]
    assert verified(registry.path(NAMES[0]))["model.onnx"] == b"onnx"
    assert registry.champion() is None


def test_promotion_and_rollback_go_through_the_history(registry: Registry) -> None:
    """Rolling back gives the champion before, and once there is none before it refuses."""
    for name in NAMES[:2]:
        registry.write(name, files())
        registry.promote(name)
    assert registry.champion() == NAMES[1]
    assert registry.rollback() == NAMES[0]
    assert registry.champion() == NAMES[0]
    with pytest.raises(RefusedError):
        registry.rollback()
    assert registry.champion() == NAMES[0]


def test_no_certificate_no_promotion(registry: Registry) -> None:
    """A failed certificate, or one for another file, keeps the champion where it is."""
    registry.write(NAMES[0], files())
    registry.promote(NAMES[0])
    registry.write(NAMES[1], files(passed=False))
    registry.write(NAMES[2], files() | {"model.onnx": b"another"})
    for name in NAMES[1:3]:
        with pytest.raises(RefusedError, match="certificate"):
            registry.promote(name)
    assert registry.champion() == NAMES[0]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_an_altered_version_is_refused(registry: Registry, damage: str) -> None:
    """A flipped byte, a cut file, a missing file and a broken manifest are each told, and never promoted."""
    folder = registry.write(NAMES[0], files(model=b"a model of some bytes"))
    model = folder / "model.onnx"
    match damage:
        case "flip":
            model.write_bytes(b"A model of some bytes")
        case "cut":
            model.write_bytes(b"a model")
        case "remove":
            model.unlink()
        case "manifest":
            (folder / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="train again"):
        registry.promote(NAMES[0])
    assert registry.champion() is None


def test_an_unknown_version_is_not_found(registry: Registry) -> None:
    """The message says which there are."""
    registry.write(NAMES[0], files())
    with pytest.raises(NotFoundError, match=NAMES[0]):
        registry.promote("20990101T000000-ffffff")


def test_a_full_disk_leaves_nothing_behind(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills up during the write there is no version, no rest of one, and the champion stays."""
    registry.write(NAMES[0], files())
    registry.promote(NAMES[0])
    before = sorted(p.name for p in registry.root.iterdir())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnavailableError, match="make room"):
        registry.write(NAMES[1], files())
    with pytest.raises(UnavailableError, match="make room"):
        registry.rollback() if len(registry.history()) > 1 else registry._point([NAMES[0]])
    monkeypatch.undo()
    assert sorted(p.name for p in registry.root.iterdir()) == before
    assert registry.champion() == NAMES[0]


def test_a_broken_pointer_is_told_and_promoting_mends_it(registry: Registry) -> None:
    """The way out that the message names works."""
    registry.write(NAMES[0], files())
    registry.promote(NAMES[0])
    (registry.root / "champion.json").write_text("not json")
    with pytest.raises(ModelError, match="nba models promote"):
        registry.champion()
    registry.promote(NAMES[0])
    assert registry.champion() == NAMES[0]


def test_many_writers_do_no_harm(registry: Registry) -> None:
    """Four processes that write and promote at once: every version whole, every promotion in the history once."""
    script = """
        import hashlib, json, sys
        from pathlib import Path
        from models.registry import Registry
        registry, writer = Registry(Path(sys.argv[1])), int(sys.argv[2])
        for turn in range(10):
            model = b"x" * 50_000
            certificate = json.dumps({"passed": True, "onnx_sha256": hashlib.sha256(model).hexdigest()}).encode()
            name = f"202601{turn + 10}T000000-00000{writer}"
            registry.write(name, {"model.onnx": model, "schema.json": b"{}", "certificate.json": certificate})
            registry.promote(name)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(registry.root)]
    writers = [subprocess.Popen([*command, str(i)]) for i in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert len(registry.versions()) == 40
    assert sorted(registry.history()) == registry.versions()
    for version in registry.versions():
        verified(registry.path(version))
