"""`nba simulate`: customers that live, call, accept and leave, against the real engine; the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nba.cli.output import ConfigName, Json, out, print_json, progress, settings_of, write_whole
from nba.config import Config
from nba.errors import InputError
from nba.load import find_config, load_config

if TYPE_CHECKING:
    from nba.cli.teacher import Trainer
    from nba.simulate import Result, World
    from nba.simulate.policies import Policy

START_MS = 1_763_856_000_000  # 23 November 2025: any fixed day, so that a seed gives the same world every time
VW = "vw"
GRID_POLICIES = ("margin", "acceptance", "engine")
NO_OTHERS: Mapping[str, Callable[[], Policy]] = MappingProxyType({})


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(epilog="Example: nba simulate --customers 500 --rounds 4 --policies random,margin,engine,oracle")(
        simulate
    )


def simulate(
    customers: Annotated[int, typer.Option(min=1, help="How many live in the world.")] = 1000,
    days: Annotated[int, typer.Option(min=7, help="How long; a customer calls about seven times a year.")] = 365,
    rounds: Annotated[int, typer.Option(min=1, help="Learners retrain between rounds: one time fewer than this.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Same seed: same customers, same luck, same result.")] = 1,
    policies: Annotated[str, typer.Option(help="Comma-separated; see above for all.")] = "",
    vw: Annotated[bool, typer.Option("--vw", help="Vowpal Wabbit SquareCB as a peer (extra: peers).")] = False,
    sensitivity: Annotated[bool, typer.Option("--sensitivity", help="Also in worlds with other settings.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with charts.")] = None,
    config: ConfigName = None,
    as_json: Json = False,
) -> None:
    """Let policies live with the same simulated customers, and hold each against the truth that no model sees.

    Policies: nothing, random (any eligible offer), random-passed (any that the whole funnel left), margin,
    margin-unruled, acceptance, engine, oracle. Money is in euros over the run, with the margin of three more years for
    who stayed. Nothing here is real: it shows what the engine does in a world of known rules, not what it would earn.
    """
    from nba.simulate import CONTENDERS
    from nba.simulate.population import World

    found_config = load_config(find_config(settings_of(config=config).config))
    named = [name.strip() for name in policies.split(",") if name.strip()] or list(CONTENDERS)
    if unknown := [name for name in named if name not in (*CONTENDERS, VW)]:
        raise InputError(f"--policies {unknown[0]}: choose from {', '.join((*CONTENDERS, VW))}")
    contenders = [*named, VW] if vw and VW not in named else named
    ask: dict[str, Any] = {"customers": customers, "days": days, "rounds": rounds, "seed": seed}
    results, trained = played(found_config, contenders, World(), ask)
    grid = list(grid_of(found_config, ask)) if sensitivity else []
    document = document_of(results, trained, grid, ask)
    if html is not None:
        write_whole(html, page_of(document))
    if as_json:
        print_json(document)
    else:
        _print(document, html)


def played(
    config: Config,
    contenders: Sequence[str],
    world: World,
    ask: Mapping[str, Any],
    title: str = "",
    *,
    learn_from: int | None = None,
    others: Mapping[str, Callable[[], Policy]] = NO_OTHERS,
) -> tuple[dict[str, Result], dict[str, list[str]]]:
    """Results by contender, and what each training said. `ask`: customers, days, rounds, seed; the others as in `contest`."""
    from features.spec import FeatureSpec
    from nba.cli.memory import LocalMemory
    from nba.simulate import contest

    trainers: dict[str, Trainer] = {}
    with TemporaryDirectory(prefix="nba-simulate-") as folder, progress(title or "simulate") as (bar, task):

        def new_teacher(name: str) -> Trainer:
            from nba.cli.teacher import Trainer

            trainers[name] = Trainer(config, Path(folder) / name, seed=int(ask["seed"]))
            return trainers[name]

        made = contest(
            config, lambda: LocalMemory(FeatureSpec(config.features)), new_teacher, contenders=contenders, world=world,
            start_ms=START_MS, learn_from=learn_from, others={**_peers(config, int(ask["seed"])), **others}, **ask,
            progress=lambda name, done: bar.update(
                task, completed=done, total=ask["customers"] * ask["rounds"], note=f"{title} {name}".strip()
            ),
        )  # fmt: skip
        return dict(made), {name: trainer.says for name, trainer in trainers.items()}


def _peers(config: Config, seed: int) -> dict[str, Callable[[], Policy]]:
    def new() -> Policy:
        from nba.cli.peer import SquareCB

        return SquareCB(config, seed)

    return {VW: new}


def grid_of(config: Config, ask: Mapping[str, Any], learn_from: int | None = None) -> Iterator[dict[str, Any]]:
    """World by world, each policy's share of the true gain in its own calls: 0 as a random passed one, 1 as the oracle's.

    Plans a fifth cheaper and a quarter dearer too. The mean over the rounds; with `learn_from` learners have learnt before.
    """
    from nba.simulate.sensitivity import with_prices, worlds

    shops = [(name, config, world) for name, world in worlds()]
    shops += [(f"prices {times:g}", with_prices(config, times), shops[0][2]) for times in (0.8, 1.25)]
    for name, shop, world in shops:
        results, _ = played(shop, GRID_POLICIES, world, ask, title=name, learn_from=learn_from)
        shares = {key: found.share_by_round for key, found in results.items()}
        yield {"world": name, **{key: round(sum(of) / len(of), 4) for key, of in shares.items()}}


def document_of(
    results: Mapping[str, Result],
    trained: Mapping[str, list[str]],
    grid: Sequence[Mapping[str, Any]],
    ask: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that was found, for machines."""
    return {
        "simulated": True,
        **ask,
        "policies": [_row(name, results) for name in results],
        "results": {name: found.as_json() for name, found in results.items()},
        "training": dict(trained),
        "sensitivity": list(grid),
    }


def _row(name: str, results: Mapping[str, Result]) -> dict[str, Any]:
    from nba.simulate import interval_of_share, share_of_oracle

    found = results[name]
    comparable = {"random", "oracle"} <= results.keys()
    return {
        "policy": name,
        "value_each": round(found.value / found.customers, 2),
        "share_of_oracle": share_of_oracle(results, name) if comparable else None,
        "share_interval": interval_of_share(results, name) if comparable else None,
        "regret_each": round(found.regret / found.customers, 2),
        "kept": found.kept,
        "saved_each": round(found.saved / found.customers, 2),
        "share_of_catalog": found.share_of_catalog,
        "violations": found.violations,
    }


def page_of(document: Mapping[str, Any]) -> str:
    """The page with charts."""
    from nba.simulate.page import page

    rounds = {
        name: (found["learning"] or found)["share_by_round"]
        for name, found in document["results"].items()
        if name not in ("nothing", "random", "margin-unruled")
    }
    return page(document["policies"], rounds, document["sensitivity"], _says(document))


def _says(document: Mapping[str, Any]) -> str:
    lived = f"seed {document['seed']}: {_customers(document)}, {document['days']} days, rounds: {document['rounds']}"
    value = "Value: margin of the run less the cost of calls, and of three more years for who stayed."
    return f"Simulated, {document.get('lived', lived)}. {value}"


def _customers(document: Mapping[str, Any]) -> str:
    return "1 customer" if document["customers"] == 1 else f"{document['customers']:,} customers"


def _print(document: Mapping[str, Any], html: Path | None) -> None:
    from nba.simulate.page import COLUMNS, LEGEND, cell

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for key, title in COLUMNS.items():
        table.add_column(title, no_wrap=True, justify="left" if key == "policy" else "right")
    for row in document["policies"]:
        table.add_row(*(cell(key, row[key]) for key in COLUMNS))
    out.print(_says(document))
    out.print(table)
    out.print(LEGEND)
    for name, found in document["results"].items():
        if parts := list(found["regret_by_choice"].items())[:3]:
            out.print(
                f"{name} missed most (said > oracle, euros over the run): "
                + ", ".join(f"{what} {euros:,.0f}" for what, euros in parts)
            )
    for row in document["sensitivity"]:
        others = ", ".join(f"{name} {value:+.2f}" for name, value in row.items() if name != "world")
        out.print(f"{row['world']}: share of the gain in the same calls: {others}")
    for name, lines in document["training"].items():
        out.print(f"{name} trained: {'; '.join(lines) or 'never, it takes more than one round'}")
    if html is not None:
        out.print(f"charts: {html}")
