"""What the README says is so."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kits.served import serving
from nba.config.shapes import Strict
from nba.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[str]:
    return (m[1] for m in re.finditer(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE))


def test_the_readme_lists_every_setting_with_its_default() -> None:
    """The table has every setting, its default, and no other."""
    rows = re.findall(r"^\| `NBA_(\w+)` \| (?:`([^`]*)`)? ?\|", README, re.MULTILINE)
    told = {name.lower(): default for name, default in rows}
    real = {name: "" if field.default is None else str(field.default) for name, field in Settings.model_fields.items()}
    assert {n: d.rstrip("0").rstrip(".") if "." in d else d for n, d in real.items()} == told


def test_every_field_of_a_config_is_told() -> None:
    """docs/config.md leaves none out: whoever writes a folder of their own has no other list."""
    told = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    shapes = [shape for shape in Strict.__subclasses__() if shape.__module__.startswith("nba.config.")]
    fields = {field.alias or name for shape in shapes for name, field in shape.model_fields.items()} - {"texts"}
    assert len(fields) > 60
    assert [name for name in sorted(fields) if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", told)] == []


def test_the_other_documents_are_linked_and_name_what_is_there() -> None:
    """Every page under docs/ is reached from the README, and the help names only files that are in the repository."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert f"](docs/{page.name})" in README
    help_ = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nba" / "cli").glob("*.py"))
    named = re.findall(r"docs/[\w-]+\.md", help_)
    assert named and all((ROOT / name).is_file() for name in named) and "contract, section" not in help_


def test_every_file_it_names_is_there() -> None:
    """Links and paths lead somewhere."""
    named = re.findall(r"`((?:nba|features|models|serving|benchmarks|tests|docs)/[\w./-]+)`", README)
    named += [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_figure_of_a_benchmark_is_in_a_result_file() -> None:
    """The README quotes only what was measured: the Megaline counts are those of the result."""
    found = json.loads((ROOT / "benchmarks" / "results" / "megaline.json").read_text())
    for value in (found["events"], found["months"], found["cheaper_months"]):
        assert f"{value:,}" in README
    assert all(goal["met"] for goal in found["goals"])


def test_the_commands_of_the_readme_do_not_age() -> None:
    """They name no date of their own: whoever types them in next year still gets a sentence about the last whole month."""
    assert [block for block in blocks("bash") if re.search(r"\b20\d\d-\d\d", block)] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl to run the README's commands with")
def test_the_commands_of_the_readme_work(tmp_path: Path) -> None:
    """Typed in as they stand, against a running service, they end in a sentence for Ms. Adler."""
    commands = next(block for block in blocks("bash") if "/v1/recommend" in block)
    with serving(tmp_path / "state") as client:
        script = commands.replace("localhost:8000", f"127.0.0.1:{client.base_url.port}")
        # The config's months, also in the hours in which they are not those of this machine.
        env = {**os.environ, "TZ": "Europe/Berlin"}
        done = subprocess.run(
            ["bash", "-euc", script], check=True, capture_output=True, text=True, timeout=180, env=env
        )
    answer = json.loads(done.stdout[done.stdout.rindex('{"decision_id"') :])
    assert answer["suggestions"][0]["say"].startswith("Ms. Adler, judging by your recent activity")
