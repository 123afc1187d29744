"""The registry: whole versions or none, one champion, and nothing half done whoever writes at the same time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import textwrap

import pytest

from kits.versions import version_files
from models.registry import Registry, verified
from models.schema import Schema
from models.scorer import check_runs
from nba.errors import ModelError, NotFoundError, RefusedError, UnavailableError

NAMES = [f"2026010{i}T000000-00000{i}" for i in range(1, 6)]


def test_a_version_is_kept_and_found(registry: Registry) -> None:
    """What is written is listed, oldest first, and verified."""
    for name in reversed(NAMES[:3]):
        registry.write(name, version_files())
    assert registry.versions() == NAMES[:3]
    assert verified(registry.path(NAMES[0]))["model.onnx"] == b"onnx"
    assert registry.champion() is None


def test_promotion_and_rollback_go_through_the_history(registry: Registry) -> None:
    """Rolling back gives the champion before, and once there is none before it refuses."""
    for name in NAMES[:2]:
        registry.write(name, version_files())
        registry.promote(name)
    assert registry.champion() == NAMES[1]
    assert registry.rollback() == (NAMES[0], [])
    assert registry.champion() == NAMES[0]
    with pytest.raises(RefusedError):
        registry.rollback()
    assert registry.champion() == NAMES[0]


def test_no_certificate_no_promotion(registry: Registry) -> None:
    """A failed certificate, or one for another file, keeps the champion where it is."""
    registry.write(NAMES[0], version_files())
    registry.promote(NAMES[0])
    registry.write(NAMES[1], version_files(passed=False))
    registry.write(NAMES[2], version_files() | {"model.onnx": b"another"})
    for name in NAMES[1:3]:
        with pytest.raises(RefusedError, match="certificate"):
            registry.promote(name)
    assert registry.champion() == NAMES[0]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_an_altered_version_is_refused(registry: Registry, damage: str) -> None:
    """A flipped byte, a cut file, a missing file and a broken manifest are each told, and never promoted."""
    folder = registry.write(NAMES[0], version_files(model=b"a model of some bytes"))
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


@pytest.mark.parametrize("name", ["../secret.txt", "/dev/zero", "link", ".", "report/../../secret.txt"])
def test_a_version_names_only_files_of_its_own(registry: Registry, name: str) -> None:
    """A folder that was copied from elsewhere reads nothing else of this machine, and nothing that never ends."""
    folder = registry.write(NAMES[0], version_files())
    (registry.root / "secret.txt").write_bytes(b"secret")
    (folder / "link").symlink_to("/dev/zero")
    (folder / "report").mkdir()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["sha256"][name] = hashlib.sha256(b"secret").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="is no file of it"):
        verified(folder)


def test_an_unknown_version_is_not_found(registry: Registry) -> None:
    """The message says which there are."""
    registry.write(NAMES[0], version_files())
    with pytest.raises(NotFoundError, match=NAMES[0]):
        registry.promote("20990101T000000-ffffff")


def test_a_full_disk_leaves_nothing_behind(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills up during the write there is no version, no rest of one, and the champion stays."""
    registry.write(NAMES[0], version_files())
    registry.promote(NAMES[0])
    before = sorted(p.name for p in registry.root.iterdir())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UnavailableError, match="make room"):
        registry.write(NAMES[1], version_files())
    with pytest.raises(UnavailableError, match="make room"):
        registry.rollback() if len(registry.history()) > 1 else registry._point([NAMES[0]])
    monkeypatch.undo()
    assert sorted(p.name for p in registry.root.iterdir()) == before
    assert registry.champion() == NAMES[0]


def test_a_broken_pointer_is_told_and_promoting_mends_it(registry: Registry) -> None:
    """The way out that the message names works."""
    registry.write(NAMES[0], version_files())
    registry.promote(NAMES[0])
    (registry.root / "champion.json").write_text("not json")
    with pytest.raises(ModelError, match="nba models promote"):
        registry.champion()
    registry.promote(NAMES[0])
    assert registry.champion() == NAMES[0]


@pytest.mark.parametrize("verb", ["champion", "promote", "write"])
def test_a_folder_in_the_place_of_the_pointer_is_told_as_what_it_is(registry: Registry, verb: str) -> None:
    """Room or another promotion would not help: it has to be taken away. A version can be kept meanwhile."""
    registry.write(NAMES[0], version_files())
    in_the_way = registry.root / "champion.json"
    in_the_way.mkdir()
    told = pytest.raises(
        (ModelError, UnavailableError), match=r"champion\.json is a folder.*take it away, then promote"
    )
    match verb:
        case "champion":
            with told:
                registry.champion()
        case "promote":
            with told:
                registry.promote(NAMES[0])
        case "write":
            registry.write(NAMES[1], version_files())
            assert registry.versions() == NAMES[:2]
    in_the_way.rmdir()
    registry.promote(NAMES[0])
    assert registry.champion() == NAMES[0]
    assert not list(registry.root.glob(".champion*"))


@pytest.mark.parametrize("text", ['{"history": 5}', "null", '"abc"', '{"history": "abc"}', '{"history": [1]}', "[]"])
def test_a_pointer_of_another_shape_is_told(registry: Registry, text: str) -> None:
    """JSON that is no history is as broken as no JSON."""
    registry.write(NAMES[0], version_files())
    (registry.root / "champion.json").write_text(text)
    with pytest.raises(ModelError, match="nba models promote"):
        registry.history()


@pytest.mark.parametrize("text", [b"[]", b"null", b"{", b'{"passed": true}'])
def test_a_certificate_of_another_shape_promotes_nothing(registry: Registry, text: bytes) -> None:
    """Whatever the file holds, without a passed certificate the answer is no and not a traceback."""
    registry.write(NAMES[0], version_files() | {"certificate.json": text})
    with pytest.raises(RefusedError, match="certificate"):
        registry.promote(NAMES[0])


def test_a_promotion_counts_only_against_the_champion_it_was_judged_by(registry: Registry) -> None:
    """Of two versions judged against the same champion the second is not promoted over the first."""
    for name in NAMES[:3]:
        registry.write(name, version_files())
    assert registry.promote_over(NAMES[0], None)
    assert not registry.promote_over(NAMES[1], None)
    assert registry.promote_over(NAMES[1], NAMES[0])
    assert not registry.promote_over(NAMES[2], NAMES[0])
    assert registry.history() == NAMES[:2]


def test_what_does_not_run_is_not_promoted(registry: Registry) -> None:
    """Foreign bytes with a manifest and a certificate that fit them still have to load and answer."""
    registry.write(NAMES[0], version_files(schema=Schema(())))
    with pytest.raises(ModelError, match="ONNX"):
        registry.promote(NAMES[0], prove=check_runs)
    assert registry.champion() is None


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_rollback_passes_over_what_cannot_serve(registry: Registry, damage: str) -> None:
    """A predecessor that was deleted or altered is named and left out; the one before it serves."""
    for name in NAMES[:3]:
        registry.write(name, version_files())
        registry.promote(name)
    if damage == "gone":
        shutil.rmtree(registry.root / NAMES[1])
    else:
        (registry.root / NAMES[1] / "model.onnx").write_bytes(b"rot")
    version, passed_over = registry.rollback()
    assert version == registry.champion() == NAMES[0]
    assert len(passed_over) == 1
    assert NAMES[1] in passed_over[0]


def test_rollback_without_a_whole_predecessor_changes_nothing(registry: Registry) -> None:
    """Where every earlier champion is gone the one that serves stays."""
    for name in NAMES[:2]:
        registry.write(name, version_files())
        registry.promote(name)
    shutil.rmtree(registry.root / NAMES[0])
    with pytest.raises(RefusedError, match=NAMES[0]):
        registry.rollback()
    assert registry.champion() == NAMES[1]


def test_the_next_write_clears_what_a_killed_one_left(registry: Registry) -> None:
    """Half a version and half a pointer of a dead process do not stay on the disk for ever."""
    registry.write(NAMES[0], version_files())
    (registry.root / f".{NAMES[1]}.4194000").mkdir()
    (registry.root / f".{NAMES[1]}.4194000" / "model.onnx").write_bytes(b"half")
    (registry.root / ".champion.json.4194000").write_text("half")
    registry.write(NAMES[2], version_files())
    assert {path.name for path in registry.root.iterdir()} == {NAMES[0], NAMES[2], ".lock"}


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
