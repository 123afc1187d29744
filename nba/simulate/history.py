"""A year's end of logged calls: simulated customers, and decisions of a policy that picked at random among what may be said.

Because every eligible offer had the same chance, the rows carry their exact propensities and a model can be learnt from
them without bias. Nothing here is real; whoever shows these rows calls them simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nba.candidates import PAIR_COLUMNS, Candidate, pair_values
from nba.config import Config
from nba.decide import Case, Decider
from nba.domain import Activity
from nba.rules import Value
from nba.simulate.calls import Memory, Ringing, answer, call_of
from nba.simulate.life import live
from nba.simulate.population import Life, Tariff, World, day_of_ms, populate, profile_of, tariffs

BEFORE_DAYS = 130  # three whole calendar months before the first call, and four bills
OVER_DAYS = 90
PLAIN = World()


@dataclass(frozen=True)
class History:
    """`activity`: all events, a customer's own in order of time. `profiles`: as of now, by customer id.

    `rows`: one shown offer each, the columns of the decision log (section 5 of the contract); `at` is a datetime in UTC.
    """

    activity: list[Activity] = field(default_factory=list)
    profiles: dict[str, dict[str, Value]] = field(default_factory=dict)
    rows: list[dict[str, Value | datetime | int]] = field(default_factory=list)

    def columns(self) -> dict[str, list[Value | datetime | int]]:
        """`rows` column by column, as `pyarrow.table` takes them."""
        names = self.rows[0] if self.rows else {}
        return {name: [row[name] for row in self.rows] for name in names}


def history(
    config: Config,
    customers: int,
    seed: int,
    now_ms: int,
    memory: Memory,
    *,
    calls: int = 3,
    world: World = PLAIN,
    progress: Callable[[int], None] = lambda done: None,
) -> History:
    """Customers who lived up to `now_ms` and called `calls` times each in the last 90 days.

    `memory`: an empty one; afterwards it knows all of them. `progress` hears how many are done. The same arguments give
    the same history.
    """
    made = History()
    decider = Decider(config)
    plans = tariffs(config.catalog)
    start = day_of_ms(now_ms) - OVER_DAYS - BEFORE_DAYS
    for number, life in enumerate(populate(plans, customers, seed, start)):
        progress(number)
        for day in _call_days(life, start + BEFORE_DAYS, calls):
            _remember(made, memory, life, live(life, day, plans, world))
            _one_call(made, memory, life, decider, plans, world)
        _remember(made, memory, life, live(life, day_of_ms(now_ms) - 1, plans, world))
        made.profiles[life.customer_id] = profile_of(life, plans)
        memory.put_profile(life.customer_id, made.profiles[life.customer_id], now_ms)
    made.rows.sort(key=lambda row: (str(row["at"]), str(row["decision_id"])))
    return made


def _call_days(life: Life, first: int, calls: int) -> list[int]:
    days = life.dice().integers(first, first + OVER_DAYS, calls).tolist()
    return sorted(set(days))


def _remember(made: History, memory: Memory, life: Life, events: Iterable[Activity]) -> None:
    events = list(events)
    memory.append(life.customer_id, events)
    made.activity.extend(events)


def _one_call(
    made: History, memory: Memory, life: Life, decider: Decider, plans: dict[str, Tariff], world: World
) -> None:
    call = call_of(life)
    memory.put_profile(life.customer_id, profile_of(life, plans), call.now_ms)
    case = decider.case(memory.read(life.customer_id, call.now_ms), call.request(life.customer_id))
    sayable = case.passed.candidates
    if not sayable:
        return
    offered = sayable[int(call.pick * len(sayable))]
    accepted, events, contact = answer(life, offered, call, plans, world)
    memory.append_contacts(life.customer_id, [contact])
    _remember(made, memory, life, events)
    made.rows.append(row_of(case, call, offered, 1.0 / len(sayable), accepted))


def row_of(
    case: Case, call: Ringing, offered: Candidate, propensity: float, accepted: bool, policy: str = "simulated-random"
) -> dict[str, Value | datetime | int]:
    """One row of the decision log, with the numbers of the pair as served, so that training need not compute them again."""
    head: Mapping[str, Value | datetime | int] = {
        "decision_id": case.request.decision_id,
        "at": datetime.fromtimestamp(call.now_ms / 1000, UTC),
        "customer_id": case.request.customer_id,
        "offer_id": offered.offer.id,
        "propensity": propensity,
        "rank": 1,
        "outcome": "accepted" if accepted else "declined",
        "policy": policy,
    }
    pair = zip((column.name for column in PAIR_COLUMNS), pair_values(offered), strict=True)
    return {**head, **{f"x.{name}": value for name, value in case.columns.items()}, **dict(pair)}
