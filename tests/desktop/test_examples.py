"""The examples of docs/examples work as they stand: curl, Python and JavaScript."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def test_the_curl_example_gets_a_suggestion(service):
    """ask.sh puts a customer, sends activity and asks."""
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    env = {**os.environ, "NBA": service.url}
    ran = subprocess.run(["sh", EXAMPLES / "ask.sh"], env=env, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "Ms. Adler, let us first put this right" in ran.stdout


def test_the_python_example_reports_what_was_said(service):
    """ask.py says the sentence and reports that it was said."""
    command = [sys.executable, EXAMPLES / "ask.py", service.url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=ROOT)
    assert ran.stdout.startswith("Mr. Brandt, "), ran.stderr
    assert service.contacts("c-8")[0][1] == "spoken"


def test_the_javascript_example_reports_what_was_said(page_of, service, cast):
    """ask.js, in a browser, asks and reports."""
    source = (EXAMPLES / "ask.js").read_text(encoding="utf-8").replace("export async function", "async function")
    script = f"([base, customer]) => {{ {source}\n return ask(base, customer, 'call-9'); }}"
    said = page_of().evaluate(script, [service.url, cast["yildiz"]])
    assert said.startswith("Ms. Yildiz, ")
    assert service.contacts(cast["yildiz"])[0][1] == "spoken"
