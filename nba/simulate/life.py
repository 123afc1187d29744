"""What the customers do, day by day: use, pay, browse, travel, run into faults, complain. Activity in the contract's form.

Events stand between 06:00 and 18:00 UTC of their day, so a day is the same day in every time zone of Europe, and calls
to the service (17:59 and later) come after what happened that day.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import ceil, cos, pi

from nba.clock import DAY_MS, HOUR_MS
from nba.domain import Activity
from nba.simulate.population import Life, Tariff, World, addons_cents, calendar, day_of_month, extra_gb

FAULTS = ("line", "router", "sim", "bill")
ROAMING_FEE = 590  # cents for each day outside the EU without a pass
_GB = 1024


def live(
    life: Life, until_day: int, plans: Mapping[str, Tariff], world: World, until_call: bool = False
) -> list[Activity]:
    """Let a customer live through `until_day`; changes `life` and gives what they did, in order of time.

    `until_call`: stop on the evening of a day on which they call; `life.calling` says so.
    """
    events: list[Activity] = []
    life.calling = False
    while life.day < until_day and not life.gone and not life.calling:
        life.day += 1
        life.tenure_days += 1
        life.bother *= 0.985
        chance, amount = life.luck()
        events += _Day(life, plans[life.plan], world, chance, amount).events(plans)
        life.calling = until_call and chance[10] < call_rate(life, world)
    events.sort(key=_moment)
    return events


def call_rate(life: Life, world: World) -> float:
    """Chance that they call the service today."""
    if life.day - life.called_day < 2:
        return 0.0
    rate = world.calls_a_year / 365
    if life.fault is not None and life.day - life.fault_since > 1:
        rate += 0.07 if life.issue is None else 0.12
    bills = life.last_bills
    if len(bills) > 1 and bills[-1] > bills[-2] + 800 and day_of_month(life.day) < 7:
        rate += 0.06
    if 0 < life.trip_day - life.day < 14:
        rate += 0.02
    if life.contract_end_day - life.day < 60 and life.bother > life.traits.patience:
        rate += 0.03
    return rate


def _moment(event: Activity) -> int:
    return event.at_ms


@lru_cache(maxsize=4096)
def seasonal(day: int, swing: float) -> float:
    """Use of data over the year: more in summer, by `swing` as a share."""
    return 1.0 - swing * cos(2 * pi * (calendar(day).timetuple().tm_yday - 15) / 365)


class _Day:
    """One day of one customer. `chance`: uniform numbers, one for each thing that may happen; `done`: what did."""

    __slots__ = ("amount", "chance", "done", "drawn", "life", "plan", "world")

    def __init__(self, life: Life, plan: Tariff, world: World, chance: list[float], amount: float) -> None:
        self.life, self.plan, self.world = life, plan, world
        self.chance, self.amount = chance, amount
        self.done: list[Activity] = []
        self.drawn = 0

    def events(self, plans: Mapping[str, Tariff]) -> list[Activity]:
        """Everything that happens today."""
        date = day_of_month(self.life.day)
        if date == 1:
            self._month_begins(plans)
        self._use(plans)
        self._travel()
        self._browse()
        if self.life.fault is not None:
            self._broken()
        elif self.chance[6] < self.world.faults * (0.002 + 0.008 * (1 - self.life.traits.quality)):
            self._breaks()
        if date == 14 and not self.life.autopay and self.chance[0] < 0.07:
            self.life.bother += 0.2
            self._do("payment_failed", "app", value=self.plan.price)
        return self.done

    def _do(self, kind: str, channel: str, value: int | None = None, subject: str | None = None) -> None:
        life = self.life
        self.drawn += 1
        spread = (self.chance[9] * 997 + self.drawn * 0.6180339887) % 1.0
        at_ms = life.day * DAY_MS + 6 * HOUR_MS + int(spread * 11.5 * HOUR_MS)
        self.done.append(Activity(life.next_id(), life.customer_id, at_ms, channel, kind, value, subject))

    def _month_begins(self, plans: Mapping[str, Tariff]) -> None:
        life = self.life
        talk = (
            0
            if self.plan.minutes is None
            else max(0, life.month_minutes - int(self.plan.minutes)) * self.plan.minute_price
        )
        total = self.plan.price + addons_cents(life) + life.month_cents + talk + life.bill_error
        total -= 800 if life.credit_until > life.day else 0
        life.last_bills = [*life.last_bills[-5:], total]
        use = (life.month_mb / _GB, life.month_minutes)
        life.saved += (plans[life.first_plan].charge(*use) - self.plan.charge(*use, extra_gb(life, plans))) / 100
        life.month_mb = life.month_minutes = life.month_cents = life.month_top_ups = life.bill_error = 0
        self._do("bill_issued", "app", value=max(total, 0))

    def _use(self, plans: Mapping[str, Tariff]) -> None:
        life, traits = self.life, self.life.traits
        if life.day % 3 == 0:
            months = (life.day - life.since_day) / 30
            usual = traits.data_gb * traits.growth**months * seasonal(life.day, self.world.seasonality)
            megabytes = max(1, round(usual * _GB / 10 * self.amount))
            life.month_mb += megabytes
            self._do("data_used", "network", value=megabytes)
            if life.month_mb > self.plan.data_gb * _GB:
                self._top_ups(extra_gb(life, plans))
        if life.day % 6 == 1:
            minutes = round(traits.minutes / 5.07 * self.amount)
            life.month_minutes += minutes
            self._do("call_made", "network", value=minutes)
        if self.chance[1] < 0.06:
            self._do("message_sent", "network")

    def _top_ups(self, extra: float) -> None:
        life = self.life
        due = max(0, ceil(life.month_mb / _GB) - int(self.plan.data_gb + extra)) if self.plan.gb_price else 0
        for _ in range(due - life.month_top_ups):
            life.month_cents += self.plan.gb_price
            self._do("top_up", "network", value=self.plan.gb_price)
        life.month_top_ups = max(due, life.month_top_ups)

    def _travel(self) -> None:
        life = self.life
        ahead = life.trip_day - life.day
        if ahead <= 0 and life.pass_paused:  # "until you travel again"
            life.world_pass, life.pass_paused = True, False
        if ahead in (9, 6, 3) and not (life.world_pass or life.pass_paused):
            self._do("page_viewed", "web", subject="travel")
        if -5 < ahead <= 0:
            fee = 0 if life.world_pass else ROAMING_FEE
            life.month_cents += fee
            self._do("roaming_day", "network", value=fee, subject="outside the EU")
        if ahead <= -5:
            life.trip_day = life.day + 14 + int(365.0 / life.traits.travel * (0.3 + 1.4 * self.chance[2]))

    def _browse(self) -> None:
        life, traits = self.life, self.life.traits
        if self.chance[3] < 0.05 * traits.browsing:
            self._do("app_opened", "app")
        if self.chance[4] < 0.04 * traits.browsing:
            self._do("page_viewed", "web" if self.chance[3] < 0.5 else "app", subject=self._topic())
        leaving = life.bother / traits.patience / self.world.patience
        if self.chance[5] < 0.004 + 0.02 * leaving and life.contract_end_day - life.day < 120:
            self._do("page_viewed", "web", subject="cancel")

    def _topic(self) -> str:
        life, traits = self.life, self.life.traits
        wish = self.chance[5]
        if traits.family and life.lines < 2 and wish < 0.45:
            return "family"
        if traits.wants_phone and not life.phone and wish < 0.8:
            return "phones"
        bills = life.last_bills
        if len(bills) > 1 and bills[-1] > bills[-2] + 500:
            return "bill"
        return "plans" if wish < 0.9 else "help"

    def _broken(self) -> None:
        life, traits = self.life, self.life.traits
        lasting = life.day - life.fault_since
        self._symptoms()
        if life.issue is None and lasting > 3 and self.chance[7] < 0.10 / traits.patience:
            life.issue, life.issue_since = life.fault, life.day
            life.bother += 1.0
            kind = "outage" if life.fault == "line" and self.chance[8] < 0.3 else "complaint"
            self._do(kind, "chat" if self.chance[8] < 0.5 else "app", subject=life.fault)
        elif life.issue is not None and self.chance[7] < 0.05:
            life.bother += 0.3
            self._do("support_contact", "chat", subject=life.fault)
        if lasting > 5 and self.chance[8] > 0.96:
            self.done += mend(life, life.day * DAY_MS + 17 * HOUR_MS + 45 * 60_000)

    def _breaks(self) -> None:
        life = self.life
        weights = (0.4, 0.2 * life.traits.router, 0.15, 0.25)
        point = self.chance[7] * sum(weights)
        for kind, weight in zip(FAULTS, weights, strict=True):
            point -= weight
            if point < 0:
                life.fault, life.fault_since = kind, life.day
                break
        if life.fault == "bill":
            life.bill_error = 1500 + int(self.chance[8] * 2000)

    def _symptoms(self) -> None:
        kind, chance = self.life.fault, self.chance[1]
        self.life.bother += 0.02
        if kind == "line" and chance < 0.5:
            self._do("call_dropped", "network")
        if kind in ("line", "router") and chance > 0.8:
            slow = 3_000 if kind == "line" else 18_000
            self._do("speed_test", "app", value=slow + int(self.chance[2] * 4_000))
        if kind == "sim" and chance < 0.35:
            self._do("sim_error", "network")


def mend(life: Life, at_ms: int, interaction_id: str | None = None) -> list[Activity]:
    """The fault is gone; an issue that was open about it is closed."""
    subject, life.fault, life.bill_error = life.issue or life.fault, None, 0
    if life.issue is None:
        return []
    life.issue = None
    event_id = life.next_id()
    return [Activity(event_id, life.customer_id, at_ms, "call", "issue_resolved", None, subject, None, interaction_id)]
