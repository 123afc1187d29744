"""features.yaml: activities, features, and the fields of profile and context."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from nba.config.shapes import ACTIVITY, CHANNEL, Name, Number, Plain, Strict, Texts, Whole
from nba.domain import Column

Take = Literal["count", "sum", "mean", "min", "max", "last", "distinct", "hours_since", "trend", "streak"]
FieldType = Literal["number", "category", "boolean", "text"]

# Always allowed in a profile, declared or not: who the person is, and what they allow. Never a model's column.
STANDARD_PROFILE: dict[str, FieldType] = {
    "salutation": "text", "given_name": "text", "family_name": "text", "locale": "text",
    "vulnerable": "boolean", "marketing_consent": "boolean", "tenure_months": "number",
}  # fmt: skip
_DURATION = re.compile(r"([1-9][0-9]*)([mhdw])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
MAX_MONTHS_BACK = 36
_MONTH = re.compile(r"month(?:-([1-9][0-9]?))?")
_PADDED_MONTH = re.compile(r"month-0[0-9]*")


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
        if text is None or isinstance(text, cls):
            return text
        text = str(text)
        if duration := _DURATION.fullmatch(text):
            return cls(text=text, span_ms=int(duration[1]) * _UNIT_MS[duration[2]])
        if (month := _MONTH.fullmatch(text)) and int(month[1] or 0) <= MAX_MONTHS_BACK:
            return cls(text=text, months_back=int(month[1] or 0))
        raise ValueError(f"{text!r} is no window: write {_instead(text)}")


def _instead(text: str) -> str:
    """What to write for a window that is none. A window has one spelling, for answers and features are told by it."""
    if _PADDED_MONTH.fullmatch(text):
        meant = text.removeprefix("month-").lstrip("0")
        if not meant:
            return "month for the month so far, month-1 for the whole one before"
        if len(meant) < 3 and int(meant) <= MAX_MONTHS_BACK:
            return f"month-{meant}"
    return f"a duration (90m, 6h, 30d, 2w), or month, month-1 … month-{MAX_MONTHS_BACK}"


class ActivityType(Strict):
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


class Feature(Strict):
    """A window feature (`of`, `take`, `window`, `where`) or a derived one (`is`: CEL over the others)."""

    name: Name
    of: str | None = None
    take: Take | None = None
    window: Annotated[Window | None, BeforeValidator(Window.parse)] = None
    where: dict[
        Literal["subject", "channel"],
        Annotated[tuple[str, ...], BeforeValidator(lambda v: v if isinstance(v, (list, tuple, dict)) else [v])],
    ] = {}
    derived: str | None = Field(None, alias="is")
    default: Number | None = None
    label: Texts = {}

    @field_validator("where")
    @classmethod
    def _may_hold(cls, where: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        nothing = next((field for field, wanted in where.items() if not wanted), None)
        if nothing is not None:
            raise ValueError(f"{nothing}: names none, so no event ever counts: name one, or leave it out")
        odd = next((name for name in where.get("channel", ()) if not re.fullmatch(CHANNEL, name)), None)
        if odd is not None:
            raise ValueError(f"no event comes by a channel {odd!r}: write it with small letters, digits, _ and -")
        return where

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


class ProfileField(Strict):
    """A typed field of the profile or the context; `default` stands in when it is missing.

    `a_day`: how much a number of the profile changes with each day since it was given (-1: days until something).
    `label`: what a person calls it, by locale. `values`: the words that a category usually is, for people to choose from.
    """

    type: FieldType
    default: Plain | None = None
    values: tuple[str, ...] = ()
    a_day: float | None = Field(None, allow_inf_nan=False)
    label: Texts = {}

    @classmethod
    def parse(cls, value: Any) -> Any:
        """`plan: category` is short for `plan: {type: category}`."""
        return value if isinstance(value, (dict, cls)) else {"type": value}

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        fits = {"number": (int, float), "boolean": (bool,), "category": (str,), "text": (str,)}[self.type]
        wrong = not isinstance(self.default, fits) or (self.type == "number" and isinstance(self.default, bool))
        if self.default is not None and wrong:
            cure = {"number": "write digits, without quotes", "boolean": "write true or false, without quotes"}
            raise ValueError(
                f"the default does not fit the type {self.type}: {cure.get(self.type, 'put it in quotes')}"
            )
        if self.values and self.type != "category":
            raise ValueError(f"values lists words, and a {self.type} is none: declare `type: category`")
        if self.a_day is not None and self.type != "number":
            raise ValueError(f"a_day counts days on, and a {self.type} cannot be counted: declare `type: number`")
        return self


_Fields = dict[Name, Annotated[ProfileField, BeforeValidator(ProfileField.parse)]]


class FeaturesConfig(Strict):
    """features.yaml. `retention_days`: how long a silent customer's activity is kept (TTL of every key)."""

    timezone: str = "UTC"
    retention_days: Whole = Field(400, ge=1, le=3660)
    max_events: Whole = Field(20_000, ge=100, le=1_000_000)
    thread_events: Whole = Field(50, ge=1, le=1000)
    activities: dict[Annotated[str, Field(pattern=ACTIVITY, max_length=80)], ActivityType] = Field(min_length=1)
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

    @field_validator("context")
    @classmethod
    def _of_this_call(cls, fields: _Fields) -> _Fields:
        aging = next((name for name, field in fields.items() if field.a_day is not None), None)
        if aging is not None:
            raise ValueError(f"{aging}: what a call carries is of now: leave a_day out, or move the field to `profile`")
        return fields

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone of calendar months and days."""
        return ZoneInfo(self.timezone)

    @cached_property
    def profile_types(self) -> dict[str, FieldType]:
        """Every field that PUT /v1/customers takes, the standard ones included."""
        return STANDARD_PROFILE | {name: field.type for name, field in self.profile.items()}

    @cached_property
    def labels(self) -> dict[str, Texts]:
        """What a person calls a feature or a field of profile or context, by locale; without a label it is left out."""
        named = [*((f.name, f.label) for f in self.features), *((n, f.label) for n, f in self.profile.items())]
        return {name: label for name, label in (*named, *((n, f.label) for n, f in self.context.items())) if label}

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
