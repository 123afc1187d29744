"""What the shapes of a config refuse, in words: what stands there, what is wanted, and how to write it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from nba.config.shapes import PATTERNS, no_text, shown
from nba.lines import YamlPath

_UNSEEN = ("texts", "[key]")  # parts of a path that nobody wrote


def complaints(error: ValidationError, shape: type[BaseModel]) -> list[tuple[YamlPath, str]]:
    """(path, words) of each defect. A list that only lacks what was refused inside it is no defect of its own."""
    found: list[dict[str, Any]] = [dict(e) for e in error.errors()]
    paths = [tuple(part for part in e["loc"] if part not in _UNSEEN) for e in found]
    told = [
        (path, _words(one, path, shape))
        for one, path in zip(found, paths, strict=True)
        if one["type"] != "too_short" or not any(p[: len(path)] == path and p != path for p in paths)
    ]
    return list(dict.fromkeys(told))


def suggestion_for(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or a short list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "known: " + (", ".join(sorted(known)[:12]) or "none")


def _words(error: dict[str, Any], path: YamlPath, shape: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        return f"is not known here: {suggestion_for(str(path[-1]), _fields(shape, path[:-1]))}"
    say = _SAID.get(error["type"])
    return say(error) if say else str(error["msg"]).removeprefix("Value error, ")


def _of(error: dict[str, Any]) -> str:
    return shown(error["input"])


def _one_of(error: dict[str, Any]) -> str:
    expected = str(error["ctx"]["expected"])
    close = difflib.get_close_matches(str(error["input"]), expected.replace(" or ", ", ").replace("'", "").split(", "))
    return f"{_of(error)} is not {expected}: " + (f"did you mean {close[0]!r}?" if close else "use one of them")


def _number(error: dict[str, Any]) -> str:
    return f"{_of(error)} is no number: write digits, a point before decimals (14.90), and no currency or unit"


def _range(error: dict[str, Any]) -> str:
    return f"{_of(error)} is out of range: it {str(error['msg']).replace('Input should', 'has to')}"


def _list(error: dict[str, Any]) -> str:
    return f"has to be a list, is {_of(error)}: write [a, b], or lines that begin with `- `"


def _mapping(error: dict[str, Any]) -> str:
    return f"has to be a mapping, is {_of(error)}: write `name: value` lines, or {{name: value}}"


def _pattern(error: dict[str, Any]) -> str:
    wanted = PATTERNS.get(error["ctx"]["pattern"])
    return f"{_of(error)} is not {wanted}: rename it" if wanted else str(error["msg"])


_SAID: MappingProxyType[str, Callable[[dict[str, Any]], str]] = MappingProxyType({
    "missing": lambda error: "is missing: add it",
    "finite_number": lambda error: f"{error['input']} is no finite number: write one, or leave the field out",
    "literal_error": _one_of,
    "float_parsing": _number, "float_type": _number, "int_parsing": _number, "int_type": _number,
    "int_from_float": lambda error: f"{_of(error)} is no whole number: write one",
    "greater_than": _range, "greater_than_equal": _range, "less_than": _range, "less_than_equal": _range,
    "tuple_type": _list, "list_type": _list,
    "dict_type": _mapping, "model_type": _mapping, "model_attributes_type": _mapping,
    "string_type": lambda error: no_text(error["input"]),
    "string_pattern_mismatch": _pattern,
    "too_short": lambda error: f"needs at least {error['ctx']['min_length']}, has {error['ctx']['actual_length']}: add more",
})  # fmt: skip


def _fields(shape: Any, path: Sequence[str | int]) -> list[str]:
    """The fields that are known where `path` leads to."""
    for part in path:
        shape = _inside(_bare(shape), part)
    shape = _bare(shape)
    if not (isinstance(shape, type) and issubclass(shape, BaseModel)):
        return []
    return [field.alias or name for name, field in shape.model_fields.items()]


def _inside(shape: Any, part: str | int) -> Any:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return next((f.annotation for n, f in shape.model_fields.items() if part in (n, f.alias)), None)
    inner = get_args(shape)
    return inner[1 if get_origin(shape) is dict else 0] if inner else None


def _bare(shape: Any) -> Any:
    while get_origin(shape) in (Annotated, Union, UnionType):
        shape = get_args(shape)[0]
    return shape
