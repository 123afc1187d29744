"""The page of a version: self-contained, told in words, and shown by a real browser where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kits.decisions import NOW_MS, make_rows
from models.drivers import drivers
from models.learned import Options
from models.registry import Registry
from models.schema import Schema, SchemaColumn
from models.train import train
from nba.config import Config

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell")


def browser() -> str | None:
    """A Chromium on PATH, or the one that Playwright keeps."""
    kept = sorted((Path.home() / ".cache" / "ms-playwright").glob("chromium*/chrome-*/*chrome*"))
    found = [shutil.which(name) for name in BROWSERS]
    return next((path for path in found if path), str(kept[-1]) if kept else None)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    registry = Registry(tmp_path_factory.mktemp("page") / "models")
    options = Options(threads=1)
    train(make_rows(1500), config, registry, now_ms=NOW_MS, options=options)
    second = train(make_rows(1800), config, registry, now_ms=NOW_MS + 1000, options=options)
    return second.folder / "report.html"


def test_the_page_needs_nothing_from_outside(page: Path) -> None:
    """No script, no link, no image that would be fetched: it opens from a mail as well."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|<img|@import|url\(\s*['\"]?(?!#)", text)
    assert not re.findall(r"(?:src|href)\s*=\s*['\"](?!#)", text)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0, 0, 0, 0, 0, 1, 2], "(more than 0 against the rest), the less likely to accept (odds times 2.72)"),
        ([3, 3, 3, 3, 3, 1, 2], "(3 and more against the rest), the more likely to accept (odds times 2.72)"),
        ([2, 2, 2, 2, 2, 1, 3], "neither more nor less is better for all (most have 2)"),
    ],
    ids=["a count that is mostly nothing", "a column that mostly has its largest value", "no direction"],
)
def test_a_column_that_is_the_same_for_most_has_a_direction(config: Config, values: list[int], says: str) -> None:
    """Whoever declined before is pushed down although two thirds never did: nobody reads that more is not worse."""
    schema = Schema((SchemaColumn("pair.declined_before", "number"),))
    pushes = np.array([0.2, 0.2, 0.2, 0.2, 0.2, -0.8, -0.8 if values[0] != 2 else 0.0] * 20)
    found = drivers(schema, np.array(values * 20, dtype=np.float32)[:, None], pushes[:, None], config, "accept")
    assert says in found[0].says


def test_the_page_says_what_a_person_asks(page: Path) -> None:
    """Gates, honesty, order, offers, kinds, what matters, what moved, drivers, and what changed against the champion."""
    text = page.read_text(encoding="utf-8")
    for words in ("Gates", "Acceptance", "Honesty", "By offer", "By kind", "What matters", "What moved", "What drives"):
        assert words in text
    assert "Against the champion 2" in text
    assert text.count("<svg") == 3


@pytest.mark.skipif(browser() is None, reason="no Chromium on this machine")
def test_a_real_browser_shows_the_page(page: Path, tmp_path: Path) -> None:
    """It is laid out with its headings and charts, and the browser reports no error."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    command = [str(browser()), *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    assert "<h1>Model " in done.stdout
    assert done.stdout.count("<svg") == 3
    assert "CONSOLE" not in done.stderr
