"""Is this sentence true? Every claim computed again from the raw events, by another route than the one that said it.

The features are counted one by one (`nba.recount`), costs and savings follow from them, every number is written with
Babel and exact decimals instead of the engine's quick formatter, and the sentence has to be, to the letter, what one of
the offer's templates says of these facts, with its condition true. Anything else is a false sentence: another price,
month, plan or person, a stale fact, an event that never was, a number rounded in our favour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from babel import Locale
from babel.numbers import format_currency, format_decimal, get_currency_precision

from nba.candidates import Candidate, CatalogRules, make_candidates, rule_values
from nba.config import Config, Offer, Say
from nba.domain import Activity, Customer
from nba.errors import RuleError
from nba.phrase import PERSON, Part, parse_template
from nba.recount import recount
from nba.rules import Value

_ROUNDING = {"up": ROUND_CEILING, "down": ROUND_FLOOR, "": ROUND_HALF_EVEN}


@dataclass(frozen=True, slots=True)
class Claim:
    """What was said: the offer, the sentence, its reasons (feature to value), and the saving that was shown."""

    offer_id: str
    say: str
    because: Mapping[str, Value]
    saving_month: float | None


class Verifier:
    """Recomputes claims for one config."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rules = CatalogRules(config.catalog)

    def problems(
        self,
        claims: Sequence[Claim],
        events: Iterable[Activity],
        customer: Customer,
        context: Mapping[str, Value],
        now_ms: int,
    ) -> list[str]:
        """What is not true of these claims; an empty list when all of them are. `customer`: its profile is what counts."""
        config = self._config
        features = recount(config.features, events, now_ms)
        fresh = replace(customer, features=features)
        profile = {**_defaults(config.features.profile), **_present(customer.profile)}
        situation = {**_defaults(config.features.context), **_present(context)}
        own = self._rules.own(profile)
        values = rule_values(features, profile, situation, own.offer if own else None)
        candidates = {c.offer.id: c for c in make_candidates(self._rules, values, profile)}
        found = []
        for claim in claims:
            candidate = candidates.get(claim.offer_id)
            if candidate is None:
                found.append(f"{claim.offer_id}: no such offer")
                continue
            plain = {**features, **profile, **situation}
            facts = _facts(candidate, plain, fresh, values.get("own_cost_month"))
            own_offer = own.offer if own else None
            found += [f"{claim.offer_id}: {p}" for p in self._problems(claim, candidate, own_offer, facts, values)]
        return found

    def _problems(
        self,
        claim: Claim,
        candidate: Candidate,
        own: Offer | None,
        facts: dict[str, Value],
        values: Mapping[str, Value],
    ) -> Iterable[str]:
        if claim.saving_month != candidate.saving_month:
            yield f"saves {candidate.saving_month}, not {claim.saving_month}"
        for name, value in claim.because.items():
            if facts.get(name) != value:
                yield f"{name} is {facts.get(name)}, not {value}"
        if claim.say not in self._true_sentences(candidate.offer, own, facts, values):
            yield f"no true sentence of this offer reads {claim.say!r}"

    def _true_sentences(
        self, offer: Offer, own: Offer | None, facts: dict[str, Value], values: Mapping[str, Value]
    ) -> set[str]:
        """Everything that may be said of this offer to this customer, in every language."""
        policy = self._config.policy
        true = [say for say in offer.say if self._holds(offer, say, values)]
        sentences = set()
        for locale in policy.locales:
            opening = policy.opening_for.get(offer.kind, {}).get(locale) or policy.opening[locale]
            texts = [say.texts[locale] for say in true if locale in say.texts] if offer.say else [""]
            titles: dict[str, Value] = {
                "title": offer.title_in(locale),
                "own_title": own.title_in(locale) if own else None,
            }
            known = {**facts, **titles}
            sentences |= {s for text in texts if (s := self._written(opening, text, known, locale)) is not None}
        return sentences

    def _holds(self, offer: Offer, say: Say, values: Mapping[str, Value]) -> bool:
        try:
            return self._rules.by_id[offer.id].say[offer.say.index(say)].truth(values)
        except RuleError:
            return False

    def _written(self, opening: str, text: str, known: Mapping[str, Value], locale: str) -> str | None:
        """Opening and claim filled in; None when a fact is missing."""
        claim = self._filled(parse_template(text), known, locale)
        head = self._opening(opening, known, locale)
        if claim is None or head is None:
            return None
        sentence = f"{head}: {claim}" if claim else head
        return sentence if sentence[-1] in ".!?…" else sentence + "."

    def _opening(self, text: str, facts: Mapping[str, Value], locale: str) -> str | None:
        """The opening; without a family name the address is left out."""
        address = re.match(r"((?:\{(?:salutation|given_name|family_name)\}\s*)+), ", text)
        if address is None:
            return self._filled(parse_template(text), facts, locale)
        rest = self._filled(parse_template(text[address.end() :]), facts, locale)
        family = one_line(str(facts.get("family_name") or ""))
        first = one_line(str(facts.get("salutation") or facts.get("given_name") or ""))
        if rest is None:
            return None
        return f"{f'{first} {family}'.strip()}, {rest}" if family else rest[0].upper() + rest[1:]

    def _filled(self, parts: Sequence[Part], facts: Mapping[str, Value], locale: str) -> str | None:
        words = []
        for part in parts:
            value = None if part.name is None else facts.get(part.name)
            if part.name is not None and (value is None or value != value):
                return None
            words.append(part.literal if part.name is None else self._value(value, part.spec, locale))
        return "".join(words)

    def _value(self, value: Value, spec: str, locale: str) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return one_line(str(value))
        tag = locale.replace("-", "_")
        if spec == "money":
            currency = self._config.catalog.currency
            return str(
                format_currency(value if round(value, get_currency_precision(currency)) else 0, currency, locale=tag)
            )
        if spec.startswith("plural|"):
            one, *_, other = spec.split("|")[1:]
            return one if Locale.parse(tag).plural_form(value) == "one" else other
        return _decimal(value, spec, tag)


def one_line(text: str) -> str:
    """A name or subject as it may stand in a line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _decimal(value: float, spec: str, tag: str) -> str:
    match = re.fullmatch(r"(up|down)?(?:\.(\d))?([fd%])?", spec)
    if match is None or not spec:
        decimals, way, percent = (0 if float(value).is_integer() else 2), "", False
    else:
        decimals, way, percent = int(match[2] or 0), match[1] or "", match[3] == "%"
    exact = Decimal(repr(float(value))) if way else Decimal(float(value))
    shown = (exact * 100 if percent else exact).quantize(Decimal(1).scaleb(-decimals), rounding=_ROUNDING[way])
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return str(format_decimal(shown or 0, pattern, locale=tag)) + (" %" if percent else "")


def _facts(candidate: Candidate, plain: Mapping[str, Value], customer: Customer, own_cost: Value) -> dict[str, Value]:
    saving = candidate.saving_month
    money = {
        "price_month": candidate.offer.price_month,
        "cost_month": candidate.cost_month,
        "own_cost_month": own_cost,
        "saving_month": saving if saving is not None and saving > 0 else None,
        "saving_year": round(saving * 12, 2) if saving is not None and saving > 0 else None,
    }
    person = {name: customer.profile.get(name) for name in PERSON[:3]}
    return {**plain, **person, **candidate.offer.attributes, **money}


def _defaults(fields: Mapping[str, object]) -> dict[str, Value]:
    return {name: default for name, field in fields.items() if (default := getattr(field, "default", None)) is not None}


def _present(given: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in given.items() if value is not None}
