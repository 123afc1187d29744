"""`--tune MINUTES`: a search over LightGBM's parameters with Optuna, an optional extra.

Judged on the last part of the training rows, in time: the slices that calibrate and judge the model stay unseen. What
it finds depends on how far the minutes reach, so the parameters found are kept with the version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nba.errors import DataError

Parameters = dict[str, Any]
_START = {"num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 20, "feature_fraction": 0.8, "lambda_l2": 1.0}


def search(loss: Callable[[Parameters], float], minutes: float, seed: int, tick: Callable[[float], None]) -> Parameters:
    """The parameters with the lowest `loss` found in time. Raises DataError without Optuna."""
    try:
        import optuna
    except ImportError as error:
        raise DataError("--tune needs Optuna: pip install optuna, or train without --tune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(_START)

    def objective(trial: Any) -> float:
        tick(len(study.trials) / (len(study.trials) + 20.0))
        return loss({
            "num_leaves": trial.suggest_int("num_leaves", 4, 127, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 300, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 100.0, log=True),
        })  # fmt: skip

    study.optimize(objective, timeout=minutes * 60.0)
    return dict(study.best_params)
