"""What a decision promised, checked from outside: every guarantee written down a second time, without the funnel's code.

`violations` is what the property tests, `benchmarks/honesty.py` and the supervisor's page count. It shares the nouns and the
offer's own rules (CEL) with the engine and nothing else, so that a defect of a stage cannot excuse itself here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nba.candidates import Candidate, CatalogRules
from nba.clock import DAY_MS, HOUR_MS
from nba.config import Config, Offer
from nba.decide import Case, Decision, Suggestion
from nba.domain import SERVICE_KINDS, Contact
from nba.errors import RuleError
from nba.rules import Values

SOLD = ("up_sell", "cross_sell")
MET = ("shown", "spoken", "accepted", "declined", "later")


def violations(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> list[str]:
    """Every broken guarantee as `name: detail`; an empty list when the decision keeps all of them."""
    checks = (_accounted, _numbers, _eligible, _consent, _service_first, _contacts, _authority, _max_cost, _dominated)
    return [problem for check in checks for problem in check(config, rules, case, decision)]


def _offer(config: Config, suggestion: Suggestion) -> Offer:
    return config.catalog.by_id[suggestion.offer_id]


def _candidate(case: Case, offer_id: str) -> Candidate:
    return next(c for c in case.candidates if c.offer.id == offer_id)


def _accounted(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    seen = Counter([s.offer_id for s in decision.suggestions] + [w.offer_id for w in decision.withheld])
    for offer in config.catalog.offers:
        if seen[offer.id] != 1:
            yield f"accounted: {offer.id} stands {seen[offer.id]} times"
    if bool(decision.suggestions) == bool(decision.nothing_because):
        yield "accounted: an empty list has a reason, a full one has none"


def _numbers(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    if [s.rank for s in decision.suggestions] != list(range(1, len(decision.suggestions) + 1)):
        yield "numbers: ranks do not count from 1"
    if len(decision.suggestions) > case.request.limit:
        yield "numbers: more suggestions than asked for"
    for s in decision.suggestions:
        worth = s.expected_value >= 0 or decision.mode == "random"
        if not (0 < s.propensity <= 1 and 0 <= s.accept_probability <= 1 and worth):
            yield f"numbers: {s.offer_id} has {s.propensity}, {s.accept_probability}, {s.expected_value}"
    groups = Counter(g for s in decision.suggestions if (g := _offer(config, s).group))
    yield from (f"numbers: {count} near-identical offers of {group}" for group, count in groups.items() if count > 1)
    greedy = [s.expected_value for s in decision.suggestions if not s.explored]
    if greedy != sorted(greedy, reverse=True):
        yield "numbers: a worse offer stands before a better one without being explored"


def _eligible(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    for suggestion in decision.suggestions:
        offer = _offer(config, suggestion)
        if not _is_eligible(rules, case, _candidate(case, suggestion.offer_id)):
            yield f"eligibility: {suggestion.offer_id} is not eligible"
        if not offer.say and offer.kind not in SERVICE_KINDS and case.customer.activity_at_ms is None:
            yield f"evidence: {suggestion.offer_id} judges by activity that is not known"


def _is_eligible(rules: CatalogRules, case: Case, candidate: Candidate) -> bool:
    known = {k: v for k, v in case.values.items() if k not in ("saving_month", "cost_month")}
    if candidate.saving_month is not None:
        known["saving_month"] = candidate.saving_month
    if candidate.cost_month is not None:
        known["cost_month"] = candidate.cost_month
    if candidate.offer.is_plan and not candidate.covers:
        return False
    try:
        return candidate.failed is None and rules.by_id[candidate.offer.id].eligible.truth(Values(known))
    except RuleError:
        return False


def _consent(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    profile, consent = case.customer.profile, config.policy.consent
    for suggestion in decision.suggestions:
        if profile.get("vulnerable") is True and suggestion.kind not in consent.vulnerable_kinds:
            yield f"consent: {suggestion.offer_id} for a vulnerable customer"
        if profile.get("marketing_consent") is False and suggestion.kind not in consent.no_marketing_kinds:
            yield f"consent: {suggestion.offer_id} without consent"
        if "profile" in case.customer.degraded and suggestion.kind not in consent.no_marketing_kinds:
            yield f"consent: {suggestion.offer_id} though the profile is not known"


def _service_first(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    if not _something_to_serve(config, case):
        return
    for suggestion in decision.suggestions:
        if suggestion.kind not in SOLD:
            continue
        if suggestion.kind not in config.policy.service_first.override:
            yield f"service_first: {suggestion.offer_id} is sold while something is open"
        elif f"service_first_override:{suggestion.kind}" not in decision.degraded:
            yield f"service_first: the override for {suggestion.offer_id} is not named"


def _something_to_serve(config: Config, case: Case) -> bool:
    rule, customer, now = config.policy.service_first, case.customer, case.request.now_ms
    if {"features", "activity", "thread", "activity_pending"} & set(customer.degraded):
        return True
    if any(now - issue.since_ms < rule.issue_valid_days * DAY_MS for issue in customer.open_issues):
        return True
    resolved = customer.closed_in is not None and customer.closed_in == case.request.interaction_id
    heard = [case.columns.get(rule.intent_field)]
    heard += [said.intent for said in customer.intents if said.interaction_id == case.request.interaction_id]
    if not resolved and any(intent in rule.service_intents for intent in heard):
        return True
    bad, closed = customer.bad_experience_ms, customer.closed_ms
    if resolved and bad is not None and closed is not None and bad <= closed:
        return False
    return bad is not None and now - bad < rule.rest_after_bad_experience_h * HOUR_MS


def _contacts(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    for suggestion in decision.suggestions:
        offer = _offer(config, suggestion)
        helps = offer.kind in SERVICE_KINDS
        if not helps and {"contacts", "activity_pending"} & set(case.customer.degraded):
            yield f"contact: {offer.id} though nobody knows what was offered before"
        if not helps or offer.contact is not None:
            yield from _own_limits(config, case, offer)
        if not helps:
            yield from _limits_across(config, case, offer)


def _same(config: Config, one: str, offer: Offer) -> bool:
    other = config.catalog.by_id.get(one)
    return one == offer.id or (other is not None and offer.group is not None and other.group == offer.group)


def _own_limits(config: Config, case: Case, offer: Offer) -> Iterator[str]:
    now = case.request.now_ms
    limit = offer.contact or type(config.policy.contact)()
    mine = [c for c in case.customer.contacts if c.outcome in MET and _same(config, c.offer_id, offer)]
    for contact in mine:
        if contact.outcome == "declined" and now - contact.at_ms < limit.rest_after_decline_days * DAY_MS:
            yield f"contact: {offer.id} was declined"
        if contact.outcome == "accepted" and now - contact.at_ms < limit.per_days * DAY_MS:
            yield f"contact: {offer.id} was accepted"
    times = _occasions(mine, case, limit.per_days)
    if len(times) >= limit.at_most:
        yield f"contact: {offer.id} was put {len(times)} times before"


def _limits_across(config: Config, case: Case, offer: Offer) -> Iterator[str]:
    limit = config.policy.contact
    times: set[tuple[str, object]] = set()
    for contact in case.customer.contacts:
        other = config.catalog.by_id.get(contact.offer_id)
        if contact.outcome in MET and other is not None and other.kind not in SERVICE_KINDS:
            times |= {(other.group or other.id, when) for when in _occasions([contact], case, limit.per_days)}
    if len(times) >= limit.at_most:
        yield f"contact: {offer.id} after {len(times)} offers in all"


def _occasions(contacts: list[Contact], case: Case, days: int) -> set[object]:
    here = case.request.interaction_id
    recent = [c for c in contacts if case.request.now_ms - c.at_ms < days * DAY_MS]
    return {c.interaction_id or c.decision_id or c.at_ms for c in recent if here is None or c.interaction_id != here}


def _authority(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    authority, horizon = config.policy.authority, config.policy.worth.horizon_months
    limits = authority.groups.get(case.request.agent_group or "") or authority.default
    since = case.request.now_ms - authority.budget_per_days * DAY_MS
    taken = {c.offer_id for c in case.customer.contacts if c.outcome == "accepted" and c.at_ms > since}
    spent = sum(o.discount_month * horizon for o in config.catalog.offers if o.id in taken)
    for suggestion in decision.suggestions:
        given = _offer(config, suggestion).discount_month
        if given and limits.discount_month is not None and given > limits.discount_month:
            yield f"authority: {suggestion.offer_id} gives {given}"
        if (
            given
            and authority.budget_per_customer is not None
            and spent + given * horizon > authority.budget_per_customer
        ):
            yield f"authority: {suggestion.offer_id} exceeds the budget"


def _max_cost(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    limit = case.request.max_cost_month
    for suggestion in decision.suggestions:
        candidate = _candidate(case, suggestion.offer_id)
        offer = candidate.offer
        priced = offer.is_plan or bool(offer.price_month) or offer.cost_month is not None
        if limit is not None and priced and (candidate.cost_month is None or candidate.cost_month > limit):
            yield f"max_cost: {suggestion.offer_id} costs {candidate.cost_month}"


def _dominated(config: Config, rules: CatalogRules, case: Case, decision: Decision) -> Iterator[str]:
    for suggestion in decision.suggestions:
        mine = _candidate(case, suggestion.offer_id)
        if not mine.offer.is_alternative or mine.cost_month is None:
            continue
        for other in case.candidates:
            better = (
                other.offer.is_plan
                and other.covers
                and other.cost_month is not None
                and other.cost_month < mine.cost_month
            )
            if better and other.offer.id != mine.offer.id and _is_eligible(rules, case, other):
                yield f"dominated: {mine.offer.id} though {other.offer.id} covers and costs less"
