"""catalog.yaml: the offers, what they cost, who may get them and how they are said."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from nba.config.shapes import CURRENCY, ContactLimit, Identifier, Name, Number, Plain, Strict, Texts, no_text
from nba.domain import Kind


class Say(Strict):
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


def _by_language(title: Any) -> Any:
    """`title: Music` is short for `title: {en: Music}`."""
    if isinstance(title, dict):
        return title
    if isinstance(title, str):
        return {"en": title}
    raise ValueError(no_text(title) + (', or one for each language: {en: "…"}' if isinstance(title, list) else ""))


def _with_words(title: dict[str, str]) -> dict[str, str]:
    if not title or not all(text.strip() for text in title.values()):
        raise ValueError("has no words: write the name that a customer hears")
    return title


class Offer(Strict):
    """One entry of the catalog. `plan`: it takes the place of the customer's own plan, so costs and margins are compared.

    `plan` defaults to true for a priced optimize, retain or up_sell. `group`: offers that a customer would call the same.
    """

    id: Identifier
    kind: Kind
    title: Annotated[Texts, BeforeValidator(_by_language), AfterValidator(_with_words)]
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


class Catalog(Strict):
    """catalog.yaml. `labels`: what a person calls an attribute, by locale."""

    currency: str = Field("EUR", pattern=CURRENCY)
    labels: dict[Name, Texts] = {}
    offers: tuple[Offer, ...] = Field(min_length=1)

    @cached_property
    def by_id(self) -> dict[str, Offer]:
        """Offers by id."""
        return {offer.id: offer for offer in self.offers}
