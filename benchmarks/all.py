"""Every benchmark of the project, one after the other, and benchmarks/REPORT.md rendered from the results.

    .venv/bin/python benchmarks/all.py [--quick] [--report]

`--report` renders only. A benchmark that misses a goal does not stop the others; the exit status says if one did.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = (
    "megaline", "honesty", "decide", "store", "scoring", "training", "quality", "evaluation", "simulation", "latency", "faults",
    "streams",
)  # fmt: skip


def run(name: str, quick: bool) -> int:
    """Run one benchmark; its output passes through, its exit status is given back."""
    print(f"[{NAMES.index(name) + 1}/{len(NAMES)}] {name} …", flush=True)
    started = time.monotonic()
    command = [sys.executable, HERE / f"{name}.py", *(["--quick"] if quick else [])]
    status = subprocess.run(command, check=False).returncode
    print(f"[{NAMES.index(name) + 1}/{len(NAMES)}] {name}: {'all goals met' if status == 0 else 'not all goals met'}, "
          f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    return status


def shown(value: float | None) -> str:
    """Four digits of a figure."""
    return str(float(f"{value:.4g}")) if isinstance(value, float) else str(value)


def rendered(results: list[dict[str, Any]]) -> str:
    """The report: each goal with its figure and whether it is met, as the result files have them."""
    lines = [
        "# What was measured",
        "",
        "Rendered by `benchmarks/all.py` from the files under `benchmarks/results/`; nothing here is typed by hand.",
        "",
        "| benchmark | goal | wanted | measured | met | when | run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        for goal in result["goals"]:
            value = shown(goal["value"])
            if goal.get("interval"):
                value = f"{value} (95 %: {' to '.join(shown(end) for end in goal['interval'])})"
            met = "yes" if goal["met"] else "**no**"
            how = "quick" if result.get("quick") else "full"
            lines.append(
                f"| {result['benchmark']} | {goal['name']} | {goal['goal']} | {value} | {met} | {result['at'][:16]} | {how} |"
            )
    machines = {json.dumps(result["machine"], sort_keys=True): result["machine"] for result in results}
    lines += [
        "",
        "Machines: "
        + "; ".join(", ".join(f"{k} {v}" for k, v in machine.items()) for machine in machines.values())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Read the arguments, run what is asked, render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every benchmark in its quick form")
    parser.add_argument("--report", action="store_true", help="render the report from the results that are there")
    arguments = parser.parse_args()
    missed = 0 if arguments.report else sum(run(name, arguments.quick) != 0 for name in NAMES)
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((HERE / "results").glob("*.json"))]
    (HERE / "REPORT.md").write_text(rendered(results), encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
