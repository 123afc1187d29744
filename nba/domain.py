"""The nouns. Plain, frozen, without behaviour that needs the outside; every room may import them and they import no room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nba.rules import Value

Kind = Literal["resolve", "inform", "escalate", "optimize", "retain", "cross_sell", "up_sell"]
Outcome = Literal["shown", "spoken", "skipped", "accepted", "declined", "later"]
DelayedOutcome = Literal["churned", "stayed", "survey"]
Stage = Literal[
    "eligibility",
    "consent",
    "service_first",
    "contact",
    "authority",
    "max_cost",
    "dominated",
    "evidence",
    "arbitration",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
SERVICE_KINDS: frozenset[Kind] = frozenset({"resolve", "inform", "escalate"})
SALES_KINDS: frozenset[Kind] = frozenset({"cross_sell", "up_sell"})
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# The strongest thing that is known of a suggestion stands, whatever the order in which reports and rows came in.
STRENGTH: tuple[Outcome, ...] = ("accepted", "declined", "later", "spoken", "shown", "skipped")
DELAYED_OUTCOMES: tuple[DelayedOutcome, ...] = get_args(DelayedOutcome)
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True, slots=True)
class Activity:
    """One thing a customer did, on any channel. `value` is in minor units (an int64), its unit declared by the type."""

    event_id: str
    customer_id: str
    at_ms: int
    channel: str
    type: str
    value: int | None = None
    subject: str | None = None
    text: str | None = None
    interaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """One time an offer met this customer: what came of it, where and in which interaction."""

    at_ms: int
    offer_id: str
    outcome: Outcome
    channel: str
    decision_id: str = ""
    interaction_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ThreadEntry:
    """A line of the story so far, over all channels, in order of time."""

    at_ms: int
    channel: str
    activity: str
    subject: str | None = None
    text: str | None = None
    interaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class OpenIssue:
    """A problem that is not solved yet: opened by an activity with `opens_issue`, closed by one with `closes_issue`."""

    type: str
    since_ms: int
    channel: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class StatedIntent:
    """A service intent that an interaction was opened with, or that came up in it, and when it was first heard."""

    at_ms: int
    interaction_id: str
    intent: str


@dataclass(frozen=True, slots=True)
class Column:
    """A typed column of a decision row. Numbers are float64 (NaN when missing), categories str or None."""

    name: str
    dtype: Literal["number", "category", "boolean"]
    default: Value = None


@dataclass(frozen=True, slots=True)
class Customer:
    """What the store knows of one customer at `now_ms`.

    `features`: window and derived features by name, float64, NaN where there is no data and no declared default.
    `activity_at_ms`: newest event at or before now; None: no event. `closed_ms`: when the last issue was closed, and
    `closed_in` in which interaction. `bad_experience_ms`: the newest event of a type with `bad_experience` or
    `opens_issue`, and `bad_experience_in` its interaction. `intents`: service intents by interaction, kept so that an
    interaction has not to be told twice what it is about.
    `degraded`: what could not be read (empty when all is well), in the words of the contract's `degraded`.
    """

    customer_id: str
    features: Mapping[str, float]
    profile: Mapping[str, Value] = field(default_factory=dict)
    profile_at_ms: int | None = None
    contacts: tuple[Contact, ...] = ()
    thread: tuple[ThreadEntry, ...] = ()
    open_issues: tuple[OpenIssue, ...] = ()
    closed_ms: int | None = None
    closed_in: str | None = None
    bad_experience_ms: int | None = None
    bad_experience_in: str | None = None
    intents: tuple[StatedIntent, ...] = ()
    activity_at_ms: int | None = None
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of n candidates, in their order: float64 arrays of shape (n,), probabilities in [0, 1].

    `stay_if_accepted` and `stay_if_not`: P(still a customer after the horizon | accepted or not); None without a stay head.
    NaN marks an offer whose score is missing: it takes its own base rate, `base` where the model knows one (NaN: it does
    not), else the policy's for its kind.
    """

    accept: NDArray[np.float64]
    stay_if_accepted: NDArray[np.float64] | None = None
    stay_if_not: NDArray[np.float64] | None = None
    base: NDArray[np.float64] | None = None
