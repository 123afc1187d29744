"""The roof: the verbs of `nba`. Each imports what it needs when it runs, so that `nba check` never loads LightGBM."""

from __future__ import annotations

import importlib
import io
import sys

import typer

from nba.cli.output import fail
from nba.errors import InputError, NbaError

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
    as_json = "--json" in sys.argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale without the sign of the euro would end the verb
        sys.stdout.reconfigure(encoding="utf-8" if as_json else None, errors="replace")
    try:
        # Typer itself would tell a person of a wrong option, and leave a program without its document.
        status = build()(standalone_mode=not as_json)
    except NbaError as error:
        fail(error, as_json=as_json)
    except typer.TyperException as error:
        said = getattr(error, "format_message", error.__str__)()  # with the option's name, where there is one
        fail(InputError(f"{said.rstrip('.')}: see --help"), as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.filename is None:  # stdout itself, on a full disk: nothing more goes there
            sys.exit(f"{error.strerror or error}: the output could not be written")
        fail(
            InputError(f"{error.filename}: {error.strerror}: give a place that can be read and written"),
            as_json=as_json,
        )
    sys.exit(status)
