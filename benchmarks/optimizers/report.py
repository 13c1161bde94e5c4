"""The problems of the reported table; never to be looked at while developing a sampler."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge, SGDRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeRegressor

from benchmarks.optimizers.problem import Params, Problem, choice, dummies, ordinal, real, whole
from benchmarks.optimizers.tabular import keras_problem
from benchmarks.optimizers.training import (
    Data,
    cross_validated,
    data,
    error,
    log_loss,
    mae,
    mse,
)

CANCER = 30  # features of the breast cancer data
DIABETES = 10
DIVERGED, HUGE = 5.0, 1_000.0  # times the loss of a constant, about
SCALERS = {"standard": StandardScaler, "range": MinMaxScaler}


def knn_digits(p: Params) -> float:
    """Error rate: flat steps of 1/300."""

    def make() -> Any:
        steps = [SCALERS[p["scaler"]]()] if p["scaler"] != "none" else []
        model = KNeighborsClassifier(p["neighbours"], weights=p["weights"], p=p["power"])
        return make_pipeline(*steps, PCA(p["components"], random_state=0), model)

    return cross_validated(make, data("digits", 300, scaled=False), error)


def svr_friedman(p: Params) -> float:
    """Conditional: the kernel decides which of its parameters exist; some losses are huge."""
    shape = {name: p[name] for name in ("gamma", "degree", "coef0") if name in p}
    loss = cross_validated(
        lambda: SVR(C=p["c"], epsilon=p["epsilon"], kernel=p["kernel"], max_iter=3_000, **shape),
        data("friedman1", 120),
        mae,
    )
    return min(loss, HUGE)


def forest_friedman(p: Params) -> float:
    """The optimum is at bounds: as many and as large trees as allowed."""
    return cross_validated(
        lambda: ExtraTreesRegressor(**p, random_state=0), data("friedman1", 150), mae
    )


def boosting_cancer(p: Params) -> float:
    """Boosted trees by log loss."""
    return cross_validated(
        lambda: GradientBoostingClassifier(**p, random_state=0),
        data("breast_cancer", 140),
        log_loss,
    )


def sgd_line(p: Params) -> float:
    """Fails where the learning rate makes it diverge: a quarter of the space."""
    loss = cross_validated(
        lambda: SGDRegressor(penalty="elasticnet", **p, tol=None, random_state=0),
        data("line", 90),
        mae,
    )
    return loss if loss < DIVERGED else math.nan


def mlp_diabetes(p: Params) -> float:
    """A small network, by plain gradient descent with momentum; fails where that diverges."""

    def make() -> Any:
        return MLPRegressor(
            hidden_layer_sizes=(p["units"],) * p["layers"],
            activation=p["activation"],
            solver="sgd",
            alpha=p["alpha"],
            batch_size=p["batch_size"],
            learning_rate_init=p["learning_rate"],
            momentum=p["momentum"],
            max_iter=p["epochs"],
            random_state=0,
        )

    try:
        loss = cross_validated(make, data("diabetes", 220), mse)
    except ValueError:  # weights that are not finite
        return math.nan
    return loss if loss < DIVERGED else math.nan


def pipeline_friedman(p: Params) -> float:
    """Conditional: scaler, polynomial features and one of five models."""

    def make() -> Any:
        steps: list[Any] = []
        if p["scaler"] == "standard":
            steps.append(StandardScaler())
        if p["scaler"] == "quantile":
            steps.append(QuantileTransformer(n_quantiles=50, random_state=0))
        if p["degree"] > 1:
            steps.append(PolynomialFeatures(p["degree"], include_bias=False))
        return make_pipeline(*steps, regressor(p))

    return cross_validated(make, data("friedman3", 200, scaled=False), mae)


def regressor(p: Params) -> Any:
    """Make the model that a pipeline names."""
    if p["model"] == "ridge":
        return Ridge(alpha=p["ridge_alpha"])
    if p["model"] == "elastic":
        return ElasticNet(alpha=p["elastic_alpha"], l1_ratio=p["l1_ratio"], max_iter=100)
    if p["model"] == "svr":
        return SVR(C=p["svr_c"], gamma=p["svr_gamma"], epsilon=p["epsilon"], max_iter=3_000)
    if p["model"] == "neighbours":
        return KNeighborsRegressor(p["neighbours"], weights=p["weights"])
    return DecisionTreeRegressor(max_depth=p["depth"], min_samples_leaf=p["leaf"], random_state=0)


def dummies_classes(p: Params) -> float:
    """3 parameters that matter and 17 that do nothing."""
    return cross_validated(
        lambda: SVC(C=p["c"], gamma=p["gamma"], class_weight={0: 1.0, 1: p["weight"]}),
        data("classes", 200),
        error,
    )


def features_cancer(p: Params) -> float:
    """Three features to choose out of 30: categoricals with many values."""
    task = data("breast_cancer", 250)
    columns = [int(p[name][1:]) for name in ("first", "second", "third")]
    return cross_validated(
        lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=p["shrinkage"]),
        Data(task.features[:, columns], task.labels, task.folds),
        log_loss,
    )


def noisy_classes(p: Params) -> float:
    """Logistic regression on random features; the noise is as large as what is to be gained."""
    task = data("classes5", 240)
    rng = np.random.default_rng(0)
    waves = rng.normal(0.0, p["width"], (task.features.shape[1], p["waves"]))
    shifts = rng.uniform(0.0, 2 * math.pi, p["waves"])
    return cross_validated(
        lambda: LogisticRegression(C=p["c"], max_iter=15),
        Data(np.cos(task.features @ waves + shifts), task.labels, task.folds),
        log_loss,
    )


def weights_diabetes(p: Params) -> float:
    """One weight per feature and the number of neighbours: 11 that all matter a little."""
    task = data("diabetes", 300)
    weights = [p[f"w{column}"] for column in range(DIABETES)]
    return cross_validated(
        lambda: KNeighborsRegressor(p["neighbours"], weights=p["weights"]),
        Data(task.features * weights, task.labels, task.folds),
        mse,
    )


FEATURES = [f"f{column}" for column in range(CANCER)]

PROBLEMS = (
    Problem(
        "knn_digits",
        {
            "scaler": choice("none", "standard", "range"),
            "components": whole(2, 48, "log"),
            "neighbours": whole(1, 60, "log"),
            "weights": choice("uniform", "distance"),
            "power": real(1.0, 4.0, step=0.5),
        },
        knn_digits,
    ),
    Problem(
        "svr_friedman",
        {
            "kernel": choice("rbf", "poly", "sigmoid", "linear"),
            "c": real(1e-3, 1e3, "log"),
            "epsilon": real(1e-3, 1.0, "log"),
            "gamma": real(1e-4, 10.0, "log", when={"kernel": ["rbf", "poly", "sigmoid"]}),
            "degree": whole(1, 5, when={"kernel": ["poly"]}),
            "coef0": real(-1.0, 3.0, when={"kernel": ["poly", "sigmoid"]}),
        },
        svr_friedman,
    ),
    Problem(
        "forest_friedman",
        {
            "n_estimators": whole(1, 14),
            "max_depth": whole(1, 16),
            "max_features": real(0.05, 1.0),
            "min_samples_leaf": whole(1, 40),
            "min_samples_split": whole(2, 60),
            "bootstrap": choice(True, False),
        },
        forest_friedman,
    ),
    Problem(
        "boosting_cancer",
        {
            "n_estimators": whole(2, 30),
            "max_depth": whole(1, 6),
            "learning_rate": real(0.005, 2.0, "log"),
            "subsample": real(0.2, 1.0),
            "max_features": real(0.03, 1.0, "log"),
            "min_samples_leaf": whole(1, 40, "log"),
        },
        boosting_cancer,
    ),
    Problem(
        "sgd_line",
        {
            "loss": choice("squared_error", "huber", "epsilon_insensitive"),
            "epsilon": real(1e-3, 1.0, "log", when={"loss": ["huber", "epsilon_insensitive"]}),
            "alpha": real(1e-6, 10.0, "log"),
            "l1_ratio": real(0.0, 1.0),
            "learning_rate": choice("constant", "invscaling", "adaptive"),
            "eta0": real(1e-5, 100.0, "log"),
            "power_t": real(0.05, 1.0, when={"learning_rate": ["invscaling"]}),
            "max_iter": whole(1, 20),
        },
        sgd_line,
    ),
    Problem(
        "mlp_diabetes",
        {
            "layers": whole(1, 3),
            "units": whole(2, 40, "log"),
            "activation": choice("relu", "tanh", "logistic"),
            "alpha": real(1e-5, 10.0, "log"),
            "batch_size": ordinal(8, 16, 32, 64, 128),
            "learning_rate": real(1e-4, 1.0, "log"),
            "momentum": real(0.0, 0.99, "reverse_log"),
            "epochs": whole(1, 10),
        },
        mlp_diabetes,
    ),
    Problem(
        "pipeline_friedman",
        {
            "scaler": choice("none", "standard", "quantile"),
            "degree": ordinal(1, 2, 3),
            "model": choice("ridge", "elastic", "svr", "neighbours", "tree"),
            "ridge_alpha": real(1e-5, 1e3, "log", when={"model": ["ridge"]}),
            "elastic_alpha": real(1e-5, 1.0, "log", when={"model": ["elastic"]}),
            "l1_ratio": real(0.01, 1.0, when={"model": ["elastic"]}),
            "svr_c": real(1e-3, 1e3, "log", when={"model": ["svr"]}),
            "svr_gamma": real(1e-5, 10.0, "log", when={"model": ["svr"]}),
            "epsilon": real(1e-3, 1.0, "log", when={"model": ["svr"]}),
            "neighbours": whole(1, 50, "log", when={"model": ["neighbours"]}),
            "weights": choice("uniform", "distance", when={"model": ["neighbours"]}),
            "depth": whole(1, 12, when={"model": ["tree"]}),
            "leaf": whole(1, 40, "log", when={"model": ["tree"]}),
        },
        pipeline_friedman,
    ),
    Problem(
        "dummies_classes",
        {
            "c": real(1e-3, 1e3, "log"),
            "gamma": real(1e-6, 10.0, "log"),
            "weight": real(0.1, 10.0, "log"),
            **dummies(17),
        },
        dummies_classes,
    ),
    Problem(
        "features_cancer",
        {
            "first": choice(*FEATURES),
            "second": choice(*FEATURES),
            "third": choice(*FEATURES),
            "shrinkage": real(0.0, 1.0),
        },
        features_cancer,
    ),
    Problem(
        "noisy_classes",
        {
            "waves": whole(2, 120, "log"),
            "width": real(1e-3, 10.0, "log"),
            "c": real(1e-4, 1e4, "log"),
        },
        noisy_classes,
        noise=0.15,
    ),
    Problem(
        "weights_diabetes",
        {
            **{f"w{column}": real(0.0, 1.0) for column in range(DIABETES)},
            "neighbours": whole(1, 80),
            "weights": choice("uniform", "distance"),
        },
        weights_diabetes,
    ),
    keras_problem("keras_cnn"),
)
