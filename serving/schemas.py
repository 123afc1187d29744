"""What travels over the wire: the bodies that come in (held strictly to their shape) and, for the documentation, go out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from features.activity import MAX_ID_BYTES
from nba.domain import DELAYED_OUTCOMES, DelayedOutcome, Kind, Outcome, Stage

MAX_EVENTS = 1_000
# No control characters, no braces (a brace would move a Redis key to another hash slot), at most 256 bytes.
CUSTOMER_ID = r"^[^\x00-\x1f\x7f-\x9f{}]+$"


def _fits(identifier: str) -> str:
    if len(identifier.encode()) > MAX_ID_BYTES:
        raise ValueError(f"longer than {MAX_ID_BYTES} bytes: use a shorter id")
    if identifier.isspace():
        raise ValueError("only blanks: send the id itself")
    return identifier


CustomerId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_BYTES, pattern=CUSTOMER_ID), AfterValidator(_fits)
]
# One character at least that is no blank.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x1f\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]*$"
Token = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_ONE_LINE)]
DecisionId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9a-z-]+$")]
Moment = Annotated[
    str,
    StringConstraints(min_length=10, max_length=40),
    Field(description="RFC 3339 with an offset", examples=["2026-11-22T10:00:00.000Z"]),
]

_LIMIT, _CHANNEL = 3, "call"
_MOST_FIELDS = 100


def _no_context(given: Any) -> Any:
    return {} if given is None else given


def _no_limit(given: Any) -> Any:
    return _LIMIT if given is None else given


def _no_channel(given: Any) -> Any:
    return _CHANNEL if given is None else given


def _no_explain(given: Any) -> Any:
    return False if given is None else given


def _or_null(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, {"type": "null"}]})


# null counts as left out.
Context = Annotated[
    dict[str, Any], BeforeValidator(_no_context), _or_null({"type": "object", "additionalProperties": True})
]
Limit = Annotated[
    int,
    Field(ge=1, le=20),
    BeforeValidator(_no_limit),
    _or_null({"type": "integer", "minimum": 1, "maximum": 20}),
]
Channel = Annotated[
    Token,
    BeforeValidator(_no_channel),
    _or_null({"type": "string", "minLength": 1, "maxLength": 256, "pattern": _ONE_LINE}),
]
Explain = Annotated[bool, BeforeValidator(_no_explain), _or_null({"type": "boolean"})]


class StrictIn(BaseModel):
    """A body of a request: nothing undeclared, nothing converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, given: Any) -> Any:
        """Every unknown field is a complaint of its own: 95,000 of them kept all other calls waiting for seconds."""
        if isinstance(given, dict) and len(given) > _MOST_FIELDS:
            raise ValueError(f"has more than {_MOST_FIELDS} fields: send only those of /openapi.json")
        return given


class Agent(StrictIn):
    """Who is on the line for us."""

    id: Token | None = None
    group: Token | None = None


class RecommendIn(StrictIn):
    """A question for the next best action."""

    customer_id: CustomerId
    channel: Channel = _CHANNEL
    interaction_id: Token | None = None
    context: Context = Field({}, description="typed by `context` of features.yaml")
    limit: Limit = _LIMIT
    locale: (
        Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*$")] | None
    ) = None
    max_cost_month: float | None = Field(None, ge=0)
    agent: Agent | None = None
    explain: Explain = False
    at: Moment | None = None


class ActivityIn(StrictIn):
    """A batch of events; each is checked on its own, so one bad event does not cost the others."""

    events: list[Any] = Field(max_length=MAX_EVENTS)


class OfferOutcomeIn(StrictIn):
    """What came of a suggestion."""

    decision_id: DecisionId
    offer_id: Token
    outcome: Outcome
    at: Moment | None = None
    reason: Annotated[str, StringConstraints(max_length=1000)] | None = None
    outcome_id: Token | None = None


class DelayedOutcomeIn(StrictIn):
    """What became of a customer later."""

    customer_id: CustomerId
    outcome: DelayedOutcome
    at: Moment
    value: float | None = None
    reason: Annotated[str, StringConstraints(max_length=1000)] | None = None
    outcome_id: Token | None = None


def _which_outcome(body: Any) -> str:
    """Delayed outcomes belong to a customer, all others to a decision; decides which shape complaints are about."""
    outcome = body.get("outcome") if isinstance(body, dict) else getattr(body, "outcome", None)
    return DELAYED if outcome in DELAYED_OUTCOMES else OFFER


OFFER, DELAYED = "(offer)", "(delayed)"
OutcomeIn = Annotated[
    Annotated[OfferOutcomeIn, Tag(OFFER)] | Annotated[DelayedOutcomeIn, Tag(DELAYED)], Discriminator(_which_outcome)
]


class Own(BaseModel):
    """The customer's plan and what they pay on it for what they use."""

    offer_id: str
    title: str
    cost_month: float | None


class Because(BaseModel):
    """A true reason, from the customer's own activity."""

    feature: str
    value: Any
    text: str
    window: str | None = None


class SuggestionOut(BaseModel):
    """One line for the agent."""

    rank: int
    offer_id: str
    kind: Kind
    title: str
    say: str
    because: list[Because]
    accept_probability: float
    expected_value: float
    cost_month: float | None = None
    saving_month: float | None
    propensity: float
    explored: bool
    skill: str | None = Field(None, description="who can do it, where the offer says so")


class WithheldOut(BaseModel):
    """An offer that may not be said, and why."""

    offer_id: str
    stage: Stage
    rule: str


class ThreadOut(BaseModel):
    """A line of the story so far."""

    at: str
    channel: str
    activity: str
    text: str


class RecommendOut(BaseModel):
    """The answer."""

    decision_id: str
    customer_id: str
    at: str
    source: Literal["model", "fallback"]
    degraded: list[str]
    heads: list[str] = Field(
        description="which heads of the model spoke; without stay, nothing that it foretells of staying counted"
    )
    model: str | None
    policy: str
    experiment: dict[str, str] | None
    own: Own | None
    freshness: dict[str, int | None]
    funnel: dict[str, int]
    nothing_because: str | None
    suggestions: list[SuggestionOut]
    thread: list[ThreadOut]
    withheld: list[WithheldOut] | None = None
    features: dict[str, float | None] | None = None


class Rejected(BaseModel):
    """An event that was not taken: its place in the batch and the reason."""

    index: int
    error: str
    pointer: str


class ActivityOut(BaseModel):
    """How many events are kept."""

    accepted: int
    rejected: list[Rejected]


class OutcomeOut(BaseModel):
    """The outcome is on the disk. `duplicate`: it was there before."""

    outcome_id: str
    duplicate: bool


class CustomerOut(BaseModel):
    """The unified view of one customer."""

    customer_id: str
    at: str
    profile: dict[str, Any]
    profile_at: str | None
    features: dict[str, float | None]
    thread: list[ThreadOut]
    open_issues: list[dict[str, Any]]
    contacts: list[dict[str, Any]]
    degraded: list[str] = Field(description="what could not be read whole: activity, profile, contacts or thread")


class ProfileOut(BaseModel):
    """The profile as it is kept."""

    customer_id: str
    profile: dict[str, Any]


class ErasedOut(BaseModel):
    """The receipt of an erasure: how much was removed from where.

    `redis_file`: the append-only file of the engine's own Redis, which keeps erased values until it is rewritten.
    """

    customer_id: str
    at: str
    removed: dict[str, int]
    redis_file: Literal["rewritten", "being rewritten", "not ours"]


class ReadyOut(BaseModel):
    """Each dependency by name: `ok`, or what is wrong with it."""

    ready: bool
    dependencies: dict[str, str]


class ReloadOut(BaseModel):
    """What is served now."""

    model: str | None
    policy: str
    workers: int
    not_yet: list[int] = Field(description="process ids of workers that had not reloaded in time")


class FieldProblem(BaseModel):
    """One thing wrong with a request, and where."""

    detail: str
    pointer: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    pointer: str | None = None
    errors: list[FieldProblem] | None = None
    request_id: str | None = None
