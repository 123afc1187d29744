"""The roof: the verbs of `nba`. Each imports what it needs when it runs, so that `nba check` never loads LightGBM."""

from __future__ import annotations

import importlib
import sys

import typer

from nba.cli.output import fail
from nba.errors import NbaError

app = typer.Typer(
    name="nba",
    help="A next-best-action engine for customer service calls: one honest suggestion, inside the call.",
    epilog="Start with: nba demo   (or: nba demo --once)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = ("demo", "config", "serve", "key", "data", "learn", "decisions", "evaluate", "simulate")


def build() -> typer.Typer:
    """The application with every verb registered."""
    for module in VERBS:
        importlib.import_module(f"nba.cli.{module}").register(app)
    return app


def main() -> None:
    """Entry point of the `nba` command. Exit status: 0 done, 1 it ran and the answer is no, 2 bad input."""
    try:
        build()()
    except NbaError as error:
        fail(error, as_json="--json" in sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
