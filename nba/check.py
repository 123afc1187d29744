"""What one file of a config folder says, held against the others: names, rules, templates. Every problem has its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from nba.candidates import PAIR_COLUMNS, offer_columns, offer_constants
from nba.clock import DAY_MS
from nba.comparisons import mismatch
from nba.complaints import suggestion_for
from nba.config import Config, Feature, FeaturesConfig, Offer, Window
from nba.config.features import STANDARD_PROFILE, ProfileField
from nba.domain import Column
from nba.errors import RuleError
from nba.experiments import HOLDOUT, arm_configs
from nba.lines import Document, YamlPath
from nba.phrase import NAMES, PERSON, parse_template, words_before_name
from nba.rules import FUNCTIONS, SCALARS, SCOPES, Rule, Value, flat, references
from nba.wording import known_currency, known_locale, spec_problem

RESERVED_ATTRIBUTES = frozenset({"id", "kind", *NAMES})
RESERVED_FEATURES = frozenset({*FUNCTIONS, *SCALARS, *SCOPES, *NAMES, *PERSON, "has", "true", "false", "null", "in"})
MIXED = "mixed"
SEEN_BY_RULES = ("features", "profile", "context", "own")
MONEY_IN_COST = frozenset({"saving_month", "cost_month"})


@dataclass(frozen=True)
class _Names:
    """Every name that a rule may read, with its type, by scope."""

    features: dict[str, str]
    profile: dict[str, str]
    context: dict[str, str]
    own: dict[str, str]

    def of(self, scope: str) -> dict[str, str]:
        known: dict[str, str] = getattr(self, scope)
        return known


def check_config(config: Config, documents: Mapping[str, Document]) -> list[str]:
    """Every problem, as `file:line: place: what: cure`. An empty list: the config is sound."""
    names = _names(config)
    features = documents["features"]
    problems = [*_feature_problems(config, features, names)]
    problems += _offer_problems(config, documents["catalog"], names)
    problems += _policy_problems(config, documents["policy"], names)
    problems += _intent_problems(config, documents["policy"], documents["policy"].data)
    problems += _experiment_problems(config, documents["policy"], names)
    return problems


def _names(config: Config) -> _Names:
    features = config.features
    own: dict[str, str] = {}
    for name, value in (item for offer in config.catalog.offers for item in offer.attributes.items()):
        own[name] = MIXED if own.get(name, _type_of(value)) != _type_of(value) else _type_of(value)
    context = {name: str(field.type) for name, field in features.context.items()}
    profile = {name: str(kind) for name, kind in features.profile_types.items()}
    return _Names({f.name: "number" for f in features.features}, profile, context, own)


def _type_of(value: Value) -> str:
    return "boolean" if isinstance(value, bool) else "category" if isinstance(value, str) else "number"


# features.yaml


def _feature_problems(config: Config, document: Document, names: _Names) -> Iterator[str]:
    settings = config.features
    yield from _thread_problems(config, document)
    yield from _repeated_names(settings, document)
    for index, feature in enumerate(settings.features):
        place = document.place(("features", index))
        if feature.name in RESERVED_FEATURES:
            yield f"{place}: {feature.name}: is a word of the rules or the templates: rename the feature"
        if feature.of is not None and feature.of not in settings.activities:
            yield f"{place}: {feature.name}: unknown activity {feature.of!r}: {suggestion_for(feature.of, settings.activities)}"
        if feature.window and _looks_back_ms(feature, feature.window) > settings.retention_days * DAY_MS:
            yield f"{place}: {feature.name}: looks back further than activity is kept: raise retention_days or shorten it"
        if feature.derived is not None:
            yield from _rule_problems(feature.derived, {}, names, f"{place}: {feature.name}", derived=True)
    yield from _standard_problems(settings.profile, document)
    yield from _cycles(settings.features, document)


def _repeated_names(settings: FeaturesConfig, document: Document) -> Iterator[str]:
    named: list[tuple[str, YamlPath, str]] = [
        *(("feature", ("features", index), feature.name) for index, feature in enumerate(settings.features)),
        *(("profile", ("profile", name), name) for name in settings.profile),
        *(("context", ("context", name), name) for name in settings.context),
    ]
    seen: dict[str, str] = {}
    for kind, path, name in named:
        if name in seen:
            yield f"{document.place(path)}: {name!r} is also a {seen[name]}: names may stand only once in the three"
        seen.setdefault(name, kind)


def _standard_problems(profile: Mapping[str, ProfileField], document: Document) -> Iterator[str]:
    """The rules of consent ask for true and false: a text "yes" would be no customer's mark."""
    for name, field in profile.items():
        given, wanted = field.type, STANDARD_PROFILE.get(name, field.type)
        if given != wanted and {given, wanted} != {"category", "text"}:
            place = document.place(("profile", name))
            yield f"{place}: profile.{name}: is a {wanted} in every config, no {given}: declare `{name}: {wanted}`, or rename it"


def _looks_back_ms(feature: Feature, window: Window) -> int:
    """How far back, at most, the oldest event lies that counts."""
    if window.span_ms is None:
        days = int(((window.months_back or 0) + 1) * 365.2425 / 12) + 2  # exact to a day for any run of months
        return days * DAY_MS
    return window.span_ms * (2 if feature.take == "trend" else 1)


def _thread_problems(config: Config, document: Document) -> Iterator[str]:
    for name, activity in config.features.activities.items():
        for locale, text in activity.text.items():
            for problem in template_problems(text, ("subject", "text"), locale):
                yield f"{document.place(('activities', name, 'text', locale))}: {name}: {problem}"


def _cycles(features: tuple[Feature, ...], document: Document) -> Iterator[str]:
    reads = {
        f.name: {n for _, n in references(f.derived, [g.name for g in features])}
        for f in features
        if f.derived is not None
    }
    done = {f.name for f in features if f.derived is None}
    while ready := [
        name for name, needs in reads.items() if name not in done and needs <= done | (needs - reads.keys())
    ]:
        done.update(ready)
    for index, feature in enumerate(features):
        if feature.name in reads and feature.name not in done:
            yield f"{document.place(('features', index))}: {feature.name}: is computed from itself: break the circle"


# catalog.yaml


def _offer_problems(config: Config, document: Document, names: _Names) -> Iterator[str]:
    seen: dict[str, str] = {}
    if not known_currency(config.catalog.currency):
        problem = f"currency {config.catalog.currency!r} is not in ISO 4217: use a code such as EUR or USD"
        yield f"{document.place(('currency',))}: {problem}"
    for index, offer in enumerate(config.catalog.offers):
        path: YamlPath = ("offers", index)
        if offer.id in seen:
            yield f"{document.place((*path, 'id'))}: offer {offer.id!r} stands already at {seen[offer.id]}: give one another id"
        seen.setdefault(offer.id, document.place((*path, "id")))
        for name in sorted(RESERVED_ATTRIBUTES & offer.attributes.keys()):
            yield f"{document.place((*path, 'attributes', name))}: {offer.id}: attribute {name!r} is a reserved name: rename it"
        yield from _offer_rule_problems(offer, document, path, names)
        yield from _say_problems(config, offer, document, path, names)


def _offer_rule_problems(offer: Offer, document: Document, path: YamlPath, names: _Names) -> Iterator[str]:
    constants = offer_constants(offer)
    for field in ("eligible", "cost_month", "covers"):
        text = getattr(offer, field)
        if text is None:
            continue
        place = document.place((*path, field))
        yield from _rule_problems(
            text, constants, names, f"{place}: {offer.id}: {field}", formula=field == "cost_month"
        )
        circular = {name for scope, name in references(text) if not scope} & MONEY_IN_COST
        if field != "eligible" and circular:
            yield f"{place}: {offer.id}: {field}: {min(circular)} is computed from it: read own_cost_month or price_month"


def _say_problems(config: Config, offer: Offer, document: Document, path: YamlPath, names: _Names) -> Iterator[str]:
    constants = offer_constants(offer)
    facts = {*NAMES, *PERSON, *names.features, *config.features.columns_by_name, *offer.attributes}
    for index, say in enumerate(offer.say):
        here = (*path, "say", index)
        place = document.place((*here, "when"))
        yield from _rule_problems(say.when, constants, names, f"{place}: {offer.id}: when")
        for locale, text in say.texts.items():
            for problem in template_problems(text, facts, locale):
                yield f"{document.place((*here, locale))}: {offer.id}: {problem}"


def template_problems(text: str, known: Iterable[str], locale: str) -> Iterator[str]:
    """What is wrong with one template text."""
    if not known_locale(locale):
        yield f"unknown language {locale!r}: use a code such as en or de-AT"
    try:
        parts = parse_template(text)
    except ValueError as error:
        cure = (
            ""
            if "write" in str(error)
            else ": close each brace that is opened, and write {{ and }} for braces to be said"
        )
        yield f"template {text[:60]!r}: {error}{cure}"
        return
    known = set(known)
    for part in parts:
        if part.name is not None and part.name not in known:
            yield f"unknown placeholder {{{part.name}}}: {suggestion_for(part.name, known)}"
        if part.name is not None and (problem := spec_problem(part.spec)):
            yield f"placeholder {{{part.name}}}: {problem}"


# policy.yaml


def _policy_problems(config: Config, document: Document, names: _Names) -> Iterator[str]:
    policy = config.policy
    offers = config.catalog.by_id
    openings: list[tuple[YamlPath, str, str]] = [(("opening", loc), loc, text) for loc, text in policy.opening.items()]
    openings += [
        (("opening_for", k, loc), loc, t) for k, texts in policy.opening_for.items() for loc, t in texts.items()
    ]
    for path, locale, text in openings:
        for problem in template_problems(text, PERSON, locale):
            yield f"{document.place(path)}: {problem}"
        if unsaid := words_before_name(text):
            yield f"{document.place(path)}: a sentence begins with the name, {unsaid!r} would not be said: put it behind"
    for offer_id in policy.worth.levers.keys() - offers.keys():
        place = document.place(("worth", "levers", offer_id))
        yield f"{place}: lever for unknown offer {offer_id!r}: {suggestion_for(offer_id, offers)}"
    for index, weight in enumerate(policy.worth.context):
        place = document.place(("worth", "context", index))
        yield from _rule_problems(weight.when, {}, names, f"{place}: when")
        for offer_id in set(weight.offers) - offers.keys():
            yield f"{place}: unknown offer {offer_id!r}: {suggestion_for(offer_id, offers)}"
    yield from _lifetime_problems(config, document)
    columns = {*(f"x.{name}" for name in config.features.columns_by_name), *(c.name for c in model_columns(config))}
    for name in policy.monotone.keys() - columns:
        place = document.place(("monotone", name))
        yield f"{place}: monotone: no model has a column {name!r}: {suggestion_for(name, columns)}"
    place = document.place(("exploration", "off_when"))
    yield from _rule_problems(policy.exploration.off_when, {}, names, f"{place}: off_when")


def _lifetime_problems(config: Config, document: Document) -> Iterator[str]:
    lifetime, offers = config.policy.worth.lifetime, config.catalog.by_id
    if lifetime is None:
        return
    for offer_id in lifetime.if_accepted.offers.keys() - offers.keys():
        place = document.place(("worth", "lifetime", "if_accepted", "offers", offer_id))
        yield f"{place}: a change by unknown offer {offer_id!r}: {suggestion_for(offer_id, offers)}"
    for offer in config.catalog.offers:
        change = lifetime.change_of(offer)
        if (change.times != 1.0) != (change.for_months > 0.0):
            place = document.place(("worth", "lifetime", "if_accepted"))
            half = "for_months" if change.times != 1.0 else "times"
            yield f"{place}: a yes to {offer.id} changes leaving without {half}, so nothing: times and for_months go together"
            break
    name = lifetime.contract_end_days
    is_read = lifetime.bound.times != 1.0 or "contract_end_days" in lifetime.model_fields_set
    if is_read and config.features.profile_types.get(name) != "number":
        place = document.place(("worth", "lifetime", "contract_end_days"))
        numbers = {field for field, kind in config.features.profile_types.items() if kind == "number"}
        said = (
            f"worth.lifetime reads profile.{name}, which is no number of the profile: {suggestion_for(name, numbers)}"
        )
        yield f"{place}: {said}; or declare `profile: {{contract_end_days: {{type: number, a_day: -1}}}}` in features.yaml"


def _intent_problems(config: Config, document: Document, written: Mapping[str, Any]) -> Iterator[str]:
    """`written`: the policy, or what an arm changes in it. Only who names intents is refused for want of their field."""
    rule, known = config.policy.service_first, config.features.context
    named = {"service_intents", "intent_field"} & (written.get("service_first") or {}).keys()
    if named and rule.service_intents and rule.intent_field not in known:
        place, field = document.place(("service_first", "intent_field")), rule.intent_field
        said = f"service_first reads context.{field}, which no call carries: {suggestion_for(field, known)}"
        yield f"{place}: {said}; declare `context: {{{field}: category}}` in features.yaml, or `service_intents: []`"


def _experiment_problems(config: Config, document: Document, names: _Names) -> Iterator[str]:
    taken = Counter(experiment.name for experiment in config.policy.experiments)
    for index, experiment in enumerate(config.policy.experiments):
        place = document.place(("experiments", index))
        if taken[experiment.name] > 1 or experiment.name == HOLDOUT:
            yield f"{place}: experiment {experiment.name!r}: the name is taken: choose another"
    place = document.place(("experiments",))
    try:
        changed = dict(arm_configs(config))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        yield f"{place}: an arm changes {where}: {first['msg']}: the form is that of policy.yaml"
        return
    sound = set(_policy_problems(config, document, names))
    written = {(e.name, arm.name): arm.policy for e in config.policy.experiments for arm in e.arms}
    for (name, arm), variant in changed.items():
        all_found = [*_policy_problems(variant, document, names)]
        all_found += _intent_problems(variant, document, written[name, arm])
        found = [p for p in all_found if p not in sound]
        yield from (f"{place}: {name}, arm {arm}: {problem.partition(': ')[2]}" for problem in found)


def model_columns(config: Config) -> tuple[Column, ...]:
    """The offer's and the pair's columns of a model."""
    return (*offer_columns(config.catalog), *PAIR_COLUMNS)


# rules


def _rule_problems(
    text: str, constants: Mapping[str, Value], names: _Names, place: str, derived: bool = False, formula: bool = False
) -> Iterator[str]:
    scopes = ("features",) if derived else SEEN_BY_RULES
    try:
        rule = Rule(text, constants, names.features if derived else ())
    except RuleError as error:
        yield f"{place}: {error}"
        return
    unknown = list(_unknown(rule, constants, names, scopes))
    yield from (f"{place}: {problem}" for problem in unknown)
    if unknown:
        return
    bare = names.features if derived else ()
    if problem := _type_problem(rule, names, derived or formula) or mismatch(text, _types(names, constants), bare):
        yield f"{place}: {problem}"


def _types(names: _Names, constants: Mapping[str, Value]) -> dict[tuple[str, str], str]:
    """What can be read, with its type. Where offers differ about an attribute of the own plan, it has none."""
    types = {(scope, name): kind for scope in SEEN_BY_RULES for name, kind in names.of(scope).items() if kind != MIXED}
    fixed = {("attributes", n.removeprefix("attributes__")): _type_of(v) for n, v in constants.items()}
    return {**types, **fixed, **{("", name): "number" for name in SCALARS}}


def _unknown(rule: Rule, constants: Mapping[str, Value], names: _Names, scopes: tuple[str, ...]) -> Iterator[str]:
    for scope, name in sorted(rule.reads):
        if scope == "attributes":
            known = [n.removeprefix("attributes__") for n in constants if n.startswith("attributes__")]
            yield f"{scope}.{name} is not there in {rule.text!r}: {suggestion_for(name, known)}"
        elif scope and scope not in scopes:
            yield f"{scope}.{name} cannot be read in {rule.text!r}: a derived feature reads other features only"
        elif scope and name not in names.of(scope):
            yield f"unknown {scope}.{name} in {rule.text!r}: {suggestion_for(name, names.of(scope))}"


def _type_problem(rule: Rule, names: _Names, formula: bool) -> str | None:
    """Try the rule on a made-up customer: a comparison of text with a number shows before the first call does."""
    sample: dict[str, Value] = {"number": 1.0, "category": "x", "text": "x", "boolean": True, MIXED: 1.0}
    values = {flat(s, n) if s else n: sample[names.of(s)[n]] if s else 1.0 for s, n in rule.reads}
    try:
        result = rule.evaluate(values)
    except RuleError as error:
        said = str(error)
        if "overload" in said or "Unsupported operation" in said:
            return f"{rule.text!r} mixes types: compare text with text and numbers with numbers"
        if "no value for" in said:  # every name has one here, so it is a function that does not take what it is given
            return f"{rule.text!r} gives a function what it does not take: text for text, a list for size"
        if "valid regex" in said or not rule.reads:
            return f"{rule.text!r} holds for nobody, it cannot be evaluated: mend the pattern or the constants"
        return None
    if formula and (isinstance(result, bool) or not isinstance(result, (int, float))):
        return f"{rule.text!r} gives {result!r}: a formula has to give a number"
    if not formula and not isinstance(result, bool):
        return f"{rule.text!r} gives {result!r}: a condition has to give true or false"
    return None
