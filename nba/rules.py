"""Rules and formulas of a config folder: CEL, run by a maintained library, never by Python's `eval`.

`Rule` is one of them, `Block` many in one program, `Values` what they are asked of; the text is prepared in celtext.
"""

from __future__ import annotations

import difflib
import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from weakref import ref

import cel

from nba.celtext import BOUND, FUNCTIONS, SCALARS, SCOPES, Value, flat, literal, references, rewritten
from nba.errors import RuleError

__all__ = [
    "FUNCTIONS",
    "SCALARS",
    "SCOPES",
    "Answer",
    "Block",
    "Names",
    "Rule",
    "Value",
    "Values",
    "flat",
    "literal",
    "references",
]

_HAS = "has__"
_MISSING = re.compile(r"Undefined variable or function: '(\w+)'")
_AS_WRITTEN: Mapping[str, str] = MappingProxyType({})
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


class Names:
    """The variables that some rules read: what they need to be handed over.

    `plain`: scope, name and variable; `guarded`: the variable behind `has(...)` and the one it asks for.
    """

    __slots__ = ("guarded", "plain")

    def __init__(self, variables: Iterable[str]) -> None:
        names = sorted({variable for variable in variables if "__" in variable})
        self.guarded = tuple((name, name.removeprefix(_HAS)) for name in names if name.startswith(_HAS))
        asked = {name for _, name in self.guarded} | {name for name in names if not name.startswith(_HAS)}
        self.plain = tuple((*name.split("__", 1), name) for name in sorted(asked))


class Values(dict[str, Value]):
    """Flat variables of one customer, with the CEL context that many rules read them through.

    `names`: the only ones that are read; they are handed over together, when the first rule is evaluated (0.5 µs each), and
    then cost next to nothing; afterwards only `learn` adds to them. Without `names` a rule asks back for each name it
    gets to (0.7 µs a time). Not for threads.
    """

    __slots__ = ("__weakref__", "_context", "names")

    def __init__(self, values: Mapping[str, Value], names: Names | None = None) -> None:
        super().__init__(values)
        self.names = names
        self._context: cel.Context | None = None

    @property
    def context(self) -> cel.Context:
        """The library's context, made when the first rule needs it."""
        context = self._context
        if context is None:
            context = self._context = self._made()
        return context

    def learn(self, name: str, value: Value) -> None:
        """Add a variable that was not known at first."""
        self[name] = value
        if self._context is not None and self.names is not None:
            self._context.add_variable(name, value)

    def _made(self) -> cel.Context:
        names = self.names
        if names is not None:
            return cel.Context(self._handed_over(names))
        context = cel.Context(None)
        # The library's context is invisible to the collector: what it held on to would keep it, and itself, for ever.
        context.set_variable_resolver(partial(_resolve, ref(self)))
        return context

    def _handed_over(self, names: Names) -> dict[str, Value]:
        return self | {has: name in self for has, name in names.guarded}


def _resolve(values: ref[Values], name: str) -> Value:
    found: Mapping[str, Value] = values() or {}
    return name[5:] in found if name.startswith(_HAS) else found.get(name)


_FAILURES = (KeyError, RuntimeError, TypeError, ValueError, ArithmeticError)


class Rule:
    """One compiled rule or formula.

    `text` is what the author wrote, `cel` what is compiled; `reads` the (scope, name) pairs it can touch, constants left
    out; `variables` the flat variables of the compiled program; `always`, `never`: it is the word true, or false.
    """

    __slots__ = ("_execute", "always", "cel", "never", "reads", "text", "variables")

    def __init__(
        self,
        text: str,
        constants: Mapping[str, Value] | None = None,
        bare: Collection[str] = (),
        renamed: Mapping[str, str] = _AS_WRITTEN,
    ) -> None:
        """Compile. `constants`: flat variable name to value, written into the rule as literals.

        `bare`: names of features that may stand without `features.` in front, as they do in a derived feature. `renamed`:
        scalars, and the variables that are read in their place.
        Raises RuleError with the library's own message (line and column inside the rule) when it is not CEL.
        """
        self.text = text
        constants = constants or {}
        self.reads = {r for r in references(text, bare) if (flat(*r) if r[0] else r[1]) not in constants}
        self.cel = rewritten(text, constants, bare, renamed)
        try:
            program = cel.compile(self.cel)
        except ValueError as error:
            raise RuleError(f"not a CEL expression: {text!r}: {_syntax(text, str(error))}") from error
        self._execute = program.execute
        self.always, self.never = text.strip() == "true", text.strip() == "false"
        self.variables = frozenset(name for name in program.variables() if not name.startswith(BOUND))
        unknown = self._unknown_names(program.functions(), renamed.values())
        if unknown:
            close = difflib.get_close_matches(unknown[0], (*SCOPES, *SCALARS, *FUNCTIONS, "true", "false"), n=1)
            near = f"did you mean {close[0]!r}? " if close else ""
            raise RuleError(
                f"unknown name {unknown[0]!r} in {text!r}: {near}rules see {', '.join(SCOPES)} (as scope.name), "
                f"{', '.join(SCALARS)} and the functions {', '.join(FUNCTIONS)}"
            )

    def _unknown_names(self, functions: list[str], more: Iterable[str]) -> list[str]:
        known = {*SCALARS, *more, *(flat(*ref) for ref in self.reads if ref[0])}
        known |= {f"{_HAS}{name}" for name in known}
        # Names bound by all, exists, filter and map are listed as variables too; they are single lower-case letters.
        variables = [n for n in sorted(self.variables) if n not in known and not re.fullmatch("[a-z]", n)]
        named = [f for f in functions if re.fullmatch("[A-Za-z]\\w*|__\\w+__", f)]
        return variables + [f for f in named if f not in _STANDARD]

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """The rule's value. `values`: flat variable name to value; a missing or NaN one raises RuleError when read."""
        return _raised(self.answer(values))

    def truth(self, values: Mapping[str, Value]) -> bool:
        """The rule as a condition. Raises RuleError when it does not give true or false."""
        return self.always if self.always or self.never else self.as_truth(self.evaluate(values))

    def number(self, values: Mapping[str, Value]) -> float:
        """The rule as a formula. Raises RuleError when it does not give a finite number."""
        return self.as_number(self.evaluate(values))

    def answer(self, values: Mapping[str, Value]) -> Answer:
        """The rule's value, or the RuleError that `evaluate` raises; for `as_truth` and `as_number`.

        It has never been raised: an error that was would hold on to its frames, and they to the whole request, as one
        cycle that only the collector finds (10 ms every 126 requests).
        """
        if type(values) is not Values:
            values = Values(values)
        try:
            result: Value = self._execute(values.context)
        except _FAILURES as error:
            return RuleError(f"{self.text}: {_plain(error)}")
        return result

    def as_truth(self, answer: Answer) -> bool:
        """What was found for this rule, as `truth` gives it. Raises RuleError."""
        if answer is True or answer is False:
            return answer is True
        raise RuleError(f"{self.text}: gives {_raised(answer)!r}, a condition has to give true or false")

    def as_number(self, answer: Answer) -> float:
        """What was found for this rule, as `number` gives it. Raises RuleError."""
        if type(answer) is float and math.isfinite(answer):
            return answer
        answer = _raised(answer)
        if isinstance(answer, bool) or not isinstance(answer, int):
            raise RuleError(f"{self.text}: gives {answer!r}, a formula has to give a finite number")
        return float(answer)


Answer = Value | RuleError


def _raised(answer: Answer) -> Value:
    if isinstance(answer, RuleError):
        raise RuleError(str(answer))  # a new one: see `answer`
    return answer


_AT_ONCE = 12  # rules; one that fails makes the others of its part be asked one by one


class Block:
    """Rules that are asked together: a list in one program costs a fifth of so many calls."""

    __slots__ = ("_parts", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        parts = [self.rules[start : start + _AT_ONCE] for start in range(0, len(rules), _AT_ONCE)]
        self._parts = [
            (part, cel.compile(f"[{', '.join(f'({rule.cel})' for rule in part)}]").execute) for part in parts
        ]

    def ask(self, values: Values) -> list[Answer]:
        """`answer` of each rule, in their order."""
        found: list[Answer] = []
        for part, execute in self._parts:
            try:
                found += execute(values.context)
            except _FAILURES:
                found += [rule.answer(values) for rule in part]
        return found


_FOREIGN = (
    (r"\b(and|AND)\b", "&&"), (r"\b(or|OR)\b", "||"), (r"\b(not|NOT)\b", "!"), ("<>", "!="), (r"(?<![=!<>])=(?!=)", "=="),
)  # fmt: skip


def _syntax(text: str, said: str) -> str:
    """What the library says, without the rewritten rule and the tokens it would have liked; and what other languages write."""
    said = re.sub(r"^.*?Syntax error: | expecting .*$", "", said.splitlines()[0])
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)
    foreign = [(found[0], cel) for pattern, cel in _FOREIGN if (found := re.search(pattern, unquoted))]
    cure = ", ".join(f"{cel} for {word}" for word, cel in foreign)
    return f"{said}: " + (
        f"write {cure}" if cure else "see that brackets and quotes close and every operator has two sides"
    )


def _plain(error: Exception) -> str:
    text = str(error).split(". ")[0]
    missing = _MISSING.search(text)
    return _no_value(missing[1]) if missing else text


@cache
def _no_value(name: str) -> str:
    """What is said of a variable without a value; a customer of whom little is known fails hundreds of rules with a few names."""
    scalar = re.fullmatch(r"([a-z_]+?)(?:_\d+)?", name)
    if scalar and scalar[1] in SCALARS:
        return f"{scalar[1]} is not known for this customer"
    return f"no value for {name.replace('__', '.', 1)}: declare a default or guard it with has(...)"
