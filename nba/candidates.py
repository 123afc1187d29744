"""Every offer of the catalog for one customer: what it would cost them for what they use, what it saves, if it is enough.

Serving and training call the same functions, so the columns a model learnt from are the columns it is asked with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nba.celtext import OF_A_PAIR
from nba.config import Catalog, Offer
from nba.domain import Column, Stage
from nba.errors import RuleError
from nba.past import NEVER, NO_PAST, PAST_COLUMNS, Past
from nba.rules import Answer, Block, Names, Rule, Value, Values, flat
from nba.wording import minor_digits


class Candidate(NamedTuple):
    """One offer for one customer, with the numbers that only this pair has.

    Money a month in the catalog's currency, rounded to its minor unit. `cost_month`: what this customer would pay in all
    with this offer for what they use; `saving_month`: cost on the own plan minus that, None where the own plan is
    unknown or the offer is no other way to pay for the same use (an add-on, a service). `covers`: it is enough for what
    they use. `failed`: the rule that could not be evaluated for this customer and why; the offer is then withheld.
    `past`: what came of it when they heard it before.
    """

    offer: Offer
    cost_month: float | None
    saving_month: float | None
    covers: bool
    margin_delta_month: float
    failed: str | None = None
    past: Past = NEVER


class Withheld(NamedTuple):
    """An offer that may not be said: the stage that stopped it and the rule, in words."""

    offer_id: str
    stage: Stage
    rule: str


class OfferRules:
    """The compiled rules of one offer, its attributes, price and margin written in as constants.

    `pair`: the variables that the rules ask for in the place of saving_month and cost_month, as far as they do; `place`
    in the catalog makes them the offer's own, so that rules of many offers can be asked together. `comparable`: it is
    another way to pay for the same use. `digits`: decimals of the currency. `is_service`: it costs nothing and is enough
    for everybody. `unfit`, `too_small`: what is said when it is not eligible.
    """

    __slots__ = (
        "comparable", "cost", "covers", "digits", "eligible", "is_plan", "is_service", "offer", "pair", "say", "too_small",
        "unfit",
    )  # fmt: skip

    def __init__(self, offer: Offer, place: int, digits: int) -> None:
        constants = offer_constants(offer)
        own = {name: f"{name}_{place}" for name in OF_A_PAIR}
        self.offer, self.digits = offer, digits
        self.is_plan = offer.is_plan
        self.eligible = Rule(offer.eligible, constants, (), own)
        self.cost = None if offer.cost_month is None else Rule(offer.cost_month, constants)
        self.covers = None if offer.covers is None else Rule(offer.covers, constants)
        self.say = tuple(Rule(say.when, constants, (), own) for say in offer.say)
        read = {name for rule in (self.eligible, *self.say) for scope, name in rule.reads if not scope}
        self.pair = tuple((name, own[name]) for name in OF_A_PAIR if name in read)
        self.comparable = self.is_plan or self.cost is not None  # something new to buy saves nothing for the same use
        self.is_service = not self.comparable and not offer.price_month and (self.covers is None or self.covers.always)
        self.unfit = Withheld(offer.id, "eligibility", offer.eligible)
        self.too_small = Withheld(offer.id, "eligibility", f"not enough for what they use: {offer.covers}")

    def all(self) -> list[Rule]:
        """Every rule of the offer."""
        return [rule for rule in (self.eligible, self.cost, self.covers, *self.say) if rule is not None]


class _Together:
    """Rules of some offers, asked at once, and each only once: rows of one rule an offer, None where it has none."""

    __slots__ = ("_block", "_places", "_width")

    def __init__(self, *rows: Sequence[Rule | None]) -> None:
        self._width = len(rows[0])
        every = [rule for row in rows for rule in row]
        distinct = {rule.cel: rule for rule in every if rule is not None}
        self._block = Block(list(distinct.values()))
        asked = {text: number for number, text in enumerate(distinct)}
        self._places = [len(asked) if rule is None else asked[rule.cel] for rule in every]

    def ask(self, values: Values) -> list[list[Answer]]:
        """For each row an answer an offer; None for those that were not asked."""
        found = [*self._block.ask(values), None]
        out = [found[place] for place in self._places]
        return [out[start : start + self._width] for start in range(0, len(out), self._width)]


class CatalogRules:
    """All offers compiled, in the order of the catalog.

    `costs_and_covers`, `costs_on_top` (those that read `own_cost_month`) and `eligible` answer for the whole catalog at once.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        digits = minor_digits(catalog.currency)
        self.offers = tuple(OfferRules(offer, place, digits) for place, offer in enumerate(catalog.offers))
        self.by_id = {rules.offer.id: rules for rules in self.offers}
        self.place = {rules.offer.id: place for place, rules in enumerate(self.offers)}
        self.variables = frozenset(name for o in self.offers for rule in o.all() for name in rule.variables)
        self.costs_and_covers = _Together(
            [_unless(o.cost, _on_top(o.cost)) for o in self.offers],
            [_unless(o.covers, o.covers is not None and o.covers.always) for o in self.offers],
        )
        self.costs_on_top = _Together([_unless(o.cost, not _on_top(o.cost)) for o in self.offers])
        self.eligible = _Together([o.eligible for o in self.offers])
        self.paired = tuple((place, o.pair) for place, o in enumerate(self.offers) if o.pair)

    def own(self, profile: Mapping[str, Value]) -> OfferRules | None:
        """The customer's own plan: the offer whose id is `profile.plan`; None when there is none such."""
        return self.by_id.get(str(profile.get("plan")))


def _unless(rule: Rule | None, other: bool) -> Rule | None:
    return None if other else rule


def _on_top(cost: Rule | None) -> bool:
    return cost is not None and ("", "own_cost_month") in cost.reads


def offer_constants(offer: Offer) -> dict[str, Value]:
    """What is fixed for an offer, as flat CEL variables."""
    price = {} if offer.price_month is None else {"price_month": offer.price_month}
    attributes = {flat("attributes", name): value for name, value in offer.attributes.items()}
    return {**attributes, **price, "margin_month": offer.margin_month}


def rule_values(
    features: Mapping[str, float],
    profile: Mapping[str, Value],
    context: Mapping[str, Value],
    own: Offer | None,
    names: Names | None = None,
) -> Values:
    """Flat CEL variables of one customer; what is missing (None, NaN) is left out, so that a rule that reads it fails.

    `names`: the only ones that will be read; all where it is not given.
    """
    given: dict[str, Mapping[str, Value]] = {"features": features, "profile": profile, "context": context}
    given["own"] = {} if own is None else own.attributes
    wanted = _all_names(given) if names is None else names.plain
    values: dict[str, Value] = {}
    for scope, name, variable in wanted:
        value = given[scope].get(name)
        if value is not None and value == value:
            values[variable] = value
    return Values(values, names)


def _all_names(given: Mapping[str, Mapping[str, Value]]) -> list[tuple[str, str, str]]:
    return [(scope, name, flat(scope, name)) for scope, known in given.items() for name in known]


def make_candidates(
    rules: CatalogRules, values: Values, profile: Mapping[str, Value], past: Mapping[str, Past] = NO_PAST
) -> list[Candidate]:
    """One candidate for each offer of the catalog, in its order. `past`: of the offers that were heard, by id.

    Adds to `values` what is known then: `own_cost_month`, and the variables of each offer's own (`OfferRules.pair`).
    """
    costs, covers = rules.costs_and_covers.ask(values)
    own = rules.own(profile)
    own_cost = None if own is None else _own_cost(own, costs[rules.place[own.offer.id]])
    if own_cost is not None:
        values.learn("own_cost_month", own_cost)
    [on_top] = rules.costs_on_top.ask(values)
    asked = zip(rules.offers, costs, on_top, covers, strict=True)
    made = [_candidate(offer, a if b is None else b, c, own, own_cost) for offer, a, b, c in asked]
    for place, pair in rules.paired:
        for name, variable in pair:
            value = getattr(made[place], name)
            if value is not None:
                values.learn(variable, value)
    return [c._replace(past=past[c.offer.id]) if c.offer.id in past else c for c in made] if past else made


def make_candidate(rules: CatalogRules, values: Values, profile: Mapping[str, Value], place: int) -> Candidate:
    """The candidate of one offer alone, as `make_candidates` makes it."""
    own, offer = rules.own(profile), rules.offers[place]
    own_cost = None if own is None else _own_cost(own, _asked(own.cost, values))
    if own_cost is not None:
        values.learn("own_cost_month", own_cost)
    cost = None if offer is own and own_cost is not None else _asked(offer.cost, values)
    return _candidate(offer, cost, _asked(offer.covers, values), own, own_cost)


def _asked(rule: Rule | None, values: Values) -> Answer:
    return None if rule is None else rule.answer(values)


def _own_cost(own: OfferRules, cost: Answer) -> float | None:
    try:
        return _cost(own, cost, None)
    except RuleError:
        return None


def _candidate(
    rules: OfferRules, cost: Answer, covers: Answer, own: OfferRules | None, own_cost: float | None
) -> Candidate:
    offer = rules.offer
    if rules.is_service:
        return Candidate(offer, offer.price_month if own_cost is None else own_cost, None, True, offer.margin_month)
    margin = offer.margin_month - (own.offer.margin_month if own is not None and rules.is_plan else 0.0)
    try:
        money = own_cost if rules is own and own_cost is not None else _cost(rules, cost, own_cost)
        enough = rules.covers is None or rules.covers.always or rules.covers.as_truth(covers)
    except RuleError as error:
        return Candidate(offer, None, None, False, margin, str(error))
    saving = (
        round(own_cost - money, rules.digits)
        if rules.comparable and own_cost is not None and money is not None
        else None
    )
    return Candidate(offer, money, saving, enough, margin)


def _cost(rules: OfferRules, answer: Answer, own_cost: float | None) -> float | None:
    """The formula where there is one; a plan's price; for anything else its price on top of what the customer pays.

    None: that is not known, and so neither is what they would pay in all.
    """
    offer = rules.offer
    if rules.cost is not None:
        return round(rules.cost.as_number(answer), rules.digits)
    if rules.is_plan:
        return offer.price_month
    if not offer.price_month:
        return offer.price_month if own_cost is None else own_cost
    return None if own_cost is None else round(own_cost + offer.price_month, rules.digits)


MONEY_COLUMNS = (
    Column("pair.cost_month", "number"),
    Column("pair.saving_month", "number"),
    Column("pair.margin_delta_month", "number"),
    Column("pair.covers", "number"),
)
PAIR_COLUMNS = (*MONEY_COLUMNS, *PAST_COLUMNS)


def offer_columns(catalog: Catalog) -> tuple[Column, ...]:
    """The offer side of a model's vector: what the offer is, so that a new offer is scored from day one."""
    attributes: dict[str, Column] = {}
    for offer in catalog.offers:
        for name, value in offer.attributes.items():
            attributes.setdefault(name, Column(f"offer.{name}", "category" if isinstance(value, str) else "number"))
    fixed = (Column("offer.id", "category"), Column("offer.kind", "category"))
    money = (Column("offer.price_month", "number"), Column("offer.margin_month", "number"))
    return (*fixed, *money, *(attributes[name] for name in sorted(attributes)))


def offer_values(offer: Offer, columns: Sequence[Column]) -> list[Value]:
    """The fixed values of one offer in the order of `columns` (those of `offer_columns`)."""
    known: dict[str, Value] = {f"offer.{name}": value for name, value in offer.attributes.items()}
    known |= {"offer.id": offer.id, "offer.kind": offer.kind}
    known |= {"offer.price_month": offer.price_month, "offer.margin_month": offer.margin_month}
    return [known.get(column.name) for column in columns]


def pair_values(candidate: Candidate) -> tuple[float, ...]:
    """The values of PAIR_COLUMNS for one candidate; NaN where unknown."""
    return *money_values(candidate), *candidate.past


def money_values(candidate: Candidate) -> tuple[float, float, float, float]:
    """The values of MONEY_COLUMNS for one candidate; NaN where unknown."""
    cost = math.nan if candidate.cost_month is None else candidate.cost_month
    saving = math.nan if candidate.saving_month is None else candidate.saving_month
    return cost, saving, candidate.margin_delta_month, float(candidate.covers)
