"""policy.yaml: what the company wants, what it forbids itself, and what it tries."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nba.config.catalog import Offer
from nba.config.shapes import ContactLimit, Identifier, Number, Strict, Texts, Whole, no_truth
from nba.domain import Kind


class ContextWeight(Strict):
    """Multiplies the value of some kinds or offers while a condition holds."""

    when: str
    times: Number = Field(gt=0)
    kinds: tuple[Kind, ...] = ()
    offers: tuple[str, ...] = ()


# What being helped is worth beside any margin, in the catalog's currency, where a policy does not say otherwise.
DEFAULT_OF_KIND: dict[Kind, float] = {"resolve": 40.0, "escalate": 20.0, "inform": 8.0, "retain": 20.0}


_MOST_LOG = 20.0  # e to this is half a billion
Times = Annotated[Number, Field(ge=0.001, le=1000)]
Days = Annotated[Number, Field(ge=0, le=36_500)]
Months = Annotated[Number, Field(ge=0, le=1_200)]


class Change(Strict):
    """What a yes changes for as long as the customer stays; what is left out stays as it is.

    `binds_days`: their contract then runs for at least so long; `extends_days`: for so much longer. `times`: how often they
    leave, for `for_months`. `lasts_months`: so long the offer costs or earns its margin; None: as long as they stay.
    """

    binds_days: Days = 0.0
    extends_days: Days = 0.0
    times: Times = 1.0
    for_months: Months = 0.0
    lasts_months: Months | None = None


class IfAccepted(Strict):
    """What a yes changes: to any plan, to an offer of this kind, to this offer; the nearest counts, field by field."""

    plans: Change = Change()
    kinds: dict[Kind, Change] = {}
    offers: dict[str, Change] = {}


class Bound(Strict):
    """While the contract runs for longer than `until_days`, customers leave `times` as often."""

    until_days: Days = 30.0
    times: Times = 1.0


class Lifetime(Strict):
    """What a customer brings until they leave, and how often they leave; the formula heads nba/lifetime.py.

    `months`: how far ahead. `goodwill_month`: what a month of a customer is worth beside the margin. `leave_month`: the rate a
    month of who is free to go and pays what suits them. `overpaid_month`: what each euro (or other unit) a month above that
    adds to its logarithm, up to `overpaid_at_most`. `charges_last`: the share of charges beyond a plan's price that come
    again. `contract_end_days`: the profile field that tells the days.
    """

    months: Number = Field(36.0, gt=0, le=1_200)
    goodwill_month: Number = Field(0.0, ge=0, le=1_000_000)
    leave_month: Number = Field(ge=1e-6, le=10)
    overpaid_month: Number = Field(0.0, ge=0)
    overpaid_at_most: Number = Field(30.0, ge=0)
    charges_last: Number = Field(1.0, ge=0, le=1)
    contract_end_days: str = "contract_end_days"
    bound: Bound = Bound()
    if_accepted: IfAccepted = IfAccepted()

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.overpaid_month * self.overpaid_at_most > _MOST_LOG:
            said = f"overpaid_month times overpaid_at_most is above {_MOST_LOG:g}: who overpays would be gone within minutes"
            raise ValueError(f"{said}, so lower one of them")
        return self

    def change_of(self, offer: Offer) -> Change:
        """What a yes to this offer changes."""
        known = self.if_accepted
        said = [known.plans if offer.is_plan else None, known.kinds.get(offer.kind), known.offers.get(offer.id)]
        fields = {name: getattr(change, name) for change in said if change for name in change.model_fields_set}
        return Change().model_copy(update=fields)


def _unless_a_lifetime(before: dict[str, Any]) -> float:
    return 1.0 if before.get("lifetime") is None else 0.0


class Worth(Strict):
    """The weights of the arbitration. Money in the catalog's currency; see nba/arbitration.py for the formula.

    Beside a `lifetime`, which counts margin, saving and staying itself, `margin`, `saving` and `stay` are 0 unless given.
    """

    horizon_months: Number = Field(12.0, gt=0)
    lifetime: Lifetime | None = None
    margin: Number = Field(default_factory=_unless_a_lifetime, ge=0)
    saving: Number = Field(default_factory=_unless_a_lifetime, ge=0)
    stay: Number = Field(default_factory=_unless_a_lifetime, ge=0)
    of_kind: Annotated[dict[Kind, Number], AfterValidator(lambda given: {**DEFAULT_OF_KIND, **given})] = DEFAULT_OF_KIND
    keeps_months: dict[Kind, Number] = {}
    levers: dict[str, Annotated[Number, Field(ge=0)]] = {}
    context: tuple[ContextWeight, ...] = ()


class Consent(Strict):
    """What a customer gets who is marked vulnerable, or who has refused marketing."""

    vulnerable_kinds: tuple[Kind, ...] = ("resolve", "inform", "escalate")
    no_marketing_kinds: tuple[Kind, ...] = ("resolve", "inform", "escalate")


class Limits(Strict):
    """What an agent may give away: `discount_month` on one offer; None: no limit."""

    discount_month: Number | None = Field(None, ge=0)


class Authority(Strict):
    """Limits of agents, by group where one is named, and what may be spent to keep one customer."""

    default: Limits = Limits()
    groups: dict[str, Limits] = {}
    budget_per_customer: Number | None = Field(None, ge=0)
    budget_per_days: Whole = Field(365, ge=1)


class ServiceFirst(Strict):
    """When sales wait. `override` names kinds that may pass all the same; it is named in every answer it touches."""

    service_intents: tuple[str, ...] = ("complaint", "outage", "fault", "technical", "cancel")
    intent_field: str = "intent"
    issue_valid_days: Whole = Field(60, ge=1)
    rest_after_bad_experience_h: Number = Field(24.0, ge=0)
    override: tuple[Kind, ...] = ()


class Exploration(Strict):
    """Inverse-gap weighting over the first rank; `gamma` larger: greedier. None: no exploration."""

    gamma: Number | None = Field(None, gt=0)
    off_for: tuple[Kind, ...] = ("resolve", "inform", "escalate", "retain")
    off_when: str = "false"


class Holdout(Strict):
    """Shares of customers who hear a random offer among those that may be said, and who hear none."""

    random: Number = Field(0.0, ge=0, le=1)
    nothing: Number = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.random + self.nothing > 1:
            raise ValueError("random and nothing add up to more than 1: lower one of them")
        return self


class Arm(Strict):
    """One arm: its share of the units, what it changes in the policy, or which version of the model it asks."""

    name: Identifier
    share: Number = Field(gt=0, le=1)
    policy: dict[str, Any] = {}
    model: str | None = None


class Experiment(Strict):
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


class Policy(Strict):
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
    monotone: dict[str, Annotated[Literal[1, -1], BeforeValidator(no_truth)]] = {}
    seed: Whole = Field(0, ge=-(2**63), le=2**63 - 1)

    @cached_property
    def locales(self) -> tuple[str, ...]:
        """The languages it speaks; the first one is the default."""
        return tuple(self.opening)
