"""What a config folder may say: features.yaml, catalog.yaml and policy.yaml as frozen types.

`nba.load.load_config(folder)` is the only door to a `Config`; one that came through it is sound.
"""

from __future__ import annotations

import math
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from nba.domain import Column, Kind

Take = Literal["count", "sum", "mean", "min", "max", "last", "distinct", "hours_since", "trend", "streak"]
FieldType = Literal["number", "category", "boolean", "text"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=80)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=120)]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2}(?:[-_][A-Za-z]{2})?$")]
Texts = dict[Locale, str]


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number: write one, or leave the field out")
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no finite number: write one, or leave the field out")
    return value


# YAML reads yes, on and true as truth values, and pydantic would take them for 1.
Number = Annotated[float, BeforeValidator(_no_truth)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Plain = Annotated[bool | float | str, BeforeValidator(_finite)]

# Always allowed in a profile, declared or not: who the person is, and what they allow. Never a model's column.
STANDARD_PROFILE: dict[str, FieldType] = {
    "salutation": "text", "given_name": "text", "family_name": "text", "locale": "text",
    "vulnerable": "boolean", "marketing_consent": "boolean", "tenure_months": "number",
}  # fmt: skip
_DURATION = re.compile(r"^([1-9]\d*)([mhdw])$")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
MAX_MONTHS_BACK = 36
_MONTH = re.compile(r"^month(?:-(\d{1,2}))?$")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Window(BaseModel):
    """A sliding duration (`span_ms`) or a calendar month (`months_back`: 0 is the month so far, 1 the whole one before)."""

    model_config = ConfigDict(frozen=True)
    text: str
    span_ms: int | None = None
    months_back: int | None = None

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: Any) -> Any:
        """`90m`, `6h`, `30d`, `2w`, `month`, `month-1` … `month-36`."""
        if not isinstance(text, str):
            return text
        if duration := _DURATION.match(text):
            return cls(text=text, span_ms=int(duration[1]) * _UNIT_MS[duration[2]])
        if (month := _MONTH.match(text)) and int(month[1] or 0) <= MAX_MONTHS_BACK:
            return cls(text=text, months_back=int(month[1] or 0))
        raise ValueError(f"{text!r} is no window: write a duration (90m, 6h, 30d, 2w) or month, month-1, month-2 …")


class ActivityType(_Strict):
    """An event type that may arrive. `thread`: whether the thread tells it; left out, it is told when it has a `text` or no
    `unit` (what is measured is no story). `text`: how the thread tells it, by locale, with {subject} and {text}."""

    unit: str | None = None
    opens_issue: bool = False
    closes_issue: bool = False
    bad_experience: bool = False
    thread: bool | None = None
    text: Texts = {}

    @property
    def told(self) -> bool:
        """Whether the thread tells it."""
        return bool(self.text) or self.unit is None if self.thread is None else self.thread


class Feature(_Strict):
    """A window feature (`of`, `take`, `window`, `where`) or a derived one (`is`: CEL over the others)."""

    name: Name
    of: str | None = None
    take: Take | None = None
    window: Annotated[Window | None, BeforeValidator(Window.parse)] = None
    where: dict[
        Literal["subject", "channel"],
        Annotated[tuple[str, ...], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)],
    ] = {}
    derived: str | None = Field(None, alias="is")
    default: Number | None = None
    label: Texts = {}

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.derived is None) == (self.of is None):
            raise ValueError("needs either `of` with `take` (a window feature) or `is` (a derived one)")
        if self.derived is not None and (self.take or self.window or self.where):
            raise ValueError("a derived feature has only `is`: move take, window and where to the features it reads")
        if self.of is not None and self.take is None:
            raise ValueError("needs `take`: count, sum, mean, min, max, last, distinct, hours_since, trend or streak")
        if self.take == "trend" and (self.window is None or self.window.span_ms is None):
            raise ValueError("`trend` compares a window with the one before it: give `window` a duration such as 30d")
        return self

    @property
    def missing(self) -> float:
        """What the feature is when there is nothing to compute it from: its default, 0 for what counts, else NaN."""
        if self.default is not None:
            return self.default
        return 0.0 if self.take in ("count", "sum", "distinct", "streak", "trend") else float("nan")


class ProfileField(_Strict):
    """A typed field of the profile or the context; `default` stands in when it is missing."""

    type: FieldType
    default: Plain | None = None

    @classmethod
    def parse(cls, value: Any) -> Any:
        """`plan: category` is short for `plan: {type: category}`."""
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        fits = {"number": (int, float), "boolean": (bool,), "category": (str,), "text": (str,)}[self.type]
        wrong = not isinstance(self.default, fits) or (self.type == "number" and isinstance(self.default, bool))
        if self.default is not None and wrong:
            raise ValueError(f"default {self.default!r} is not a {self.type}")
        return self


_Fields = dict[Name, Annotated[ProfileField, BeforeValidator(ProfileField.parse)]]


class FeaturesConfig(_Strict):
    """features.yaml. `retention_days`: how long a silent customer's activity is kept (TTL of every key)."""

    timezone: str = "UTC"
    retention_days: Whole = Field(400, ge=1, le=3660)
    max_events: Whole = Field(20_000, ge=100, le=1_000_000)
    thread_events: Whole = Field(50, ge=1, le=1000)
    activities: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=80)], ActivityType] = Field(
        min_length=1
    )
    features: tuple[Feature, ...] = ()
    profile: _Fields = {}
    context: _Fields = {}

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {name!r}: use an IANA name such as Europe/Berlin") from error
        return name

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone of calendar months and days."""
        return ZoneInfo(self.timezone)

    @cached_property
    def profile_types(self) -> dict[str, FieldType]:
        """Every field that PUT /v1/customers takes, the standard ones included."""
        return STANDARD_PROFILE | {name: field.type for name, field in self.profile.items()}

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The customer and context side of the vector, in order: features, profile, context; free text left out."""
        numbers = [Column(f.name, "number", f.default) for f in self.features]
        typed = [*self.profile.items(), *self.context.items()]
        return (*numbers, *(Column(n, f.type, f.default) for n, f in typed if f.type != "text"))

    @cached_property
    def columns_by_name(self) -> dict[str, Column]:
        """The same columns by name."""
        return {column.name: column for column in self.columns}


class ContactLimit(_Strict):
    """At most so many times in so many days, and a rest after the customer declined."""

    at_most: Whole = Field(3, ge=0)
    per_days: Whole = Field(30, ge=1)
    rest_after_decline_days: Whole = Field(30, ge=0)


class Say(_Strict):
    """One sentence template: `when` it is true and apt, and its text by locale."""

    when: str = "true"
    texts: Texts

    @model_validator(mode="before")
    @classmethod
    def _fold_locales(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "texts" in value:
            return value
        return {
            "texts": {k: v for k, v in value.items() if k != "when"},
            **({"when": value["when"]} if "when" in value else {}),
        }

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.texts:
            raise ValueError('needs a text in at least one language, such as `en: "…"`')
        return self


class Offer(_Strict):
    """One entry of the catalog. `plan`: it takes the place of the customer's own plan, so costs and margins are compared.

    `plan` defaults to true for a priced optimize, retain or up_sell. `group`: offers that a customer would call the same.
    """

    id: Identifier
    kind: Kind
    title: Annotated[Texts, BeforeValidator(lambda v: {"en": v} if isinstance(v, str) else v)]
    price_month: Number | None = Field(None, ge=0)
    margin_month: Number = 0.0
    attributes: dict[Name, Plain] = {}
    cost_month: str | None = None
    covers: str | None = None
    eligible: str = "true"
    contact: ContactLimit | None = None
    say: tuple[Say, ...] = ()
    plan: bool | None = None
    competes: bool | None = None
    group: str | None = None
    skill: str | None = None
    discount_month: Number = Field(0.0, ge=0)

    @field_validator("cost_month", "covers", "eligible", mode="before")
    @classmethod
    def _rule_text(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(float(value)) if isinstance(value, (int, float)) else value

    @property
    def is_plan(self) -> bool:
        """Whether accepting it replaces the own plan."""
        if self.plan is not None:
            return self.plan
        return self.price_month is not None and self.kind in ("optimize", "retain", "up_sell")

    @property
    def is_alternative(self) -> bool:
        """Whether a plan that covers the same use for less speaks against it: plans, and what is bought beside the own one.

        `competes` says it; left out, it is what declares a price, what the use then costs in all, and when it is enough.
        """
        if self.competes is not None:
            return self.competes
        return self.is_plan or (bool(self.price_month) and self.cost_month is not None and self.covers is not None)

    def title_in(self, locale: str) -> str:
        """The title in this language, else in the first one given."""
        return self.title.get(locale) or next(iter(self.title.values()))


class Catalog(_Strict):
    """catalog.yaml."""

    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")
    offers: tuple[Offer, ...] = Field(min_length=1)

    @cached_property
    def by_id(self) -> dict[str, Offer]:
        """Offers by id."""
        return {offer.id: offer for offer in self.offers}


class ContextWeight(_Strict):
    """Multiplies the value of some kinds or offers while a condition holds."""

    when: str
    times: Number = Field(gt=0)
    kinds: tuple[Kind, ...] = ()
    offers: tuple[str, ...] = ()


# What being helped is worth beside any margin, in the catalog's currency, where a policy does not say otherwise.
DEFAULT_OF_KIND: dict[Kind, float] = {"resolve": 40.0, "escalate": 20.0, "inform": 8.0, "retain": 20.0}


class Worth(_Strict):
    """The weights of the arbitration. Money in the catalog's currency; see nba/arbitration.py for the formula."""

    horizon_months: Number = Field(12.0, gt=0)
    margin: Number = Field(1.0, ge=0)
    saving: Number = Field(1.0, ge=0)
    stay: Number = Field(1.0, ge=0)
    of_kind: Annotated[dict[Kind, Number], AfterValidator(lambda given: {**DEFAULT_OF_KIND, **given})] = DEFAULT_OF_KIND
    levers: dict[str, Annotated[Number, Field(ge=0)]] = {}
    context: tuple[ContextWeight, ...] = ()


class Consent(_Strict):
    """What a customer gets who is marked vulnerable, or who has refused marketing."""

    vulnerable_kinds: tuple[Kind, ...] = ("resolve", "inform", "escalate")
    no_marketing_kinds: tuple[Kind, ...] = ("resolve", "inform", "escalate")


class Limits(_Strict):
    """What an agent may give away: `discount_month` on one offer; None: no limit."""

    discount_month: Number | None = Field(None, ge=0)


class Authority(_Strict):
    """Limits of agents, by group where one is named, and what may be spent to keep one customer."""

    default: Limits = Limits()
    groups: dict[str, Limits] = {}
    budget_per_customer: Number | None = Field(None, ge=0)
    budget_per_days: Whole = Field(365, ge=1)


class ServiceFirst(_Strict):
    """When sales wait. `override` names kinds that may pass all the same; it is named in every answer it touches."""

    service_intents: tuple[str, ...] = ("complaint", "outage", "fault", "technical", "cancel")
    intent_field: str = "intent"
    issue_valid_days: Whole = Field(60, ge=1)
    rest_after_bad_experience_h: Number = Field(24.0, ge=0)
    override: tuple[Kind, ...] = ()


class Exploration(_Strict):
    """Inverse-gap weighting over the first rank; `gamma` larger: greedier. None: no exploration."""

    gamma: Number | None = Field(None, gt=0)
    off_for: tuple[Kind, ...] = ("resolve", "inform", "escalate", "retain")
    off_when: str = "false"


class Holdout(_Strict):
    """Shares of customers who hear a random offer among those that may be said, and who hear none."""

    random: Number = Field(0.0, ge=0, le=1)
    nothing: Number = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.random + self.nothing > 1:
            raise ValueError("random and nothing add up to more than 1: lower one of them")
        return self


class Arm(_Strict):
    """One arm: its share of the units, what it changes in the policy, or which version of the model it asks."""

    name: Identifier
    share: Number = Field(gt=0, le=1)
    policy: dict[str, Any] = {}
    model: str | None = None


class Experiment(_Strict):
    """A running experiment. What the arms' shares leave of 1 is not in it."""

    name: Identifier
    unit: Literal["customer", "agent_group"] = "customer"
    arms: tuple[Arm, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _sound_arms(self) -> Self:
        if sum(arm.share for arm in self.arms) > 1 + 1e-9:
            raise ValueError("the shares of the arms add up to more than 1: lower them")
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("two arms have the same name: rename one")
        if any("experiments" in arm.policy or "holdout" in arm.policy for arm in self.arms):
            raise ValueError("an arm cannot change experiments or holdout: leave them out of its policy")
        return self


class Policy(_Strict):
    """policy.yaml."""

    opening: Texts = Field(min_length=1)
    opening_for: dict[Kind, Texts] = {}
    worth: Worth = Worth()
    base_accept: dict[Kind, Annotated[Number, Field(ge=0, le=1)]] = {}
    service_first: ServiceFirst = ServiceFirst()
    consent: Consent = Consent()
    authority: Authority = Authority()
    contact: ContactLimit = ContactLimit(at_most=6, per_days=30, rest_after_decline_days=0)
    exploration: Exploration = Exploration()
    holdout: Holdout = Holdout()
    experiments: tuple[Experiment, ...] = ()
    # Columns whose growth may only raise (1) or only lower (-1) the probability of acceptance.
    monotone: dict[str, Annotated[Literal[1, -1], BeforeValidator(_no_truth)]] = {}
    seed: Whole = 0

    @cached_property
    def locales(self) -> tuple[str, ...]:
        """The languages it speaks; the first one is the default."""
        return tuple(self.opening)


class Config(BaseModel):
    """A sound config folder. `fingerprint`: SHA-256 over the three files, the version of the policy in every answer."""

    model_config = ConfigDict(frozen=True)
    folder: Path
    features: FeaturesConfig
    catalog: Catalog
    policy: Policy
    fingerprint: str
