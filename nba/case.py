"""The first half of a decision: all that can be said of a customer's call before a model is asked. Read top to bottom.

    cost and saving of every offer -> funnel (may it be said) -> evidence (is there a true sentence)

Only what is left then is scored: a model costs as much as all of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from nba.candidates import Candidate, CatalogRules, Withheld, make_candidates, rule_values
from nba.config import Config, Offer
from nba.domain import SERVICE_KINDS, Customer
from nba.funnel import Call, Passed, run_funnel
from nba.past import UNKNOWN, Past, pasts
from nba.phrase import Facts, Phrasebook, Template
from nba.rules import Names, Value, Values


@dataclass(frozen=True, slots=True)
class Request:
    """What the agent desktop asked; `now_ms` is the moment that the answer is as of."""

    customer_id: str
    now_ms: int
    decision_id: str
    channel: str = "call"
    interaction_id: str | None = None
    context: Mapping[str, Value] | None = None
    limit: int = 3
    locale: str | None = None
    max_cost_month: float | None = None
    agent_id: str | None = None
    agent_group: str | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """A request with what every offer would cost and save this customer.

    `columns`: customer and context columns by name, defaults applied, as the model sees them and the journal keeps them.
    `values`: those of them that rules read, as flat CEL variables. `candidates`: one an offer, in the order of the
    catalog.
    """

    request: Request
    customer: Customer
    columns: dict[str, Value]
    values: Values
    candidates: list[Candidate]
    own: Offer | None
    locale: str
    call: Call


@dataclass(frozen=True, slots=True)
class Case(Priced):
    """A request with everything computed before a model is asked.

    `passed`: what the funnel left. `sayable`: those of them with a true sentence, and `templates` which one, by offer id;
    `asked`: their places among `candidates`, for a model. `withheld`: all others.
    """

    passed: Passed
    sayable: list[Candidate]
    asked: list[int]
    templates: dict[str, Template | None]
    withheld: tuple[Withheld, ...]


class CaseMaker:
    """A config's catalog, funnel and sentences, compiled. `names`: the variables that any rule asks a case's values for."""

    def __init__(self, config: Config, rules: CatalogRules, phrases: Phrasebook, names: Names) -> None:
        self._config, self._rules, self._phrases, self._names = config, rules, phrases, names
        self._defaults = _defaults(config)
        self._blank: dict[str, Value] = dict.fromkeys(column.name for column in config.features.columns)
        self._locales = {_subtags(name): name for name in config.policy.locales}

    def priced(self, customer: Customer, request: Request) -> Priced:
        """The first step: columns, costs and savings."""
        profile = {**self._defaults[0], **_present(customer.profile)}
        context = {**self._defaults[1], **_present(request.context or {})}
        rules = self._rules.own(profile)
        own = rules.offer if rules else None
        values = rule_values(customer.features, profile, context, own, self._names)
        return Priced(
            request=request,
            customer=customer,
            columns=self._columns(customer, profile, context),
            values=values,
            candidates=make_candidates(self._rules, values, profile, self._past(customer, request.now_ms)),
            own=own,
            locale=self._locale(request.locale, profile.get("locale")),
            call=Call(
                request.now_ms,
                request.interaction_id,
                context,
                request.agent_group,
                request.max_cost_month,
                self._config.features.zone,
            ),
        )

    def _past(self, customer: Customer, now_ms: int) -> Mapping[str, Past]:
        if "contacts" in customer.degraded:
            return dict.fromkeys(self._rules.by_id, UNKNOWN)
        return pasts(customer.contacts, now_ms)

    def shortlist(self, of: Priced) -> Case:
        """The second step: what may be said, and what can be."""
        passed = run_funnel(self._rules, self._config.policy, of.customer, of.call, of.candidates, of.values)
        templates: dict[str, Template | None] = {}
        found: dict[str, bool] = {}
        sayable, withheld = [], list(passed.withheld)
        for candidate in passed.candidates:
            facts = partial(facts_of, of, candidate, of.locale)
            template = self._phrases.best_template(candidate.offer, of.values, facts, found)
            missing = self._no_evidence(of.customer, candidate.offer, template)
            if missing is None:
                templates[candidate.offer.id] = template
                sayable.append(candidate)
            else:
                withheld.append(Withheld(candidate.offer.id, "evidence", missing))
        asked = [self._rules.place[candidate.offer.id] for candidate in sayable]
        return Case(
            of.request, of.customer, of.columns, of.values, of.candidates, of.own, of.locale, of.call,
            passed, sayable, asked, templates, tuple(withheld),
        )  # fmt: skip

    def _no_evidence(self, customer: Customer, offer: Offer, template: Template | None) -> str | None:
        if template is None and self._phrases.needs_evidence(offer):
            return "no sentence of this offer is true of this customer"
        if template is None and offer.kind not in SERVICE_KINDS and customer.activity_at_ms is None:
            return "nothing is known of what this customer did"
        return None

    def _columns(
        self, customer: Customer, profile: Mapping[str, Value], context: Mapping[str, Value]
    ) -> dict[str, Value]:
        found = {**self._blank, **customer.features, **profile, **context}
        if len(found) > len(self._blank):  # a profile holds names too, and perhaps fields of an older config
            for name in found.keys() - self._blank.keys():
                del found[name]
        return found

    def _locale(self, *wanted: Value) -> str:
        """The first that the policy speaks, a shorter tag in place of a longer one; else its first language.

        Lookup of RFC 4647, 3.4. Java and CRMs write de_AT, others DE.
        """
        for tags in map(_subtags, wanted):
            for count in range(len(tags), 0, -1):
                if tags[:count] in self._locales:
                    return self._locales[tags[:count]]
        return self._config.policy.locales[0]


def _subtags(tag: Value) -> tuple[str, ...]:
    """A language tag as it is compared: capitals say nothing, `_` is `-`."""
    return tuple(str(tag).replace("_", "-").lower().split("-"))


def facts_of(of: Priced, candidate: Candidate, locale: str) -> Facts:
    """Plain names that a template may use. A saving is a fact only where there is one."""
    offer, own, saving = candidate.offer, of.own, candidate.saving_month
    real = saving is not None and saving > 0
    special: dict[str, Value] = {
        **{name: of.customer.profile.get(name) for name in ("salutation", "given_name", "family_name")},
        **offer.attributes,
        "title": offer.title_in(locale),
        "own_title": own.title_in(locale) if own else None,
        "price_month": offer.price_month,
        "cost_month": candidate.cost_month,
        "own_cost_month": of.values.get("own_cost_month"),
        "saving_month": saving if real else None,
        "saving_year": round(saving * 12, 2) if saving is not None and real else None,
    }
    return Facts(special, of.columns)


def _defaults(config: Config) -> tuple[dict[str, Value], dict[str, Value]]:
    fields = config.features
    return _present({n: f.default for n, f in fields.profile.items()}), _present(
        {n: f.default for n, f in fields.context.items()}
    )


def _present(given: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in given.items() if value is not None}
