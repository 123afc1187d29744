"""Three callers with a story each, relative to now, for the demo and the agent desktop. Invented people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from nba.clock import DAY_MS, HOUR_MS
from nba.domain import Activity
from nba.rules import Value


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody to play with: what the operator knows, what they did, and what they call about today.

    `story`: one line for people, by locale. `next_event`: what "something happens" sends; its moment is left to the sender.
    """

    customer_id: str
    story: dict[str, str]
    profile: dict[str, Value]
    activity: tuple[Activity, ...]
    context: dict[str, Value]
    interaction_id: str
    next_event: dict[str, Value]


def callers(now_ms: int, zone: ZoneInfo) -> tuple[Caller, Caller, Caller]:
    """Mr. Kraus pays for more than he uses, Ms. Yildiz is angry, Mr. Novak is about to leave.

    `zone`: of the config's calendar months, so that each used what the story says in each of the last three whole months.
    """
    return _overpaying(now_ms, zone), _angry(now_ms, zone), _leaving(now_ms, zone)


class _Diary:
    """Writes the activity of one caller; event ids carry the moment, so that a second demo adds nothing twice."""

    def __init__(self, customer_id: str, now_ms: int, zone: ZoneInfo) -> None:
        self.customer_id, self.now_ms, self.zone = customer_id, now_ms, zone
        self.events: list[Activity] = []

    def at(self, at_ms: int, kind: str, channel: str, value: int | None = None, subject: str | None = None) -> None:
        if at_ms < self.now_ms:
            event_id = f"{self.customer_id}-{kind}-{at_ms}"
            self.events.append(Activity(event_id, self.customer_id, at_ms, channel, kind, value, subject))

    def ago(self, hours: float, kind: str, channel: str, value: int | None = None, subject: str | None = None) -> None:
        self.at(self.now_ms - int(hours * HOUR_MS), kind, channel, value, subject)

    def months(self, megabytes: Sequence[int], minutes: Sequence[int], bills: Sequence[int]) -> None:
        """Use and bills of whole months, the last month first; a month's bill comes with the month after."""
        for back, (data, talk, bill) in enumerate(zip(megabytes, minutes, bills, strict=True), start=1):
            start = month_start(self.now_ms, self.zone, back)
            for part in range(10):  # shares of a month: ten sessions that add up to the whole
                at_ms = start + (2 * part + 1) * DAY_MS + 9 * HOUR_MS
                self.at(at_ms, "data_used", "network", data * (part + 1) // 10 - data * part // 10)
                self.at(at_ms + HOUR_MS, "call_made", "network", talk * (part + 1) // 10 - talk * part // 10)
            self.at(month_start(self.now_ms, self.zone, back - 1) + 8 * HOUR_MS, "bill_issued", "app", bill)

    def this_month(self, megabytes_a_day: int) -> None:
        at_ms = month_start(self.now_ms, self.zone, 0) + 12 * HOUR_MS
        while at_ms < self.now_ms:
            self.at(at_ms, "data_used", "network", megabytes_a_day)
            at_ms += DAY_MS

    def written(self) -> tuple[Activity, ...]:
        return tuple(sorted(self.events, key=lambda event: (event.at_ms, event.event_id)))


def month_start(now_ms: int, zone: ZoneInfo, back: int) -> int:
    """The first instant of the calendar month `back` months before the one of now."""
    first = datetime.fromtimestamp(now_ms / 1000, zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(back):
        first = (first - timedelta(days=1)).replace(day=1)
    return round(first.timestamp() * 1000)


def _overpaying(now_ms: int, zone: ZoneInfo) -> Caller:
    diary = _Diary("c-1001", now_ms, zone)
    diary.months((2050, 2150, 1900, 1980), (230, 260, 210, 240), (4190, 4190, 4190, 4190))
    diary.this_month(65)
    diary.ago(27, "page_viewed", "web", subject="plans")
    diary.ago(26.5, "page_viewed", "web", subject="bill")
    diary.ago(5, "page_viewed", "app", subject="plans")
    return Caller(
        customer_id="c-1001",
        story={
            "en": "pays for 40 GB and uses about 2; has been comparing plans since yesterday",
            "de": "zahlt für 40 GB und nutzt etwa 2; vergleicht seit gestern Tarife",
        },
        profile=_profile("Mr.", "Dieter", "Kraus", "l-40", 41.90, tenure=31, ends=210, autopay=True),
        activity=diary.written(),
        context={"intent": "billing", "sentiment": 0.1},
        interaction_id="call-1001",
        next_event={"type": "complaint", "channel": "app", "subject": "bill"},
    )


def _angry(now_ms: int, zone: ZoneInfo) -> Caller:
    diary = _Diary("c-1002", now_ms, zone)
    diary.months((19_300, 22_800, 18_900, 17_700), (90, 120, 80, 110), (3490, 4690, 3490, 3490))
    diary.this_month(600)
    for hours in (150, 128, 101, 77, 52, 30, 9):
        diary.ago(hours, "call_dropped", "network")
    diary.ago(76, "speed_test", "app", value=2_400)
    diary.ago(75, "page_viewed", "web", subject="help")
    diary.ago(74, "support_contact", "chat", subject="slow internet")
    diary.ago(73.9, "complaint", "chat", subject="slow internet")
    diary.ago(50, "fix_tried", "app", subject="restarting the phone")
    diary.ago(28, "support_contact", "call", subject="slow internet")
    diary.ago(8, "speed_test", "app", value=3_100)
    return Caller(
        customer_id="c-1002",
        story={
            "en": "has slow internet and calls that break off, complained three days ago, calls for the third time",
            "de": "hat langsames Internet und abbrechende Gespräche, hat sich vor drei Tagen beschwert, ruft zum dritten Mal an",
        },
        profile=_profile("Ms.", "Leyla", "Yildiz", "m-20", 34.90, tenure=14, ends=300, autopay=True),
        activity=diary.written(),
        context={"intent": "technical", "sentiment": -0.7},
        interaction_id="call-1002",
        next_event={"type": "issue_resolved", "channel": "call", "subject": "slow internet"},
    )


def _leaving(now_ms: int, zone: ZoneInfo) -> Caller:
    diary = _Diary("c-1003", now_ms, zone)
    diary.months((49_800, 47_300, 45_900, 42_600), (310, 280, 340, 300), (7790, 6990, 6190, 4990))
    diary.this_month(1_500)
    for back, extra in ((1, 9), (2, 7), (3, 5)):  # gigabytes beyond 40, charged one by one at the month's end
        for number in range(extra):
            diary.at(month_start(now_ms, zone, back) + (22 * 24 + number * 5) * HOUR_MS, "top_up", "network", 400)
    diary.ago(60, "page_viewed", "web", subject="bill")
    diary.ago(49, "page_viewed", "web", subject="cancel")
    diary.ago(6, "page_viewed", "app", subject="cancel")
    return Caller(
        customer_id="c-1003",
        story={
            "en": "uses more than 40 GB, pays for extra gigabytes each month, has looked twice at how to cancel",
            "de": "nutzt mehr als 40 GB, zahlt jeden Monat Extra-Gigabyte, hat sich zweimal die Kündigung angesehen",
        },
        profile=_profile("Mr.", "Marek", "Novak", "l-40", 41.90, tenure=61, ends=24, autopay=True),
        activity=diary.written(),
        context={"intent": "billing", "sentiment": -0.2},
        interaction_id="call-1003",
        next_event={"type": "outage", "channel": "app"},
    )


def _profile(
    salutation: str, given: str, family: str, plan: str, price: float, *, tenure: float, ends: float, autopay: bool
) -> dict[str, Value]:
    person: dict[str, Value] = {"salutation": salutation, "given_name": given, "family_name": family, "locale": "en"}
    has: dict[str, Value] = {"autopay": autopay, "wifi_calling": True, "world_pass": False, "home_router": False}
    terms: dict[str, Value] = {"plan": plan, "monthly_price": price, "tenure_months": tenure, "contract_end_days": ends}
    return {**person, **terms, **has, "lines": 1.0, "addons_month": 0.0, "extra_data_gb": 0.0}
