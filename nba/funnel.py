"""What may be said to this customer now: one question after the other, the first no withholds the offer.

Each stage is a pure function that gives None (it passes) or the rule that stopped it, in words. The order is the
contract's: eligibility, consent, service first, contact, authority, max cost, dominated. (Evidence and arbitration follow
elsewhere: a true sentence must be found for what passed, and then a place among what was scored.) Service comes before
sales by these rules, not by a weight that a large margin could outvote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from nba.candidates import Candidate, CatalogRules, OfferRules, Withheld
from nba.clock import DAY_MS, HOUR_MS, day_in
from nba.config import ContactLimit, Limits, Offer, Policy
from nba.domain import SALES_KINDS, SERVICE_KINDS, Contact, Customer, Stage
from nba.errors import RuleError
from nba.rules import Answer, Rule, Value, Values

# `activity_pending`: something of this customer waits outside the store (it takes no writes), so what is read is behind.
UNREADABLE = frozenset({"features", "activity", "thread", "activity_pending"})
UNREADABLE_CONTACTS = frozenset({"contacts", "activity_pending"})
_USUAL = ContactLimit()
COUNTED = frozenset({"shown", "spoken", "accepted", "declined", "later"})


@dataclass(frozen=True, slots=True)
class Call:
    """What the funnel has to know of this call: who asks, in which interaction, with which context and limits.

    `zone`: whose days the reasons name.
    """

    now_ms: int
    interaction_id: str | None
    context: Mapping[str, Value]
    agent_group: str | None
    max_cost_month: float | None
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Passed:
    """The outcome of the funnel. `eligible`: how many passed the first stage."""

    candidates: list[Candidate]
    withheld: list[Withheld]
    eligible: int
    overridden: tuple[str, ...] = ()


def run_funnel(
    rules: CatalogRules,
    policy: Policy,
    customer: Customer,
    call: Call,
    candidates: Sequence[Candidate],
    values: Values,
) -> Passed:
    """Every candidate ends in exactly one of `candidates` and `withheld`. `values`: the customer's flat CEL variables."""
    withheld: list[Withheld] = []
    fitting = _eligible(rules, candidates, values, withheld)
    eligible = _others(rules.own(customer.profile), fitting, withheld)
    reason_to_wait = sales_wait(policy, customer, call)
    history = ContactHistory(customer.contacts, rules.catalog.by_id, call)
    passed = eligible
    if restricted(customer):
        passed = _keep(passed, "consent", lambda c: no_consent(policy, customer, c.offer), withheld)
    overridden = _overridden(policy, reason_to_wait, passed)
    if reason_to_wait is not None:
        passed = _keep(passed, "service_first", lambda c: not_before_service(policy, reason_to_wait, c.offer), withheld)
    if not UNREADABLE_CONTACTS.isdisjoint(customer.degraded):
        passed = _keep(passed, "contact", lambda c: unknown_history(c.offer), withheld)
    passed = _keep(passed, "contact", lambda c: history.too_often(policy.contact, c.offer), withheld)
    passed = _keep(passed, "authority", lambda c: beyond_authority(policy, history, call, c.offer), withheld)
    if call.max_cost_month is not None:
        passed = _keep(passed, "max_cost", lambda c: too_dear(call.max_cost_month, c), withheld)
    cheaper = cheapest_covering(rules, fitting, values, customer)
    if cheaper is not None:
        passed = _keep(passed, "dominated", lambda c: dominated(cheaper, c), withheld)
    return Passed(passed, withheld, len(eligible), overridden)


def _keep(
    candidates: list[Candidate], stage: Stage, question: Callable[[Candidate], str | None], withheld: list[Withheld]
) -> list[Candidate]:
    if not candidates:
        return candidates
    kept = []
    for candidate in candidates:
        reason = question(candidate)
        if reason is None:
            kept.append(candidate)
        else:
            withheld.append(Withheld(candidate.offer.id, stage, reason))
    return kept


def _eligible(
    rules: CatalogRules, candidates: Sequence[Candidate], values: Values, withheld: list[Withheld]
) -> list[Candidate]:
    """The first stage sees the whole catalog; the others see what is left of it, so this one is written out."""
    kept = []
    [answers] = rules.eligible.ask(values)
    for offer, candidate, answer in zip(rules.offers, candidates, answers, strict=True):
        if answer is False and candidate.failed is None and candidate.covers:
            withheld.append(offer.unfit)  # most offers end here
        elif (found := not_eligible(offer, answer, candidate)) is None:
            kept.append(candidate)
        else:
            withheld.append(found)
    return kept


def _others(own: OfferRules | None, eligible: list[Candidate], withheld: list[Withheld]) -> list[Candidate]:
    """Without the plan that the customer has, whatever its rule says."""
    if own is None:
        return eligible
    return _keep(eligible, "eligibility", lambda c: "the customer has it" if c.offer is own.offer else None, withheld)


def not_eligible(rules: OfferRules, answer: Answer, candidate: Candidate) -> Withheld | None:
    """The offer's own CEL rule; a rule that cannot be evaluated for this customer withholds this offer only.

    `answer`: what the rule gave.
    """
    if candidate.failed is not None:
        return Withheld(candidate.offer.id, "eligibility", candidate.failed)
    if not candidate.covers:
        return rules.too_small
    try:
        return None if rules.eligible.as_truth(answer) else rules.unfit
    except RuleError as error:
        return Withheld(candidate.offer.id, "eligibility", str(error))


def restricted(customer: Customer) -> bool:
    """Whether consent stops anything at all for this customer."""
    profile = customer.profile
    unsure = "profile" in customer.degraded
    return unsure or profile.get("vulnerable") is True or profile.get("marketing_consent") is False


def no_consent(policy: Policy, customer: Customer, offer: Offer) -> str | None:
    """A vulnerable customer, or one who refused marketing, gets service and care only."""
    if "profile" in customer.degraded and offer.kind not in policy.consent.no_marketing_kinds:
        return "the profile could not be read, so nobody knows whether marketing is allowed"
    if customer.profile.get("vulnerable") is True and offer.kind not in policy.consent.vulnerable_kinds:
        return "the customer is marked vulnerable"
    if customer.profile.get("marketing_consent") is False and offer.kind not in policy.consent.no_marketing_kinds:
        return "the customer has not consented to marketing"
    return None


def sales_wait(policy: Policy, customer: Customer, call: Call) -> str | None:
    """Why nothing is sold now; None when the way is free.

    An open issue, a service intent that this interaction has not resolved yet, or a bad experience that has not rested.
    What could not be read is assumed to be the worst.
    """
    rule = policy.service_first
    if not UNREADABLE.isdisjoint(customer.degraded):
        return "the activity could not be read, so an open issue cannot be ruled out"
    oldest = call.now_ms - rule.issue_valid_days * DAY_MS
    for issue in customer.open_issues:
        if issue.since_ms > oldest:
            return f"open issue: {issue.type} since {day_in(issue.since_ms, call.zone)}"
    resolved_ms = (
        customer.closed_ms if customer.closed_in is not None and customer.closed_in == call.interaction_id else None
    )
    intent = service_intent(policy, customer, call) if resolved_ms is None else None
    if intent is not None:
        return f"service intent: {intent}"
    bad_ms = customer.bad_experience_ms
    rested = bad_ms is None or bad_ms + rule.rest_after_bad_experience_h * HOUR_MS <= call.now_ms
    made_up_for = bad_ms is not None and resolved_ms is not None and resolved_ms >= bad_ms
    if not rested and not made_up_for:
        return f"a bad experience less than {rule.rest_after_bad_experience_h:g} hours ago"
    return None


def service_intent(policy: Policy, customer: Customer, call: Call) -> str | None:
    """What this interaction wants to have served: said now, or before in the same interaction and never resolved."""
    rule = policy.service_first
    said = call.context.get(rule.intent_field)
    if isinstance(said, str) and said in rule.service_intents:
        return said
    before = (s.intent for s in customer.intents if s.interaction_id == call.interaction_id)
    return next((intent for intent in before if intent in rule.service_intents), None)


def not_before_service(policy: Policy, reason: str | None, offer: Offer) -> str | None:
    """While there is something to serve, no up_sell and no cross_sell passes, whatever its value."""
    if reason is None or offer.kind not in SALES_KINDS or offer.kind in policy.service_first.override:
        return None
    return reason


def _overridden(policy: Policy, reason: str | None, candidates: Iterable[Candidate]) -> tuple[str, ...]:
    if reason is None:
        return ()
    named = {
        c.offer.kind
        for c in candidates
        if c.offer.kind in SALES_KINDS and c.offer.kind in policy.service_first.override
    }
    return tuple(f"service_first_override:{kind}" for kind in sorted(named))


def unknown_history(offer: Offer) -> str | None:
    """What may have been declined or offered too often is not offered while nobody can tell."""
    return None if offer.kind in SERVICE_KINDS else "the contact history could not be read"


class ContactHistory:
    """The contacts of this customer, one an interaction and group of near-identical offers.

    The current interaction does not count against `at_most` (the list refreshes during a call), its declines do.
    """

    def __init__(self, contacts: Sequence[Contact], offers: Mapping[str, Offer], call: Call) -> None:
        self._offers = offers
        self._call = call
        self._contacts = [c for c in contacts if c.outcome in COUNTED]
        self._across: tuple[ContactLimit, str | None] | None = None
        self._by_group: dict[str, list[Contact]] = {}
        for contact in self._contacts:
            self._by_group.setdefault(self._group(contact.offer_id), []).append(contact)

    def _group(self, offer_id: str) -> str:
        offer = self._offers.get(offer_id)
        return offer_id if offer is None or offer.group is None else f"group:{offer.group}"

    def too_often(self, across: ContactLimit, offer: Offer) -> str | None:
        """The limits of the offer and its group, then those across all offers; help is never rationed across offers."""
        limit = offer.contact or _USUAL
        if not self._contacts and limit.at_most and across.at_most:
            return None
        own = self._by_group.get(self._group(offer.id), [])
        is_service = offer.kind in SERVICE_KINDS
        if not is_service or offer.contact is not None:
            reason = self._rests(limit, own) or self._used_up(limit, own, "this offer")
            if reason:
                return reason
        return None if is_service else self._used_up_across(across)

    def _used_up_across(self, across: ContactLimit) -> str | None:
        """The limit across all offers, which gives every offer of a call the same answer."""
        if self._across is None or self._across[0] is not across:
            self._across = across, self._used_up(across, self._sales_contacts(), "offers in all")
        return self._across[1]

    def _sales_contacts(self) -> list[Contact]:
        offers = self._offers
        return [c for c in self._contacts if c.offer_id in offers and offers[c.offer_id].kind not in SERVICE_KINDS]

    def _rests(self, limit: ContactLimit, contacts: list[Contact]) -> str | None:
        now = self._call.now_ms
        for contact in contacts:
            age_ms = now - contact.at_ms
            if contact.outcome == "declined" and age_ms < limit.rest_after_decline_days * DAY_MS:
                return (
                    f"declined on {day_in(contact.at_ms, self._call.zone)}, rests {limit.rest_after_decline_days} days"
                )
            if contact.outcome == "accepted" and age_ms < limit.per_days * DAY_MS:
                return f"accepted on {day_in(contact.at_ms, self._call.zone)}"
        return None

    def _used_up(self, limit: ContactLimit, contacts: list[Contact], what: str) -> str | None:
        since = self._call.now_ms - limit.per_days * DAY_MS
        here = self._call.interaction_id
        occasions = {
            (self._group(c.offer_id), c.interaction_id or c.decision_id or c.at_ms)
            for c in contacts
            if c.at_ms > since and (here is None or c.interaction_id != here)
        }
        if len(occasions) < limit.at_most:
            return None
        return f"{what}: {len(occasions)} times in {limit.per_days} days (at most {limit.at_most})"

    def spent(self, days: int, horizon_months: float) -> float:
        """What was given away in accepted discounts over the last `days`, in the catalog's currency."""
        since = self._call.now_ms - days * DAY_MS
        accepted = {c.offer_id for c in self._contacts if c.outcome == "accepted" and c.at_ms > since}
        return sum(self._offers[o].discount_month * horizon_months for o in accepted if o in self._offers)


def beyond_authority(policy: Policy, history: ContactHistory, call: Call, offer: Offer) -> str | None:
    """What this agent may not promise, and what the budget to keep this customer does not carry."""
    if offer.discount_month == 0:
        return None
    authority = policy.authority
    limits: Limits = authority.groups.get(call.agent_group or "", authority.default)
    if limits.discount_month is not None and offer.discount_month > limits.discount_month:
        return f"a discount of {offer.discount_month:g} a month needs more authority (limit {limits.discount_month:g})"
    if authority.budget_per_customer is None:
        return None
    horizon = policy.worth.horizon_months
    total = history.spent(authority.budget_per_days, horizon) + offer.discount_month * horizon
    if total > authority.budget_per_customer:
        return f"the budget of {authority.budget_per_customer:g} in {authority.budget_per_days} days would be exceeded"
    return None


def too_dear(max_cost_month: float | None, candidate: Candidate) -> str | None:
    """The caller's own monthly limit, for offers that cost something."""
    offer = candidate.offer
    if max_cost_month is None or not (offer.is_plan or offer.price_month or offer.cost_month):
        return None
    if candidate.cost_month is None or candidate.cost_month > max_cost_month:
        return f"costs {candidate.cost_month} a month, the limit is {max_cost_month:g}"
    return None


def cheapest_covering(
    rules: CatalogRules, fitting: Sequence[Candidate], values: Values, customer: Customer
) -> tuple[str, float] | None:
    """The cheapest plan that is enough for what this customer uses, among the eligible ones and their own.

    `fitting`: what is eligible by its rule, the own plan as well. An own plan that its rule leaves out counts only where the
    catalog declares by a rule when it is enough; a default is no evidence then.
    """
    plans = [(c.cost_month, c.offer.id) for c in fitting if c.offer.is_plan and c.covers and c.cost_month is not None]
    own = rules.own(customer.profile)
    own_cost = values.get("own_cost_month")
    if own is not None and own.covers is not None and isinstance(own_cost, float) and _covers(own.covers, values):
        plans.append((own_cost, own.offer.id))
    if not plans:
        return None
    cost, offer_id = min(plans)
    return offer_id, cost


def _covers(rule: Rule, values: Values) -> bool:
    try:
        return rule.truth(values)
    except RuleError:
        return False


def dominated(cheaper: tuple[str, float] | None, candidate: Candidate) -> str | None:
    """A plan, or what competes with plans, is dominated when a plan that covers the customer's use costs less in all."""
    if cheaper is None or not candidate.offer.is_alternative or candidate.cost_month is None:
        return None
    offer_id, cost = cheaper
    if offer_id != candidate.offer.id and cost < candidate.cost_month:
        return f"{offer_id} is enough and costs {cost:.2f} instead of {candidate.cost_month:.2f} a month"
    return None
