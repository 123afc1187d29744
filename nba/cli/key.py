"""`nba key`: a new API key, and how it stands in NBA_API_KEYS without standing there."""

from __future__ import annotations

from typing import Annotated

import typer

from nba.cli.output import Json, out, print_json
from nba.errors import InputError


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(
        epilog="Example: nba key recommend write\n\nOf a key of your own: printf %s KEY | sha256sum   gives the HEX of"
        " sha256:HEX=recommend+write."
    )(key)


def key(
    scopes: Annotated[
        list[str] | None, typer.Argument(metavar="[SCOPE]…", help="recommend, write, admin; none given: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an API key: the caller gets the key, NBA_API_KEYS only its digest."""
    from serving.auth import SCOPES, entry, new_key

    if unknown := sorted(set(scopes or ()) - SCOPES):
        raise InputError(f"{', '.join(unknown)}: unknown scope: use {', '.join(sorted(SCOPES))}")
    made = new_key()
    stands = entry(made, scopes or ())
    if as_json:
        print_json({"key": made, "entry": stands})
        return
    out.print(f"the caller's key, kept nowhere: {made}")
    out.print(f"for NBA_API_KEYS:               {stands}")
