"""The text of a rule, and the text that the CEL library is given instead.

A rule sees flat variables. `features.x`, `profile.x`, `context.x` and `own.x` become one variable each (`features__x`), so
that a decision pays for the names its rules touch and not for the whole vector.
`attributes.x`, `price_month` and `margin_month` are constants of an offer and are written into its rules once.
Every number is a double, integer literals too: CEL does not mix the two, and nobody who writes `- 2` means an error.
A division by zero is an error as for integers (IEEE would give infinity, and infinity > 10 is true).
max, min, ceil, floor and abs are written out in CEL: a call from the library back into Python costs 0.6 µs, more than most
rules in whole. (So ceil and floor fail beyond 2^63, where every double is whole anyway.)

Source of the language: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial, reduce

from nba.errors import RuleError

Value = float | str | bool | None
SCOPES = ("features", "profile", "context", "own", "attributes")
SCALARS = ("price_month", "margin_month", "saving_month", "cost_month", "own_cost_month")
# What differs from offer to offer for the same customer: each offer's rules read variables of their own (`Rule`, renamed).
OF_A_PAIR = ("saving_month", "cost_month")
FUNCTIONS = ("min", "max", "ceil", "floor", "abs")
# Names that the written-out functions bind; no rule can mean them.
BOUND = "let__"
# A longer operand is bound to a name (0.5 µs) instead of being written, and evaluated, twice.
_TWICE = 160
_Token = tuple[str, str]  # kind, text

_TOKEN = re.compile(
    r"""(?P<string>[rR]?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))
      | (?P<has>\bhas\s*\(\s*(?P<has_scope>features|profile|context|own|attributes)
            \s*\.\s*(?P<has_name>[A-Za-z_]\w*)\s*\))
      | (?P<ref>(?<![\w.])(?P<scope>features|profile|context|own|attributes)\s*\.\s*(?P<name>[A-Za-z_]\w*))
      | (?P<number>(?<![\w.])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[uU]?)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<space>\s+)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


def flat(scope: str, name: str) -> str:
    """The variable under which a rule looks up `scope.name`."""
    return f"{scope}__{name}"


def literal(value: Value) -> str:
    """A value written as a CEL literal; numbers as doubles."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r") + "'"
    return repr(float(value))


def tokens(text: str) -> Iterator[re.Match[str]]:
    """The words of a rule, one match each; the groups of the match say what it is."""
    return _TOKEN.finditer(text)


def references(text: str, bare: Collection[str] = ()) -> set[tuple[str, str]]:
    """Every (scope, name) that a rule reads, for checks before anything is evaluated; `bare` as for Rule."""
    found = set()
    for match in tokens(text):
        if match["ref"]:
            found.add((match["scope"], match["name"]))
        elif match["has"]:
            found.add((match["has_scope"], match["has_name"]))
        elif match["word"] in SCALARS:
            found.add(("", match["word"]))
        elif match["word"] in bare:
            found.add(("features", match["word"]))
    return found


def rewritten(text: str, constants: Mapping[str, Value], bare: Collection[str], renamed: Mapping[str, str]) -> str:
    """The CEL that is compiled. Raises RuleError when a function is given too many or too few operands."""
    return _written([(_kind(m), _translate(m, constants, bare, renamed)) for m in tokens(text)])


def _kind(match: re.Match[str]) -> str:
    return "has" if match["has"] else "ref" if match["ref"] else str(match.lastgroup)


def _translate(
    match: re.Match[str], constants: Mapping[str, Value], bare: Collection[str], renamed: Mapping[str, str]
) -> str:
    text = match[0]
    if match["has"]:
        variable = flat(match["has_scope"], match["has_name"])
        return "true" if variable in constants else f"has__{variable}"
    if match["ref"]:
        variable = flat(match["scope"], match["name"])
        return _parenthesised(constants[variable]) if variable in constants else variable
    if match["word"] and text in constants:
        return _parenthesised(constants[text])
    if match["word"] and text in renamed:
        return renamed[text]
    if match["word"] in bare:
        return flat("features", text)
    if match["number"]:
        return repr(float(text.rstrip("uU")))
    return text


def _parenthesised(value: Value) -> str:
    return f"({literal(value)})"  # `a -b` with b = -1 must not become `a --1`


def _written(tokens: Sequence[_Token]) -> str:
    """The tokens as text, functions written out and every divisor guarded."""
    out: list[str] = []
    index = 0
    while index < len(tokens):
        kind, text = tokens[index]
        index += 1
        if text == "/":
            end = _operand_end(tokens, index)
            out += [text, _divisor(tokens[index:end])]
            index = end
        elif kind == "word" and text in FUNCTIONS and (call := _call(tokens, index)) is not None:
            operands, index = call
            out.append(_function(text, operands))
        else:
            out.append(text)
    return "".join(out)


def _divisor(operand: Sequence[_Token]) -> str:
    inner = _written(operand)
    solid = [token for token in operand if token[0] != "space"]
    if len(solid) == 1 and _is_nonzero(solid[0][1]):
        return inner
    return _once("({0} == 0.0 ? double(1/0) : {0})", inner)


def _is_nonzero(text: str) -> bool:
    try:
        return float(text.strip("()")) != 0.0
    except ValueError:
        return False


def _operand_end(tokens: Sequence[_Token], start: int) -> int:
    """Index after one operand: blanks, minus signs, a name or literal, and the (...), [...] or .name that belong to it."""
    index = start
    while index < len(tokens) and (tokens[index][0] == "space" or tokens[index][1] in "-!"):
        index += 1
    depth = 0
    first = True
    while index < len(tokens):
        text = tokens[index][1]
        if depth == 0 and not first and text not in ("(", "[", "."):
            break
        depth += (text in ("(", "[")) - (text in (")", "]"))
        first = text == "."
        index += 1
    return index


def _call(tokens: Sequence[_Token], start: int) -> tuple[list[str], int] | None:
    """The operands of a call whose name stands before `start`, and the index after it; None: it is none."""
    index = start
    while index < len(tokens) and tokens[index][0] == "space":
        index += 1
    if index == len(tokens) or tokens[index][1] != "(":
        return None
    depth, operands = 0, [index + 1]
    for place in range(index, len(tokens)):
        text = tokens[place][1]
        depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
        if depth == 1 and text == ",":
            operands.append(place + 1)
        if depth == 0:
            ends = [*(begin - 1 for begin in operands[1:]), place]
            parts = [_written(tokens[begin:end]).strip() for begin, end in zip(operands, ends, strict=True)]
            return parts, place + 1
    return None


def _function(name: str, operands: list[str]) -> str:
    """One of FUNCTIONS in plain CEL."""
    if "" in operands or (len(operands) > 1) != (name in ("min", "max")):
        raise RuleError(f"{name}(...) takes {'two numbers or more' if name in ('min', 'max') else 'one number'}")
    if name in ("min", "max"):
        return reduce(partial(_extreme, ">" if name == "max" else "<"), operands)
    if name == "abs":
        return _once("({0} < 0.0 ? -({0}) : {0})", f"({operands[0]})")
    order, step = ("<", "+") if name == "ceil" else (">", "-")
    whole = "double(int({0}))"
    return _once(f"({whole} {order} {{0}} ? {whole} {step} 1.0 : {whole})", f"({operands[0]})")


def _extreme(order: str, first: str, second: str) -> str:
    if len(first) + len(second) <= _TWICE:
        return f"(({first}) {order} ({second}) ? ({first}) : ({second}))"
    x, y = f"{BOUND}x", f"{BOUND}y"
    return f"[{first}].map({x}, [{second}].map({y}, {x} {order} {y} ? {x} : {y})[0])[0]"


def _once(pattern: str, operand: str) -> str:
    """A pattern that needs its operand several times."""
    if len(operand) <= _TWICE:
        return pattern.format(operand)
    return f"[{operand}].map({BOUND}x, {pattern.format(BOUND + 'x')})[0]"
