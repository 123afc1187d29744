"""The sentence for the agent: only claims that were computed, each with the reason it stands on.

A template is literal text and placeholders `{name}` or `{name:spec}`. It is split once, when the config is read, and
never handed to `str.format` (which would reach into attributes of whatever it is given).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from nba.config import Config, Feature, Offer, Say
from nba.rules import Rule, Value, Values
from nba.wording import Wording, clean, wording, write

MONEY = ("saving_month", "saving_year", "cost_month", "own_cost_month", "price_month")
MONEY_LABELS = {
    "saving_month": {"en": "saving a month", "de": "Ersparnis im Monat"},
    "saving_year": {"en": "saving a year", "de": "Ersparnis im Jahr"},
    "cost_month": {"en": "cost a month for the same use", "de": "Kosten im Monat bei gleicher Nutzung"},
    "own_cost_month": {"en": "cost a month on the plan of today", "de": "Kosten im Monat im heutigen Tarif"},
    "price_month": {"en": "price a month", "de": "Preis im Monat"},
}
NAMES = ("title", "own_title", *MONEY)
PERSON = ("salutation", "given_name", "family_name", "title", "own_title")


class Facts(dict[str, Value]):
    """What a template may name: what is special to an offer, and behind it the customer's columns; None where unknown.

    A look-up is `facts[name]`: the columns are not copied for each offer.
    """

    __slots__ = ("_columns",)

    def __init__(self, special: Mapping[str, Value], columns: Mapping[str, Value]) -> None:
        super().__init__(special)
        self._columns = columns

    def __missing__(self, name: str) -> Value:
        return self._columns.get(name)


@dataclass(frozen=True, slots=True)
class Part:
    """A literal (`name` is None) or a placeholder with its format spec."""

    literal: str
    name: str | None = None
    spec: str = ""


def parse_template(text: str) -> tuple[Part, ...]:
    """Split a template. Raises ValueError when braces do not match or a placeholder is not a plain name."""
    parts = []
    for literal, name, spec, conversion in Formatter().parse(text):
        if name is not None and (not name.isidentifier() or conversion):
            raise ValueError(f"placeholder {{{name}}} is not a plain name: write {{name}} or {{name:.1f}}")
        if literal:
            parts.append(Part(literal))
        if name is not None:
            parts.append(Part("", name, spec or ("money" if name in MONEY else "")))
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Reason:
    """One number of the sentence, where it comes from, and how a person reads it."""

    feature: str
    value: Value
    text: str
    window: str | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """What the agent says, and every reason it stands on."""

    say: str
    because: tuple[Reason, ...]


class Template:
    """One `say` entry: its condition and its texts, split."""

    __slots__ = ("_texts", "names", "when")

    def __init__(self, say: Say, when: Rule) -> None:
        self.when = when
        texts = {locale: parse_template(text) for locale, text in say.texts.items()}
        self._texts = {locale: (parts, _named(parts)) for locale, parts in texts.items()}
        parts = [part for text in texts.values() for part in text]
        self.names = frozenset(part.name for part in parts if part.name is not None)

    def text_in(self, locale: str) -> tuple[tuple[Part, ...], tuple[tuple[str, str], ...]] | None:
        """The text in this language, and the names and specs of its reasons; None when the template does not speak it."""
        return self._texts.get(locale)

    def locales(self) -> Iterable[str]:
        """The languages it speaks."""
        return self._texts.keys()

    def holds(self, values: Values, found: dict[str, bool]) -> bool:
        """Its condition; one that cannot be evaluated does not hold. `found`: conditions that these values have answered."""
        known = found.get(self.when.cel)
        if known is None:
            known = found[self.when.cel] = self.when.answer(values) is True
        return known

    def has_data(self, facts: Facts) -> bool:
        """Whether every name it uses is known: neither missing nor NaN nor infinite."""
        for name in self.names:
            value = facts[name]
            if value is None or (type(value) is float and not math.isfinite(value)):
                return False
        return True


def _named(parts: tuple[Part, ...]) -> tuple[tuple[str, str], ...]:
    """The numbers of a text, each once, with the format they are given as a reason in."""
    specs: dict[str, str] = {}
    for part in parts:
        if part.name is not None and part.name not in PERSON and not specs.get(part.name):
            specs[part.name] = "" if part.spec.startswith("plural|") else part.spec
    return tuple(specs.items())


class Phrasebook:
    """All texts of a config, split and ready: openings by kind and locale, templates by offer."""

    def __init__(self, config: Config, whens: Mapping[str, tuple[Rule, ...]]) -> None:
        self._config = config
        self._templates = {offer.id: _best_first(offer, whens[offer.id]) for offer in config.catalog.offers}
        self._openings = {
            (kind, locale): _split_address(parse_template(text))
            for kind, texts in [(None, config.policy.opening), *config.policy.opening_for.items()]
            for locale, text in texts.items()
        }
        self._labels = MONEY_LABELS | config.features.labels | config.catalog.labels
        self._windows = windows_of(config.features.features)

    def best_template(
        self, offer: Offer, values: Values, facts: Callable[[], Facts], found: dict[str, bool]
    ) -> Template | None:
        """The sayable template that stands on most facts, the first of equals. None: nothing can be said.

        `facts` is asked only when the condition of some template holds: most offers fail there. `found`: conditions that
        `values` have answered for offers before this one; many offers share one.
        """
        known: Facts | None = None
        for template in self._templates[offer.id]:
            if template.holds(values, found):
                known = known or facts()
                if template.has_data(known):
                    return template
        return None

    def needs_evidence(self, offer: Offer) -> bool:
        """Whether the offer has templates at all; one without is said by its title alone."""
        return bool(self._templates[offer.id])

    def language(self, template: Template | None, wanted: str) -> str:
        """The wanted language, or the first of the policy that the template speaks: a sentence is in one language."""
        if template is None or template.text_in(wanted) is not None:
            return wanted
        return next((known for known in self._config.policy.locales if template.text_in(known) is not None), wanted)

    def sentence(self, offer: Offer, template: Template | None, facts: Facts, locale: str) -> Sentence:
        """Opening, then the claim. `facts`: plain name to value: features, attributes, money, person.

        `locale`: one that the template speaks, as `language` finds it.
        """
        words = wording(locale, self._config.catalog.currency)
        claim, named = (template.text_in(locale) if template else None) or ((), ())
        opening = self._opening(offer, facts, locale, words)
        body = "".join(_write(part, facts, words) for part in claim)
        say = f"{opening}: {body}" if body else opening
        return Sentence(
            say if say.endswith((".", "!", "?", "…")) else say + ".",
            tuple(self._reason(name, spec, facts[name], locale, words) for name, spec in named),
        )

    def _opening(self, offer: Offer, facts: Facts, locale: str, words: Wording) -> str:
        head, rest = self._opening_parts(offer, locale)
        name = _address(facts)
        text = clean("".join(_write(part, facts, words) for part in rest))
        if name and (head or name not in text):
            return f"{name}, {text}"
        return text[:1].upper() + text[1:]

    def _opening_parts(self, offer: Offer, locale: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
        default = self._config.policy.locales[0]
        for key in ((offer.kind, locale), (None, locale), (offer.kind, default)):
            if key in self._openings:
                return self._openings[key]
        return self._openings[None, default]

    def _reason(self, name: str, spec: str, value: Value, locale: str, words: Wording) -> Reason:
        labels = self._labels.get(name, {})
        label = labels.get(locale) or next(iter(labels.values()), name.replace("_", " "))
        return Reason(name, value, f"{label}: {write(value, spec, words)}", self._windows.get(name))


def windows_of(features: Sequence[Feature]) -> dict[str, str]:
    """By feature its window, of a derived one those of all that it stands on, in the order of the config; none since ever."""
    by_name = {feature.name: feature for feature in features}

    def found(feature: Feature) -> set[str]:
        if feature.derived is None:
            return {str(feature.window)} if feature.window else set()
        reads = (by_name[name] for _, name in Rule(feature.derived, {}, by_name).reads if name in by_name)
        return {window for read in reads for window in found(read)}

    order = list(dict.fromkeys(str(feature.window) for feature in features))
    windows = {feature.name: ", ".join(sorted(found(feature), key=order.index)) for feature in features}
    return {name: window for name, window in windows.items() if window}


def _best_first(offer: Offer, whens: Sequence[Rule]) -> tuple[Template, ...]:
    """An offer's templates, those that stand on most facts first; equals in the order of the catalog."""
    templates = [Template(say, when) for say, when in zip(offer.say, whens, strict=True)]
    return tuple(sorted(templates, key=lambda template: -len(template.names)))


def _write(part: Part, facts: Facts, words: Wording) -> str:
    if part.name is None:
        return part.literal
    value = facts[part.name]
    return "" if value is None else write(value, part.spec, words)


def _split_address(parts: tuple[Part, ...]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Split `{salutation} {family_name}, …` from the rest, so that a sentence to a nameless caller still reads well."""
    for index, part in enumerate(parts):
        if part.name is None and part.literal.startswith(", "):
            names = [p.name for p in parts[:index] if p.name is not None]
            if names and all(name in PERSON[:3] for name in names):
                return parts[:index], (Part(part.literal[2:]), *parts[index + 1 :])
    return (), parts


def addresses(text: str) -> bool:
    """Whether a sound opening begins with the name of whom it is said to."""
    return bool(_split_address(parse_template(text))[0])


def words_before_name(text: str) -> str:
    """What an opening says before the name; no sentence says it."""
    try:
        head, _ = _split_address(parse_template(text))
    except ValueError:
        return ""  # template_problems tells it
    return "".join(part.literal for part in head).strip()


def _address(facts: Facts) -> str:
    salutation, given, family = (clean(str(facts[name] or "")) for name in PERSON[:3])
    if not family:
        return ""
    return f"{salutation or given} {family}".strip()
