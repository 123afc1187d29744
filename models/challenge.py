"""A challenger on the judged rows, beside the champion where there is one: the gates of promotion and why each says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.batch import Matrix
from models.judge import Gate, Group, against_base_rate, against_champion, groups
from models.leak import leak_gate
from models.matrix import Assembler
from models.metrics import Array
from models.offpolicy import explored_log, off_policy_gate
from models.parity import Certificate
from models.prepare import Prepared
from models.registry import Registry, certified, verified
from models.scorer import Scorer
from models.summary import made_of
from nba.config import Config
from nba.errors import ModelError, NotFoundError

CHUNK_ROWS = 16_384
PRIOR_ROWS = 20.0
# A shop that learns from a shorter window on purpose keeps more than that from night to night.
FEWEST_OF_CHAMPION = 0.25


@dataclass(frozen=True)
class Incumbent:
    """Whom to beat: `champion` as the registry names it; `scorer` and its answers `p` (judged rows,), None where none can.

    `used`: the rows that the scorer was made of, None where it does not say. `note` says where it is not the champion itself.
    """

    champion: str | None
    scorer: Scorer | None = None
    p: Array | None = None
    used: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Challenge:
    """The challenger's answers `p` float64 (judged rows,) with labels `y`, and whom it has to beat."""

    ready: Prepared
    config: Config
    scorer: Scorer
    p: Array
    y: Array
    incumbent: Incumbent
    seed: int

    @property
    def base_rate(self) -> float:
        """The share accepted in the slices before the judged one: what one would say without a model."""
        return float(self.ready.label[: self.ready.slices.calibrate].mean())

    @property
    def rows(self) -> NDArray[np.int64]:
        """The judged rows, as places among all decisions, int64 (n,)."""
        return self.ready.rows[self.ready.slices.judging]

    def gates(self, certificate: Certificate) -> list[Gate]:
        """Every gate, in the order in which they are explained."""
        customers = self.ready.assembler.decisions.customer[self.rows].astype(np.int64)
        champion = self.incumbent
        found = [_parity(certificate), self._schema(), self._leak()]
        if champion.used is not None:
            found.append(enough_rows(self.ready.slices.rows, champion.used, self.scorer.version))
        if champion.p is None:
            found += against_base_rate(self.p, self.y, self.base_rate, customers, self.seed)
        else:
            found += against_champion(self.p, champion.p, self.y, customers, self.seed)
        log = explored_log(self.ready.assembler, self.rows, self.y)
        return [*found, off_policy_gate(log, self.scorer, champion.scorer, self.seed)]

    def _schema(self) -> Gate:
        declared = {f"x.{column.name}" for column in self.config.features.columns}
        lacking = sorted(n for n in self.scorer.schema.names if n.startswith("x.") and n not in declared)
        finite = bool(np.isfinite(self.p).all())
        says = f"{len(self.scorer.schema.columns)} columns, fingerprint {self.scorer.schema.fingerprint}"
        return Gate("schema", finite and not lacking, says if finite else "some answers are not numbers")

    def _leak(self) -> Gate:
        names = [column.name for column in self.scorer.schema.columns]
        offer = self.ready.assembler.decisions.offer[self.rows]
        return leak_gate(self.p, self.y, offer, self.ready.matrix[self.ready.slices.judging], names)

    def by_offer(self) -> list[Group]:
        """Figures for each offer."""
        return self._by(np.array([offer.id for offer in self.config.catalog.offers]))

    def by_kind(self) -> list[Group]:
        """Figures for each kind of offer."""
        return self._by(np.array([str(offer.kind) for offer in self.config.catalog.offers]))

    def _by(self, name_of_offer: NDArray[np.str_]) -> list[Group]:
        names = name_of_offer[self.ready.assembler.decisions.offer[self.ready.rows]]
        before, label = names[: self.ready.slices.calibrate], self.ready.label[: self.ready.slices.calibrate]
        rates = {}
        for name in np.unique(names):
            hit = label[before == name]
            rates[str(name)] = float((hit.sum() + PRIOR_ROWS * self.base_rate) / (len(hit) + PRIOR_ROWS))
        return groups(names[self.ready.slices.judging], self.p, self.y, rates)


def challenge(ready: Prepared, scorer: Scorer, registry: Registry, config: Config, seed: int) -> Challenge:
    """Ask the challenger and the champion on the judged rows, each with its own schema."""
    p = accept_of(scorer, ready.matrix[ready.slices.judging])
    y = ready.label[ready.slices.judging].astype(np.float64)
    return Challenge(ready, config, scorer, p, y, find_incumbent(ready, registry, config), seed)


def find_incumbent(ready: Prepared, registry: Registry, config: Config) -> Incumbent:
    """The newest champion of the history that answers on the judged rows. Raises ModelError for a broken pointer."""
    history = registry.history()
    if not history:
        return Incumbent(None, note="no champion yet: compared with the base rate")
    rows, why = ready.rows[ready.slices.judging], ""
    for version in dict.fromkeys(reversed(history)):
        try:
            scorer, used, until_ms = _intact(registry.path(version), config)
            p = accept_on(scorer, ready.assembler, rows)
        except (ModelError, NotFoundError) as error:
            why = why or f"the champion cannot answer ({error})"
            continue
        note = why and f"{why}: compared with {version}, the newest before it that can"
        learnt = int((ready.assembler.decisions.at_ms[rows] < until_ms).sum())
        return Incumbent(
            history[-1], scorer, p, used, "; ".join(filter(None, [note, _flattered(version, learnt, len(rows))]))
        )
    return Incumbent(history[-1], note=f"{why}, nor can any before it, so this is judged as a first model")


def _flattered(version: str, learnt: int, judged: int) -> str:
    """What is said where the incumbent has seen the answers: it looks better here than it is, and may stop what is better."""
    if not learnt:
        return ""
    seen = f"{version} may have learnt from {learnt:,} of the {judged:,} judged rows, so the comparison leans its way"
    return f"{seen}: keep fewer rows to judge with --valid-share, or later ones with --valid-from"


def _intact(folder: Path, config: Config) -> tuple[Scorer, int | None, int]:
    """The scorer, the number of its rows and the moment of its first judged one (ms; 0: it does not say).

    Raises ModelError also for a file that loads and is not the one that was certified.
    """
    files = verified(folder)
    if not certified(files):
        raise ModelError(f"{folder.name} has no passed parity certificate")
    return Scorer.load(folder, config.catalog, config.features.columns), *made_of(files.get("metrics.json"))


def enough_rows(used: int, before: int, version: str) -> Gate:
    """Stops what was made of a far shorter log than the champion: one that is not whole, by night, when nobody looks.

    So few judged rows prove no difference, and the other gates pass what they cannot prove to be worse.
    """
    says = f"{used:,} rows used, the champion's model {before:,}"
    if used >= FEWEST_OF_CHAMPION * before:
        return Gate("rows", True, says)
    cure = f"less than a quarter, so the log may not be whole: give all of it, or, if it is, `nba models promote {version}`"
    return Gate("rows", False, f"{says}: {cure}")


def accept_of(scorer: Scorer, matrix: Matrix) -> Array:
    """Acceptance probabilities of encoded rows, float64 (n,), in bounded memory."""
    return np.concatenate(
        [scorer.run(matrix[i : i + CHUNK_ROWS]).accept for i in range(0, len(matrix), CHUNK_ROWS)] or [np.empty(0)]
    )


def accept_on(scorer: Scorer, assembler: Assembler, rows: NDArray[np.int64]) -> Array:
    """The same for these rows of the decisions, encoded with the scorer's own schema."""
    return accept_of(scorer, assembler.matrix(scorer.schema, rows))


def _parity(certificate: Certificate) -> Gate:
    worst = max(value for kinds in certificate.largest.values() for value in kinds.values())
    asked = sum(certificate.rows.values())
    says = f"largest difference {worst:.1e} over {asked:,} rows, allowed {certificate.tolerance:.0e}"
    return Gate("parity", certificate.passed, says)
