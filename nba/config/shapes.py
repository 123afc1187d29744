"""What the shapes of features.yaml, catalog.yaml and policy.yaml have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"
ACTIVITY = r"^[A-Za-z][A-Za-z0-9_.-]*$"
LOCALE = r"^[a-z]{2}(?:[-_][A-Za-z]{2})?$"
CHANNEL = r"^[a-z0-9_-]{1,32}$"
CURRENCY = r"^[A-Z]{3}$"
PATTERNS = {  # what each wants, in words
    NAME: "a name of letters, digits and _ that begins with no digit",
    IDENTIFIER: "an id of letters, digits and . _ : - that begins with a letter or digit",
    ACTIVITY: "a name of letters, digits and _ . - that begins with a letter",
    LOCALE: "a language code such as en or de-AT",
    CURRENCY: "a currency code such as EUR or USD",
}

Name = Annotated[str, Field(pattern=NAME, max_length=80)]
Identifier = Annotated[str, Field(pattern=IDENTIFIER, max_length=120)]
Locale = Annotated[str, Field(pattern=LOCALE)]
Texts = dict[Locale, str]


def no_truth(value: Any) -> Any:
    """Refuses true and false where a number stands: YAML reads yes and on as true, and pydantic takes that for 1."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number: write one, or leave the field out")
    return value


def shown(value: Any) -> str:
    """A value as its author wrote it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)


def no_text(value: Any) -> str:
    """What to say of a value that stands where a text has to: YAML reads 5, yes and 2026-11-22 as something else."""
    several = value is None or isinstance(value, (list, tuple, dict))
    return f"{shown(value)} is no text: {'write one' if several else 'put it'} in quotes"


def _one_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no finite number: write one, or leave the field out")
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"{shown(value)} is no single value: write a number, true or false, or a text in quotes")
    return value


Number = Annotated[float, BeforeValidator(no_truth)]
Whole = Annotated[int, BeforeValidator(no_truth)]
Plain = Annotated[bool | float | str, BeforeValidator(_one_value)]


class Strict(BaseModel):
    """What the shapes of a config have in common: frozen, and no field that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other fields. What was computed from the fields before (`by_id`, `columns`) is left behind."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


class ContactLimit(Strict):
    """At most so many times in so many days, and a rest after the customer declined."""

    at_most: Whole = Field(3, ge=0)
    per_days: Whole = Field(30, ge=1)
    rest_after_decline_days: Whole = Field(30, ge=0)
