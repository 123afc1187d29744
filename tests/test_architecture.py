"""The arrows of the house, read from the imports. This file is their documentation.

nba.cli  ->  serving, models (retraining), nba.evaluate, nba.simulate
serving  ->  features, models
features, models  ->  the pure part of nba; no door between them
nba (but cli)  ->  itself
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "nba": {"nba"},
    "features": {"nba", "features"},
    "models": {"nba", "models"},
    "serving": {"nba", "features", "models", "serving"},
}
OWNERS = {
    "redis": {"features"},
    "lightgbm": {"models/train.py"},
    "onnxruntime": {"models/scorer.py"},
    "onnx": {"models/export.py"},
    "fastapi": {"serving"},
    "typer": {"nba/cli"},
}
FILES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(file: Path) -> Iterator[str]:
    """Every module a file names in an import, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_room_imports_only_the_rooms_below_it(file: Path) -> None:
    """No arrow points up, and nobody imports the roof."""
    room = file.relative_to(ROOT).parts[0]
    roof = name_of(file).startswith(("nba.cli", "nba.__main__"))
    for module in imports(file):
        top = module.split(".")[0]
        assert roof or top not in ROOMS or top in ROOMS[room], f"{name_of(file)} imports {module}"
        assert roof or not module.startswith("nba.cli"), f"{name_of(file)} imports the roof"


@pytest.mark.parametrize("library", OWNERS)
def test_a_heavy_library_has_one_owner(library: str) -> None:
    """redis, lightgbm, onnxruntime and fastapi are named in the files or the room that own them and nowhere else."""
    users = {str(f.relative_to(ROOT)) for f in FILES if any(m.split(".")[0] == library for m in imports(f))}
    assert not {user for user in users if not user.startswith(tuple(OWNERS[library]))}


def test_no_import_cycle() -> None:
    """The files can be put in an order in which each imports only earlier ones."""
    modules = {name_of(f): f for f in FILES}
    needs = {}
    for name, file in modules.items():
        found = {m if m in modules else m.rpartition(".")[0] for m in imports(file)}
        needs[name] = {m for m in found if m in modules and m != name}
    while ready := [name for name, wanted in needs.items() if not wanted & needs.keys()]:
        for name in ready:
            del needs[name]
    assert not needs, f"these import each other in a circle: {sorted(needs)}"


def test_serving_loads_neither_lightgbm_nor_pandas() -> None:
    """The serving process stays light."""
    code = (
        "import sys, serving.app; print(sorted({'lightgbm', 'pandas', 'pyarrow', 'matplotlib'} & sys.modules.keys()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ROOMS)
def test_each_package_is_this_checkout(package: str) -> None:
    """Another distribution that ships `features/` would replace ours without a word; see docs/adr/0001."""
    code = f"import {package}; print({package}.__file__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tests")
    assert Path(out.stdout.strip()).resolve().is_relative_to(ROOT)
