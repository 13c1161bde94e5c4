"""Models on real and made data, yesterday's, tonight's and quite other data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.optimizers.problem import Params, Spec, choice, real, whole
from benchmarks.optimizers.problems import PROBLEMS
from benchmarks.optimizers.training import (
    MADE,
    Array,
    Data,
    Measure,
    cross_validated,
    error,
    log_loss,
    mae,
)

_FOLDS = 3
#: Slight drift: this share of the rows is new, and this share of the labels is wrong.
NEW_ROWS, WRONG_LABELS = 0.25, 0.05


@dataclass(frozen=True)
class Task:
    """A model over a space, trained on `rows` rows of one data set; `other` is unrelated to it."""

    name: str
    space: Spec
    make: Callable[[Params], Any]
    measure: Measure
    source: str
    rows: int
    other: str

    def loss(self, params: Params, data: Data) -> float:
        """Train and measure."""
        return cross_validated(lambda: self.make(params), data, self.measure)

    def yesterday(self, seed: int) -> Data:
        """Give the data of the earlier run."""
        return self._data(self.source, *_drawn(self.source, self.rows, seed), seed)

    def tonight(self, seed: int) -> Data:
        """Give the same data after a slight drift."""
        features, labels = _drifted(self.source, self.rows, seed)
        return self._data(self.source, features, labels, seed)

    def elsewhere(self, seed: int) -> Data:
        """Give unrelated data."""
        return self._data(self.other, *_drawn(self.other, self.rows, seed), seed)

    def _data(self, source: str, features: Array, labels: Array, seed: int) -> Data:
        kind = KFold if _is_number(_pool(source)[1]) else StratifiedKFold
        folds = kind(_FOLDS, shuffle=True, random_state=seed)
        return Data(features, labels, tuple(folds.split(features, labels)))


@cache
def _pool(source: str) -> tuple[Array, Array]:
    """Load all rows there are, scaled."""
    if source in MADE:
        features, labels = MADE[source](800)
    else:
        features, labels = getattr(datasets, f"load_{source}")(return_X_y=True)
    if _is_number(labels):
        labels = (labels - labels.mean()) / labels.std()
    return StandardScaler().fit_transform(features), labels


def _is_number(labels: Array) -> bool:
    return bool(labels.dtype.kind == "f" and len(np.unique(labels)) > 20)


def _order(source: str, seed: int) -> Array:
    return np.random.default_rng([seed, 1]).permutation(len(_pool(source)[1]))


def _drawn(source: str, rows: int, seed: int) -> tuple[Array, Array]:
    features, labels = _pool(source)
    chosen = _order(source, seed)[:rows]
    return features[chosen], labels[chosen]


def _drifted(source: str, rows: int, seed: int) -> tuple[Array, Array]:
    features, labels = _pool(source)
    first = round(rows * NEW_ROWS)
    chosen = _order(source, seed)[first : first + rows]
    features, labels = features[chosen], labels[chosen].copy()
    rng = np.random.default_rng([seed, 2])
    wrong = rng.permutation(rows)[: round(rows * WRONG_LABELS)]
    labels[wrong] = rng.permutation(labels)[: len(wrong)]
    return features, labels


def _svm(p: Params) -> Any:
    shape = {name: p[name] for name in ("degree", "coef0") if name in p}
    return SVC(C=p["c"], gamma=p["gamma"], kernel=p["kernel"], max_iter=3_000, **shape)


def _sgd(p: Params) -> Any:
    return SGDClassifier(loss="log_loss", **p, tol=None, random_state=0)


def _mlp(p: Params) -> Any:
    return MLPClassifier(
        (p["units"],),
        activation=p["activation"],
        alpha=p["alpha"],
        batch_size=p["batch_size"],
        learning_rate_init=p["learning_rate"],
        beta_1=p["beta_1"],
        max_iter=p["epochs"],
        random_state=0,
    )


def _boosting(p: Params) -> Any:
    return GradientBoostingClassifier(**p, random_state=0)


def _forest(p: Params) -> Any:
    return ExtraTreesRegressor(**p, random_state=0)


_SVM_SPACE = {
    "c": real(1e-3, 1e3, "log"),
    "gamma": real(1e-6, 1.0, "log"),
    "kernel": choice("rbf", "poly", "sigmoid"),
    "degree": whole(2, 5, when={"kernel": ["poly"]}),
    "coef0": real(0.0, 5.0, when={"kernel": ["poly", "sigmoid"]}),
}

TASKS = (
    Task("svm", _SVM_SPACE, _svm, error, "digits", 300, "classes5"),
    Task("sgd", PROBLEMS["sgd_wine"].space, _sgd, log_loss, "classes5", 300, "digits"),
    Task("mlp", PROBLEMS["mlp_digits"].space, _mlp, log_loss, "digits", 200, "breast_cancer"),
    Task(
        *("boosting", PROBLEMS["boosting_cancer"].space, _boosting),
        *(log_loss, "breast_cancer", 140, "classes"),
    ),
    Task("forest", PROBLEMS["forest_friedman"].space, _forest, mae, "friedman1", 150, "diabetes"),
)
