"""What a config folder may say and its author should hear of: it could mislead a customer, or weakens a promise.

Nothing here refuses a config; `nba check` prints each as `file:line: place: what: cure`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from nba.comparisons import asked_intents
from nba.config import Config, Offer, Say
from nba.domain import SALES_KINDS
from nba.experiments import arm_configs
from nba.lines import Document, YamlPath
from nba.phrase import addresses, parse_template
from nba.rules import references
from nba.wording import known_currency

Caution = tuple[YamlPath, str]
_PROMISES = frozenset({"saving_month", "saving_year"})
_NUMBER = re.compile(r"[€$£¥]?\s?\d+(?:[.,:/]\d+)*\s?[€$£¥%‰]?")
_NAME = re.compile(r"\b(?:24/7|\d[A-Z](?!\w)|(?P<letters>[^\W\d_]+)-?\d+\w*)")  # round the clock, 5G, MP3


def warnings(config: Config, documents: Mapping[str, Document]) -> list[str]:
    """What is allowed in a sound config, and could mislead a customer or surprise an author."""
    catalog, policy = documents["catalog"], documents["policy"]
    found = [f"{catalog.place(path)}: {said}" for path, said in _of_the_catalog(config)]
    found += [f"{documents['features'].place(path)}: {said}" for path, said in _of_the_plan(config)]
    found += _unverified(config, catalog, policy)
    mine = list(_of_a_policy(config, documents))
    found += [f"{policy.place(path)}: {said}" for path, said in mine]
    return [*found, *_of_arms(config, documents, {said for _, said in mine})]


# catalog.yaml


def _of_the_catalog(config: Config) -> Iterator[Caution]:
    attributes = {name for offer in config.catalog.offers for name in offer.attributes}
    for name in sorted(config.catalog.labels.keys() - attributes):
        yield ("labels", name), f"labels.{name}: no offer has this attribute: write its name, or take the label out"
    for index, offer in enumerate(config.catalog.offers):
        for number, say in enumerate(offer.say):
            path: YamlPath = ("offers", index, "say", number)
            promised = _named(say) & _PROMISES
            if promised and "saving_month" not in say.when and "saving_month" not in offer.eligible:
                said = f"{offer.id}: say {number + 1} names {min(promised)} without `saving_month > 0` in its `when`"
                yield path, f"{said}: it will stay unsaid where there is no saving"
            if missing := sorted(set(config.policy.locales) - say.texts.keys()):
                yield path, f"{offer.id}: say {number + 1} has no text in {', '.join(missing)}: add one"
            for locale, text in say.texts.items():
                yield from (((*path, locale), said) for said in _signs(offer, text))


_SIGN_BEFORE = re.compile(r"([€$£¥]|\b[A-Z]{3})\s*$")
_SIGN_AFTER = re.compile(r"^\s*([€$£¥]|[A-Z]{3}\b)")
_SPEAKS_OF_THE_PLAN = frozenset({"saving_month", "saving_year", "own_cost_month", "own_title"})


def _signs(offer: Offer, text: str) -> Iterator[str]:
    """Money that stands beside a currency sign, and so is said with two."""
    parts = parse_template(text)
    literals = ["", *(part.literal for part in parts), ""]
    for part, before, after in zip(parts, literals, literals[2:], strict=False):
        found = _SIGN_BEFORE.search(before) or _SIGN_AFTER.search(after)
        if part.spec == "money" and found and (found[1] in "€$£¥" or known_currency(found[1])):
            yield f"{offer.id}: {{{part.name}}} brings its currency sign along: leave out the {found[1]!r} beside it"


def _of_the_plan(config: Config) -> Iterator[Caution]:
    """Rules and sentences about the own plan, where no profile can name one."""
    if config.features.profile_types.get("plan") in ("category", "text"):
        return
    for offer in config.catalog.offers:
        rules = " ".join([offer.eligible, offer.covers or "", offer.cost_month or "", *(say.when for say in offer.say)])
        read = {name if scope == "" else scope for scope, name in references(rules)}
        read |= {name for say in offer.say for name in _named(say)}
        if about := sorted(read & {"own", *_SPEAKS_OF_THE_PLAN}):
            said = f"profile has no `plan: category`, so nobody has a plan of their own and {about[0]} (of {offer.id}"
            yield ("profile",), f"{said}, say) is never known: declare it, with the id of an offer as its value"
            return


def _named(say: Say) -> set[str]:
    return {part.name for text in say.texts.values() for part in parse_template(text) if part.name is not None}


# literal numbers in sentences


def _unverified(config: Config, catalog: Document, policy: Document) -> list[str]:
    """Each place once: a template that several offers share is one."""
    found: dict[str, str] = {}
    for index, offer in enumerate(config.catalog.offers):
        for number, say in enumerate(offer.say):
            windows = _windows(config, offer, say)
            for locale, text in say.texts.items():
                place = catalog.place(("offers", index, "say", number, locale))
                _note(found, f"{place}: {offer.id}", text, config, windows)
    for locale, text in config.policy.opening.items():
        _note(found, policy.place(("opening", locale)), text, config, set())
    for kind, texts in config.policy.opening_for.items():
        for locale, text in texts.items():
            _note(found, policy.place(("opening_for", kind, locale)), text, config, set())
    return list(found.values())


def _note(found: dict[str, str], place: str, text: str, config: Config, windows: set[str]) -> None:
    if literal := [n for n in literal_numbers(text, _titles(config)) if n not in windows]:
        said = (
            f"literal number {', '.join(literal)} in a template is not verified: use a claim such as {{saving_month}}"
        )
        found.setdefault(place.partition(": ")[0], f"{place}: {said}, or an attribute of the offer")


def literal_numbers(text: str, titles: Iterable[str] = ()) -> list[str]:
    """The numbers that a template says on its own, without those in names: of an offer (`titles`), 5G, MP3, 24/7."""
    found = []
    for part in parse_template(text):
        literal = part.literal
        for title in titles:
            literal = literal.replace(title, " ")
        found += [match[0].strip() for match in _NUMBER.finditer(_NAME.sub(_unnamed, literal))]
    return found


def _unnamed(match: re.Match[str]) -> str:
    return match[0] if known_currency(match["letters"] or "") else " "


def _titles(config: Config) -> list[str]:
    """Longest first, so that `Data Plus 10 GB` is no `Data Plus 1`."""
    return sorted({title for offer in config.catalog.offers for title in offer.title.values()}, key=len, reverse=True)


def _windows(config: Config, offer: Offer, say: Say) -> set[str]:
    """The lengths of the windows that a sentence speaks of: `in the last 90 days` is true of a feature with window 90d."""
    known = {feature.name: feature for feature in config.features.features}
    rules = f"{say.when} {offer.eligible}"
    names = (_named(say) | {name for scope, name in references(rules) if scope == "features"}) & known.keys()
    todo, seen, lengths = list(names), set(names), set()
    while todo:
        feature = known[todo.pop()]
        lengths |= set(re.findall(r"^\d+", str(feature.window)))
        read = {name for _, name in references(feature.derived or "", known)} & known.keys() - seen
        seen |= read
        todo += read
    return lengths


# policy.yaml


def _of_a_policy(config: Config, documents: Mapping[str, Document]) -> Iterator[Caution]:
    yield from _service_first(config)
    yield from _slips(config, documents)
    yield from _nameless(config)
    consent = config.policy.consent
    customers = {"vulnerable_kinds": "are marked vulnerable", "no_marketing_kinds": "have refused marketing"}
    for field, who in customers.items():
        for index, kind in enumerate(getattr(consent, field)):
            if kind in SALES_KINDS:
                yield ("consent", field, index), f"consent.{field}: {kind} is sold to customers who {who}: leave it out"


def _nameless(config: Config) -> Iterator[Caution]:
    """Openings that do not begin as every sentence to somebody known should."""
    policy = config.policy
    texts: list[tuple[YamlPath, str]] = [(("opening", locale), text) for locale, text in policy.opening.items()]
    texts += [(("opening_for", k, loc), t) for k, given in policy.opening_for.items() for loc, t in given.items()]
    for path, text in texts:
        if not addresses(text):
            said = f"{'.'.join(map(str, path))} does not begin with a name and a comma, so nobody is addressed by name"
            yield path, f"{said}: begin with `{{salutation}} {{family_name}}, `"


def _service_first(config: Config) -> Iterator[Caution]:
    rule = config.policy.service_first
    if rule.override:
        kinds = ", ".join(rule.override)
        said = f"service_first.override lets {kinds} pass while an issue is open: every answer will say so"
        yield ("service_first", "override"), said
    if not rule.service_intents:
        said = "service_first.service_intents is empty, so service first is weakened: name what makes sales wait"
        yield ("service_first", "service_intents"), f"{said}, such as complaint or outage"
    elif rule.intent_field not in config.features.context:
        said = f"no call carries context.{rule.intent_field}, so no intent makes sales wait"
        yield ("service_first",), f"{said}: declare `context: {{{rule.intent_field}: category}}` in features.yaml"
    activities = config.features.activities.items()
    bad = [name for name, kind in activities if kind.bad_experience or kind.opens_issue]
    if bad and rule.rest_after_bad_experience_h == 0:
        said = f"service_first.rest_after_bad_experience_h is 0, so service first is weakened: sales follow at once on {bad[0]}"
        yield ("service_first", "rest_after_bad_experience_h"), f"{said}: give the hours to wait, 24 say"


def _slips(config: Config, documents: Mapping[str, Document]) -> Iterator[Caution]:
    """A service intent that no rule knows, one slip of the pen away from one that a rule asks for."""
    rule = config.policy.service_first
    asked = {intent: documents[name].place(path) for intent, name, path in asked_intents(config)}
    for index, intent in enumerate(rule.service_intents):
        near = sorted(other for other in asked.keys() - set(rule.service_intents) if _one_slip(intent, other))
        if intent not in asked and near:
            said = (
                f"service_first.service_intents: {intent!r} is asked for nowhere, {near[0]!r} is, at {asked[near[0]]}"
            )
            yield ("service_first", "service_intents", index), f"{said}: if they are the same, write them the same"


def _one_slip(one: str, other: str) -> bool:
    """A letter too many, too few, another one, or two in each other's place."""
    head = _alike(one, other)
    one, other = one[head:], other[head:]
    tail = _alike(one[::-1], other[::-1])
    one, other = one[: len(one) - tail], other[: len(other) - tail]
    swapped = len(one) == 2 and one == other[::-1]
    return max(len(one), len(other)) == 1 or swapped


def _alike(one: str, other: str) -> int:
    """How many letters they begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _of_arms(config: Config, documents: Mapping[str, Document], known: set[str]) -> Iterator[str]:
    """What an arm of an experiment adds to the cautions of the policy itself (`known`)."""
    changed = dict(arm_configs(config))
    for index, experiment in enumerate(config.policy.experiments):
        for number, arm in enumerate(experiment.arms):
            variant = changed.get((experiment.name, arm.name))
            prefix: YamlPath = ("experiments", index, "arms", number, "policy")
            for path, said in [] if variant is None else _of_a_policy(variant, documents):
                if said not in known:
                    place = documents["policy"].place((*prefix, *path))
                    yield f"{place}: {experiment.name}, arm {arm.name}: {said}"
