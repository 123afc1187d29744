"""What a rule compares, read from its text: CEL calls a text and a number unequal without a word.

`profile.plan != 10` is then true of everybody, and `profile.plan > 10`, an error, of nobody. Only operands that stand
alone are read (a name, a literal, an element of a list); of what is computed nothing is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from nba.celtext import SCALARS, tokens
from nba.config import Config
from nba.lines import YamlPath

Types = Mapping[tuple[str, str], str]
_WORDS = {"true": "boolean", "false": "boolean", "null": "null"}
_SIGNS = {"-": "number", "!": "boolean"}
_EQUALITY = ("==", "!=", "in")
_ORDER = ("<", ">", "<=", ">=")
_RELATIONS = _EQUALITY + _ORDER


class Operand(NamedTuple):
    """One side. `name`: scope and name of what is read; `type`: that of a literal; None where it is not one."""

    text: str
    name: tuple[str, str] | None = None
    type: str | None = None


def comparisons(text: str, bare: Collection[str] = ()) -> Iterator[tuple[Operand, Operand]]:
    """Every pair that is asked for equality: both sides of `==` and `!=`, and with `in` each element of a list."""
    return _pairs(text, bare, _EQUALITY)


def texts_beside(text: str, name: tuple[str, str]) -> Iterator[str]:
    """Every text that a rule holds a name (scope, name) to be equal to, or unequal."""
    for sides in comparisons(text):
        for one, other in (sides, sides[::-1]):
            if one.name == name and other.type == "text":
                yield other.text.strip("'\"")


def asked_intents(config: Config) -> Iterator[tuple[str, str, YamlPath]]:
    """Every intent that a rule compares the call's with, and where that rule stands: its document and its path there."""
    name = ("context", config.policy.service_first.intent_field)
    for document, path, text in _rules(config):
        yield from ((intent, document, path) for intent in texts_beside(text, name))


def _rules(config: Config) -> Iterator[tuple[str, YamlPath, str]]:
    for index, offer in enumerate(config.catalog.offers):
        for number, say in enumerate(offer.say):
            yield "catalog", ("offers", index, "say", number, "when"), say.when
        for field, text in (("cost_month", offer.cost_month), ("covers", offer.covers), ("eligible", offer.eligible)):
            if text is not None:
                yield "catalog", ("offers", index, field), text
    for index, weight in enumerate(config.policy.worth.context):
        yield "policy", ("worth", "context", index), weight.when
    yield "policy", ("exploration", "off_when"), config.policy.exploration.off_when


def _pairs(text: str, bare: Collection[str], relations: Sequence[str]) -> Iterator[tuple[Operand, Operand]]:
    line = _unwrapped(_operands(text, bare))
    for place, middle in enumerate(line):
        if middle.text not in relations or place == 0 or not _whole_left(line, place - 1):
            continue
        rights = _elements(line, place + 1) if middle.text == "in" else _right(line, place + 1)
        yield from ((line[place - 1], right) for right in rights)


def mismatch(text: str, types: Types, bare: Collection[str] = ()) -> str | None:
    """The first comparison whose answer the types give away, in words; None: there is none. `types`: as declared."""
    for relations, never in ((_EQUALITY, "never equals"), (_ORDER, "cannot be compared with")):
        for sides in _pairs(text, bare, relations):
            kinds = [_kind(side, types) for side in sides]
            if None in kinds or kinds[0] == kinds[1]:
                continue
            left, right = (side.text for side in sides)
            if "null" in kinds:
                asked = right if kinds[0] == "null" else left
                return f"{asked} is never null in {text!r}: ask for it with has({asked})"
            said = f"{left} ({kinds[0]}) {never} {right} ({kinds[1]}) in {text!r}"
            return f"{said}: compare text with text and numbers with numbers"
    return None


def _kind(side: Operand, types: Types) -> str | None:
    kind = side.type if side.name is None else types.get(side.name)
    return "text" if kind == "category" else kind


def _operands(text: str, bare: Collection[str]) -> list[Operand]:
    found: list[Operand] = []
    for match in tokens(text):
        word = match[0]
        if match["space"]:
            continue
        if word == "=" and found and found[-1].text in ("=", "!", "<", ">"):
            found[-1] = Operand(found[-1].text + word)
        elif match["ref"]:
            found.append(Operand(word, (match["scope"], match["name"])))
        elif match["word"] in SCALARS or match["word"] in bare:
            found.append(Operand(word, ("" if word in SCALARS else "features", word)))
        else:
            found.append(Operand(word, None, _literal_type(str(match.lastgroup), word)))
    return found


def _literal_type(kind: str, word: str) -> str | None:
    if kind == "word":
        return _WORDS.get(word)
    return {"string": "text", "number": "number"}.get(kind, "boolean" if word.startswith("has") else None)


def _unwrapped(line: list[Operand]) -> list[Operand]:
    """`(x)` as `x`, where it is no call."""
    out: list[Operand] = []
    for operand in line:
        out.append(operand)
        called = len(out) > 3 and out[-4].text.isidentifier() and out[-4].text != "in"
        if len(out) > 2 and (out[-3].text, out[-1].text) == ("(", ")") and _is_one(out[-2]) and not called:
            out[-3:] = [out[-2]]
    return out


def _is_one(operand: Operand) -> bool:
    return operand.name is not None or operand.type is not None


def _whole_left(line: Sequence[Operand], place: int) -> bool:
    """Whether what stands before a relation is one operand, and no part or answer of another."""
    before = line[place - 1].text if place else ""
    return _is_one(line[place]) and before != "." and before not in _RELATIONS


def _right(line: Sequence[Operand], place: int) -> list[Operand]:
    if place >= len(line):
        return []
    if line[place].text in _SIGNS:
        return [Operand("".join(o.text for o in line[place : place + 2]), None, _SIGNS[line[place].text])]
    follows = line[place + 1].text if place + 1 < len(line) else ""
    return [line[place]] if _is_one(line[place]) and follows not in (".", "[", "(") else []


def _elements(line: Sequence[Operand], place: int) -> list[Operand]:
    """The elements of a list that stand alone; what is computed, or no list, has none."""
    if place >= len(line) or line[place].text != "[":
        return []
    found, depth = [], 0
    for index in range(place, len(line)):
        depth += (line[index].text in ("[", "(", "{")) - (line[index].text in ("]", ")", "}"))
        if depth == 0:
            break
        alone = (
            line[index - 1].text in ("[", ",") and line[index + 1 : index + 2] and line[index + 1].text in ("]", ",")
        )
        if depth == 1 and _is_one(line[index]) and alone:
            found.append(line[index])
    return found
