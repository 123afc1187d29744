"""Rules and formulas of a config folder: CEL, run by a maintained library, never by Python's `eval`.

A rule sees flat variables. `features.x`, `profile.x`, `context.x` and `own.x` become one variable each (`features__x`), so
that a decision pays for the names its rules touch and not for the whole vector.
`attributes.x`, `price_month` and `margin_month` are constants of an offer and are written into its rules once.
Every number is a double, integer literals too: CEL does not mix the two, and nobody who writes `- 2` means an error.
A division by zero is an error as for integers (IEEE would give infinity, and infinity > 10 is true).

Source of the language: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import cel

from nba.errors import RuleError

Value = float | str | bool | None
SCOPES = ("features", "profile", "context", "own", "attributes")
SCALARS = ("price_month", "margin_month", "saving_month", "cost_month", "own_cost_month")
# What differs from offer to offer for the same customer.
SETTABLE = ("saving_month", "cost_month", "own_cost_month")
FUNCTIONS = ("min", "max", "ceil", "floor", "abs")
_STANDARD = (
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "double",
    "int",
    "string",
    "all",
    "exists",
    "filter",
    "map",
)

# The library logs each error that a registered function raises; it reaches us as an exception anyway.
logging.getLogger("cel").setLevel(logging.CRITICAL)

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


def references(text: str, bare: Collection[str] = ()) -> set[tuple[str, str]]:
    """Every (scope, name) that a rule reads, for checks before anything is evaluated; `bare` as for Rule."""
    found = set()
    for match in _TOKEN.finditer(text):
        if match["ref"]:
            found.add((match["scope"], match["name"]))
        elif match["has"]:
            found.add((match["has_scope"], match["has_name"]))
        elif match["word"] in SCALARS:
            found.add(("", match["word"]))
        elif match["word"] in bare:
            found.add(("features", match["word"]))
    return found


class Values(dict[str, Value]):
    """Flat variables of one customer, with the CEL context that many rules read them through.

    `fixed`: names that are handed over once, when the first rule is evaluated (0.6 µs each), and then cost next to
    nothing; they may not be set afterwards. Without `fixed` a rule asks back for each name it gets to (0.7 µs a time).
    The SETTABLE ones are functions inside CEL, so that they can change from one offer to the next. Not for threads.
    """

    __slots__ = ("_context", "fixed")

    def __init__(self, values: Mapping[str, Value], fixed: AbstractSet[str] | None = None) -> None:
        super().__init__(values)
        self.fixed = fixed
        self._context: cel.Context | None = None

    @property
    def context(self) -> cel.Context:
        """The library's context, made when the first rule needs it."""
        context = self._context
        if context is None:
            context = self._context = self._made()
        return context

    def _made(self) -> cel.Context:
        functions: dict[str, Callable[..., Any]] = dict(_FUNCTIONS)
        functions |= {name: partial(self.__getitem__, name) for name in SETTABLE}
        if self.fixed is not None:
            return cel.Context(self._handed_over(self.fixed), functions)
        context = cel.Context(None, functions)
        context.set_variable_resolver(self._resolve)
        return context

    def _handed_over(self, fixed: AbstractSet[str]) -> dict[str, Value]:
        plain = {name: self[name] for name in fixed if name in self}
        return plain | {name: name[5:] in self for name in fixed if name.startswith("has__")}

    def _resolve(self, name: str) -> Value:
        if name.startswith("has__"):
            return name[5:] in self
        return self.get(name)


def _max(first: float, *others: float) -> float:
    return float(max(first, *others))


def _min(first: float, *others: float) -> float:
    return float(min(first, *others))


def _ceil(number: float) -> float:
    return float(math.ceil(number))


def _floor(number: float) -> float:
    return float(math.floor(number))


def _abs(number: float) -> float:
    return float(abs(number))


def _nonzero(number: float) -> float:
    if number == 0.0:
        raise ZeroDivisionError("division by zero")
    return float(number)


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": _min, "max": _max, "ceil": _ceil, "floor": _floor, "abs": _abs, "nonzero": _nonzero,
}  # fmt: skip


_FAILURES = (KeyError, RuntimeError, TypeError, ValueError, ArithmeticError)


class Rule:
    """One compiled rule or formula.

    `text` is what the author wrote; `reads` the (scope, name) pairs it can touch, constants left out; `variables` the
    flat variables of the compiled program; `per_offer`: it reads what differs from offer to offer (SETTABLE);
    `always`: it is the word true.
    """

    __slots__ = ("_execute", "always", "per_offer", "reads", "text", "variables")

    def __init__(self, text: str, constants: Mapping[str, Value] | None = None, bare: Collection[str] = ()) -> None:
        """Compile. `constants`: flat variable name to value, written into the rule as literals.

        `bare`: names of features that may stand without `features.` in front, as they do in a derived feature.
        Raises RuleError with the library's own message (line and column inside the rule) when it is not CEL.
        """
        self.text = text
        constants = constants or {}
        self.reads = {r for r in references(text, bare) if (flat(*r) if r[0] else r[1]) not in constants}
        try:
            program = cel.compile(_rewrite(text, constants, bare))
        except ValueError as error:
            raise RuleError(f"not a CEL expression: {text!r}: {str(error).splitlines()[0]}") from error
        self._execute = program.execute
        self.always = text.strip() == "true"
        self.variables: frozenset[str] = frozenset(program.variables())
        self.per_offer = any(name in SETTABLE for scope, name in self.reads if not scope)
        unknown = self._unknown_names(program.functions())
        if unknown:
            raise RuleError(
                f"unknown name {unknown[0]!r} in {text!r}: rules see {', '.join(SCOPES)} (as scope.name), "
                f"{', '.join(SCALARS)} and the functions {', '.join(FUNCTIONS)}"
            )

    def _unknown_names(self, functions: list[str]) -> list[str]:
        known = {*SCALARS, *(flat(*ref) for ref in self.reads if ref[0])}
        known |= {f"has__{name}" for name in known}
        # Names bound by all, exists, filter and map are listed as variables too; they are single lower-case letters.
        variables = [n for n in sorted(self.variables) if n not in known and not re.fullmatch("[a-z]", n)]
        named = [f for f in functions if re.fullmatch("[A-Za-z]\\w*|__\\w+__", f)]
        return variables + [f for f in named if f not in (*FUNCTIONS, *_STANDARD, *SETTABLE, "nonzero")]

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """The rule's value. `values`: flat variable name to value; a missing or NaN one raises RuleError when read."""
        context = values.context if type(values) is Values else Values(values).context
        try:
            result: Value = self._execute(context)
        except _FAILURES as error:
            raise RuleError(f"{self.text}: {_plain(error)}") from error
        return result

    def truth(self, values: Mapping[str, Value]) -> bool:
        """The rule as a condition. Raises RuleError when it does not give true or false."""
        if self.always:
            return True
        # As `evaluate`, once more: hundreds of conditions are asked in a decision, and a call costs as much as half a rule.
        try:
            result = self._execute(values.context if type(values) is Values else Values(values).context)
        except _FAILURES as error:
            raise RuleError(f"{self.text}: {_plain(error)}") from error
        if result is True or result is False:
            return result is True
        raise RuleError(f"{self.text}: gives {result!r}, a condition has to give true or false")

    def number(self, values: Mapping[str, Value]) -> float:
        """The rule as a formula. Raises RuleError when it does not give a finite number."""
        result = self.evaluate(values)
        if isinstance(result, bool) or not isinstance(result, (int, float)) or not math.isfinite(result):
            raise RuleError(f"{self.text}: gives {result!r}, a formula has to give a finite number")
        return float(result)


def _plain(error: Exception) -> str:
    text = str(error).split(". ")[0]
    missing = re.search(r"Undefined variable or function: '(\w+)'|KeyError: '(\w+)'", text)
    if missing and missing[2]:
        return f"{missing[2]} is not known for this customer"
    if missing:
        return f"no value for {missing[1].replace('__', '.', 1)}: declare a default or guard it with has(...)"
    return text


def _rewrite(text: str, constants: Mapping[str, Value], bare: Collection[str]) -> str:
    tokens = [(_kind(m), _translate(m, constants, bare)) for m in _TOKEN.finditer(text)]
    return _guard_divisions(tokens)


def _kind(match: re.Match[str]) -> str:
    return "has" if match["has"] else "ref" if match["ref"] else str(match.lastgroup)


def _translate(match: re.Match[str], constants: Mapping[str, Value], bare: Collection[str]) -> str:
    text = match[0]
    if match["has"]:
        variable = flat(match["has_scope"], match["has_name"])
        return "true" if variable in constants else f"has__{variable}"
    if match["ref"]:
        variable = flat(match["scope"], match["name"])
        return _parenthesised(constants[variable]) if variable in constants else variable
    if match["word"] and text in constants:
        return _parenthesised(constants[text])
    if match["word"] and text in SETTABLE:
        return f"{text}()"
    if match["word"] in bare:
        return flat("features", text)
    if match["number"]:
        return repr(float(text.rstrip("uU")))
    return text


def _parenthesised(value: Value) -> str:
    return f"({literal(value)})"  # `a -b` with b = -1 must not become `a --1`


def _guard_divisions(tokens: list[tuple[str, str]]) -> str:
    """Wrap what stands after each `/` in nonzero(...), a literal other than 0 excepted."""
    out: list[str] = []
    index = 0
    while index < len(tokens):
        _, text = tokens[index]
        out.append(text)
        index += 1
        if text != "/":
            continue
        end = _operand_end(tokens, index)
        operand = tokens[index:end]
        inner = _guard_divisions(operand)
        out.append(inner if _safe_literal(operand) else f" nonzero({inner})")
        index = end
    return "".join(out)


def _safe_literal(operand: list[tuple[str, str]]) -> bool:
    solid = [token for token in operand if token[0] != "space"]
    return len(solid) == 1 and solid[0][0] == "number" and float(solid[0][1]) != 0.0


def _operand_end(tokens: list[tuple[str, str]], start: int) -> int:
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
