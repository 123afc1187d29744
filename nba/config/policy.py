"""policy.yaml: what the company wants, what it forbids itself, and what it tries."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

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


class Worth(Strict):
    """The weights of the arbitration. Money in the catalog's currency; see nba/arbitration.py for the formula."""

    horizon_months: Number = Field(12.0, gt=0)
    margin: Number = Field(1.0, ge=0)
    saving: Number = Field(1.0, ge=0)
    stay: Number = Field(1.0, ge=0)
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
