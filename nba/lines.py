"""YAML with its line numbers, so that every complaint about a config names the place.

Plain data comes from PyYAML's safe loader; the node tree of the same text gives the lines and shows keys written twice
(which YAML forbids and PyYAML lets pass).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from nba.errors import ConfigError

YamlPath = tuple[str | int, ...]
MAX_BYTES = 4_000_000
MAX_DEPTH = 20
MAX_NODES = 200_000
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LONGEST_NUMBER = 100
_OTHER_BASE = re.compile(r"[-+]?(?:0[0-7_]+|[0-9][0-9_]*:.*)")  # YAML 1.1: 010 is 8, and 1:30 is 90


class Document:
    """One parsed file: `data`, and for every path into it the line (from 1) where its value stands."""

    def __init__(self, name: str, data: Any, lines: dict[YamlPath, int]) -> None:
        self.name = name
        self.data = data
        self._lines = lines

    def place(self, path: YamlPath) -> str:
        """`catalog.yaml:12` of the deepest part of `path` that exists."""
        while path and path not in self._lines:
            path = path[:-1]
        return f"{self.name}:{self._lines.get(path, 1)}"


def read_document(file: Path) -> Document:
    """Parse one YAML file. Raises ConfigError: file missing, not YAML, a key twice, not a mapping."""
    if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe would be waited for
        raise ConfigError([f"{file.name}: is a pipe or a device: it has to be a file of text"])
    try:
        with file.open("rb") as source:
            # As many bytes as MAX_BYTES characters need at most, and no more of a file that has no end.
            raw = source.read(4 * MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            [f"{file.name}: not there: `nba init DIR` writes a folder that works as it stands"]
        ) from error
    except OSError as error:
        raise ConfigError([f"{file.name}: cannot be read ({error.strerror}): it has to be a file of text"]) from error
    whole = len(raw) <= 4 * MAX_BYTES
    text = _decoded(file.name, raw) if whole else ""
    if not whole or len(text) > MAX_BYTES:
        raise ConfigError([f"{file.name}: larger than {MAX_BYTES:,} characters: split off what is not configuration"])
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[YamlPath, int] = {}
        # Before the data: merges of merges (`<<`) unfold when it is made, and a long number takes minutes.
        twice = [] if node is None else list(_walk(node, (), lines))
        data = yaml.safe_load(text)
    except _UnreadError as error:
        raise ConfigError([f"{file.name}:{error.args[0]}: {error.args[1]}"]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([_syntax_problem(file.name, error, text)]) from error
    document = Document(file.name, data, lines)
    if twice:
        raise ConfigError([f"{file.name}:{line}: key {key!r} stands here twice: remove one" for key, line in twice])
    if not isinstance(data, dict):
        what = "empty" if data is None else "a list" if isinstance(data, list) else "one value"
        cure = "`nba init DIR` writes a folder to start from"
        raise ConfigError([f"{file.name}:1: has to be a mapping (`name: value` lines), is {what}: {cure}"])
    return document


def _decoded(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"byte 0x{raw[error.start]:02x} is no UTF-8 (Latin-1, perhaps): save the file as UTF-8 text"
        raise ConfigError([f"{name}:{line}: {problem}"]) from error


def _syntax_problem(name: str, error: Exception, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__
    return f"{name}:{line}: not YAML: {problem}: mend the line, or compare with a folder written by `nba init`"


class _UnreadError(Exception):
    """Aliases of aliases (or of themselves) that would unfold without end, a number without end or in disguise: line, words."""


def _walk(node: yaml.Node, path: YamlPath, lines: dict[YamlPath, int]) -> Iterator[tuple[str, int]]:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > MAX_DEPTH or len(lines) > MAX_NODES:
        words = f"deeper than {MAX_DEPTH} levels or more than {MAX_NODES:,} entries: write it out flat"
        raise _UnreadError(node.start_mark.line + 1, words)
    if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
        words = f"a number of {len(node.value):,} characters: write a shorter one, or put it in quotes"
        raise _UnreadError(node.start_mark.line + 1, words)
    if node.tag in _NUMBERS and _OTHER_BASE.fullmatch(node.value):
        words = (
            f"{node.value} is another number in YAML: write it without the 0 in front or the colon, or put it in quotes"
        )
        raise _UnreadError(node.start_mark.line + 1, words)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _walk(child, (*path, index), lines)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key_node, child in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in seen:
                yield key, line
            seen.add(key)
            lines[(*path, key)] = line
            yield from _walk(child, (*path, key), lines)
