"""Data sets, folds and losses: cross-validated training of scikit-learn models, the same each time.

rows x columns of features, rows of labels, folds as pairs of (training, validation) row numbers
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context, datasets
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

Array = NDArray[Any]
Measure = Callable[[Any, Array, Array], float]

MADE = {
    "friedman1": lambda rows: datasets.make_friedman1(rows, 8, noise=1.0, random_state=1),
    "friedman2": lambda rows: datasets.make_friedman2(rows, noise=50.0, random_state=2),
    "friedman3": lambda rows: datasets.make_friedman3(rows, noise=0.1, random_state=3),
    "classes": lambda rows: datasets.make_classification(
        rows, 12, n_informative=6, n_clusters_per_class=3, flip_y=0.05, random_state=4
    ),
    "classes5": lambda rows: datasets.make_classification(
        rows, 10, n_informative=7, n_classes=5, n_clusters_per_class=2, random_state=5
    ),
    "line": lambda rows: datasets.make_regression(
        rows, 40, n_informative=10, noise=40.0, random_state=6
    ),
}


@dataclass(frozen=True, slots=True)
class Data:
    """Features, labels and folds of one task."""

    features: Array
    labels: Array
    folds: tuple[tuple[Array, Array], ...]


@cache
def data(name: str, rows: int, n_folds: int = 3, *, scaled: bool = True) -> Data:
    """Load `rows` rows, shuffled; scaled to mean 0 and standard deviation 1.

    The labels of a regression are scaled too, so that a loss of 1 is that of a constant.
    """
    if name in MADE:
        features, labels = MADE[name](rows)
    else:
        features, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
        chosen = np.random.default_rng(0).permutation(len(labels))[:rows]
        features, labels = features[chosen], labels[chosen]
    if scaled:
        features = StandardScaler().fit_transform(features)
    if labels.dtype.kind == "f" and len(np.unique(labels)) > 20:
        folds: Any = KFold(n_folds, shuffle=True, random_state=0)
        labels = (labels - labels.mean()) / labels.std()
    else:
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
        labels = labels.astype(int)
    return Data(features, labels, tuple(folds.split(features, labels)))


def cross_validated(make: Callable[[], Any], task: Data, measure: Measure) -> float:
    """Give the mean loss over the folds of a model that `make` makes anew for each."""
    losses = []
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        warnings.simplefilter("ignore")
        for fit, held_out in task.folds:
            model = make().fit(task.features[fit], task.labels[fit])
            losses.append(measure(model, task.features[held_out], task.labels[held_out]))
    return float(np.mean(losses))


def error(model: Any, features: Array, labels: Array) -> float:
    """Give the share of wrong predictions."""
    return float(np.mean(model.predict(features) != labels))


def log_loss(model: Any, features: Array, labels: Array) -> float:
    """Give the cross-entropy; no probability counts as less than 0.001."""
    columns = np.searchsorted(model.classes_, labels)
    of_label = model.predict_proba(features)[np.arange(len(labels)), columns]
    return float(-np.log(np.maximum(of_label, 1e-3)).mean())


def ranking_loss(model: Any, features: Array, labels: Array) -> float:
    """Give 1 - area under the ROC curve, for two classes."""
    if hasattr(model, "decision_function"):
        scores = model.decision_function(features)
    else:
        scores = model.predict_proba(features)[:, 1]
    return 1.0 - float(roc_auc_score(labels, scores))


def mse(model: Any, features: Array, labels: Array) -> float:
    """Give the mean squared error."""
    return float(np.mean((model.predict(features) - labels) ** 2))


def mae(model: Any, features: Array, labels: Array) -> float:
    """Give the mean absolute error."""
    return float(np.mean(np.abs(model.predict(features) - labels)))
