"""A trained LightGBM model as plain arrays, read from its own text format, and what its splits mean, exactly.

Source of the format and of the routing: LightGBM's `Tree::Tree(const char*)`, `NumericalDecision` and
`CategoricalDecision`, https://github.com/microsoft/LightGBM/blob/master/include/LightGBM/tree.h
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nba.errors import ModelError

ZERO_BAND = float(np.float32(1e-35))  # kZeroThreshold: what `zero_as_missing` takes for zero
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING = ("none", "zero", "nan")


@dataclass(frozen=True, slots=True)
class Split:
    """An inner node. Numeric: left when x <= threshold. Categorical: left when the code is one of `codes`.

    `missing`: what stands for a missing value; `none` means that NaN counts as 0. A child below 0 is the leaf `~child`.
    """

    feature: int
    threshold: float
    codes: tuple[int, ...] | None
    missing: str
    default_left: bool
    left: int
    right: int

    def nan_goes_left(self) -> bool:
        """The way of a NaN."""
        if self.codes is not None:
            return False
        return self.threshold >= 0.0 if self.missing == "none" else self.default_left


@dataclass(frozen=True, slots=True)
class Tree:
    """Splits (the first one is the root) and leaf values; without splits the tree is its only leaf."""

    splits: tuple[Split, ...]
    leaves: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forest:
    """The sum of its trees is the raw score. `features`: names in the order of the matrix."""

    features: tuple[str, ...]
    trees: tuple[Tree, ...]


def parse_forest(text: str) -> Forest:
    """Read LightGBM's text. Raises ModelError when it is none, or holds what we do not serve (linear leaves, several classes)."""
    header, *blocks = text.split("\nTree=")
    fields = _fields(header)
    if fields.get("num_class") != "1" or "objective=binary sigmoid:1" not in header:
        raise ModelError("not a LightGBM model with one binary objective: train it with `nba train`")
    try:
        return Forest(tuple(fields["feature_names"].split()), tuple(_tree(_fields(block)) for block in blocks))
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"the LightGBM text cannot be read ({error!r}): train again") from error


def _fields(block: str) -> dict[str, str]:
    body = block.split("\nend of trees", 1)[0]
    return dict(line.split("=", 1) for line in body.splitlines() if "=" in line)


def _tree(fields: dict[str, str]) -> Tree:
    if fields.get("is_linear", "0") != "0":
        raise ModelError("linear leaves are not served: train without linear_tree")
    leaves = tuple(float(value) for value in fields["leaf_value"].split())
    if int(fields["num_leaves"]) == 1:
        return Tree((), leaves[:1])
    numbers = {name: [int(v) for v in fields[name].split()] for name in ("split_feature", "decision_type")}
    children = {name: [int(v) for v in fields[name].split()] for name in ("left_child", "right_child")}
    sets = _category_sets(fields)
    splits = [
        _split(feature, kind, float(threshold), left, right, sets)
        for feature, kind, threshold, left, right in zip(
            numbers["split_feature"], numbers["decision_type"], fields["threshold"].split(),
            children["left_child"], children["right_child"], strict=True,
        )
    ]  # fmt: skip
    return Tree(tuple(splits), leaves)


def _split(feature: int, kind: int, threshold: float, left: int, right: int, sets: list[tuple[int, ...]]) -> Split:
    codes = sets[int(threshold)] if kind & _CATEGORICAL else None
    at = threshold if codes is not None else _outside_zero_band(threshold)
    return Split(feature, at, codes, _MISSING[kind >> 2 & 3], bool(kind & _DEFAULT_LEFT), left, right)


def _outside_zero_band(threshold: float) -> float:
    """LightGBM predicts with 0 for every |x| <= 1e-35: a threshold inside that band moves to the edge that says the same."""
    if 0.0 <= threshold < ZERO_BAND:
        return ZERO_BAND
    return math.nextafter(-ZERO_BAND, -math.inf) if -ZERO_BAND <= threshold < 0.0 else threshold


def _category_sets(fields: dict[str, str]) -> list[tuple[int, ...]]:
    if fields["num_cat"] == "0":
        return []
    starts = [int(v) for v in fields["cat_boundaries"].split()]
    bits = [int(v) for v in fields["cat_threshold"].split()]
    return [_members(bits[a:b]) for a, b in pairwise(starts)]


def _members(bits: list[int]) -> tuple[int, ...]:
    return tuple(32 * word + bit for word, value in enumerate(bits) for bit in range(32) if value >> bit & 1)


def with_fixed(tree: Tree, feature: int, value: float) -> Tree:
    """The same tree for all rows whose `feature` is `value` (a finite number): its splits on it are gone."""
    splits: list[Split] = []
    leaves: list[float] = []

    def copy(child: int) -> int:
        while child >= 0 and tree.splits[child].feature == feature:
            split = tree.splits[child]
            child = split.left if goes_left(split, value) else split.right
        if child < 0:
            leaves.append(tree.leaves[~child])
            return ~(len(leaves) - 1)
        place = len(splits)
        old = tree.splits[child]
        splits.append(old)
        left, right = copy(old.left), copy(old.right)
        splits[place] = Split(old.feature, old.threshold, old.codes, old.missing, old.default_left, left, right)
        return place

    copy(0 if tree.splits else -1)
    return Tree(tuple(splits), tuple(leaves))


def uses(tree: Tree, feature: int) -> bool:
    """Whether any split reads the feature."""
    return any(split.feature == feature for split in tree.splits)


def goes_left(split: Split, value: float) -> bool:
    """The way of one value, as LightGBM sends it."""
    if value != value:
        return split.nan_goes_left()
    if split.codes is not None:
        return np.isfinite(value) and int(value) in split.codes
    if split.missing == "zero" and abs(value) <= ZERO_BAND:
        return split.default_left
    return value <= split.threshold
