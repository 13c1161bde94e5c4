"""The problems to look at while developing a sampler; never in a reported table."""

from __future__ import annotations

import math
from typing import Any

from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingRegressor
from sklearn.feature_selection import SelectKBest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

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
    ranking_loss,
)

WINE = 13  # features of the wine data


def svm_digits(p: Params) -> float:
    """Error rate: flat steps of 1/300."""
    return cross_validated(
        lambda: make_pipeline(
            PCA(p["components"], random_state=0), SVC(C=p["c"], gamma=p["gamma"])
        ),
        data("digits", 300, scaled=False),
        error,
    )


def tree_diabetes(p: Params) -> float:
    """Most of the parameters limit the tree in the same way."""
    return cross_validated(
        lambda: DecisionTreeRegressor(**p, random_state=0), data("diabetes", 442, 5), mse
    )


def boosting_friedman(p: Params) -> float:
    """Fails as if out of memory where trees are many and deep."""
    if p["n_estimators"] * 2 ** p["max_depth"] > 700:
        return math.nan
    return cross_validated(
        lambda: GradientBoostingRegressor(**p, random_state=0), data("friedman1", 150), mae
    )


def sgd_wine(p: Params) -> float:
    """Conditional: the rates belong to some schedules, the mix to one penalty."""
    return cross_validated(
        lambda: SGDClassifier(loss="log_loss", **p, tol=None, random_state=0),
        data("wine", 178),
        log_loss,
    )


def mlp_digits(p: Params) -> float:
    """A small network for a few epochs."""
    return cross_validated(
        lambda: MLPClassifier(
            (p["units"],),
            activation=p["activation"],
            alpha=p["alpha"],
            batch_size=p["batch_size"],
            learning_rate_init=p["learning_rate"],
            beta_1=p["beta_1"],
            max_iter=p["epochs"],
            random_state=0,
        ),
        data("digits", 200),
        log_loss,
    )


def ada_classes(p: Params) -> float:
    """Boosted trees of varying size."""
    return cross_validated(
        lambda: AdaBoostClassifier(
            DecisionTreeClassifier(
                max_depth=p["max_depth"],
                min_samples_leaf=p["min_samples_leaf"],
                max_features=p["max_features"],
                criterion=p["criterion"],
            ),
            n_estimators=p["n_estimators"],
            learning_rate=p["learning_rate"],
            random_state=0,
        ),
        data("classes", 250),
        ranking_loss,
    )


SCALERS = {"standard": StandardScaler, "range": MinMaxScaler, "robust": RobustScaler}


def pipeline_cancer(p: Params) -> float:
    """Conditional: scaler, selection and one of four models, each with parameters of its own."""

    def make() -> Any:
        steps: list[Any] = [SCALERS[p["scaler"]]()] if p["scaler"] != "none" else []
        if p["reducer"] == "pca":
            steps.append(PCA(p["kept"], random_state=0))
        if p["reducer"] == "best":
            steps.append(SelectKBest(k=p["kept"]))
        return make_pipeline(*steps, classifier(p))

    return cross_validated(make, data("breast_cancer", 200, scaled=False), ranking_loss)


def classifier(p: Params) -> Any:
    """Make the model that a pipeline names."""
    if p["model"] == "svm":
        return SVC(C=p["svm_c"], gamma=p["svm_gamma"])
    if p["model"] == "neighbours":
        return KNeighborsClassifier(p["neighbours"], weights=p["weights"])
    if p["model"] == "logistic":
        return LogisticRegression(C=p["logistic_c"], max_iter=30)
    return DecisionTreeClassifier(max_depth=p["depth"], min_samples_leaf=p["leaf"], random_state=0)


def dummies_diabetes(p: Params) -> float:
    """3 parameters that matter and 15 that do nothing."""
    return cross_validated(
        lambda: SVR(C=p["c"], gamma=p["gamma"], epsilon=p["epsilon"]), data("diabetes", 220), mae
    )


def features_wine(p: Params) -> float:
    """Three features to choose out of 13: categoricals with many values."""
    task = data("wine", 178, 5)
    columns = [int(p[name][1:]) for name in ("first", "second", "third")]
    return cross_validated(
        lambda: GaussianNB(var_smoothing=p["smoothing"]),
        Data(task.features[:, columns] * [1.0, p["second_weight"], 1.0], task.labels, task.folds),
        log_loss,
    )


def noisy_friedman(p: Params) -> float:
    """Kernel ridge regression; the noise is as large as what is to be gained."""
    shape = {"degree": p["degree"]} if "degree" in p else {}
    return cross_validated(
        lambda: KernelRidge(
            alpha=p["alpha"], gamma=p["gamma"], kernel=p["kernel"], coef0=1.0, **shape
        ),
        data("friedman3", 200),
        mse,
    )


def weights_wine(p: Params) -> float:
    """One weight per feature and the number of neighbours: 14 that all matter a little."""
    task = data("wine", 178, 5)
    weights = [p[f"w{column}"] for column in range(WINE)]
    return cross_validated(
        lambda: KNeighborsClassifier(p["neighbours"], weights="distance"),
        Data(task.features * weights, task.labels, task.folds),
        log_loss,
    )


FEATURES = [f"f{column}" for column in range(WINE)]

PROBLEMS = (
    Problem(
        "svm_digits",
        {
            "c": real(1e-3, 1e3, "log"),
            "gamma": real(1e-7, 1.0, "log"),
            "components": whole(2, 48, "log"),
        },
        svm_digits,
    ),
    Problem(
        "tree_diabetes",
        {
            "max_depth": whole(1, 15),
            "min_samples_split": real(0.01, 0.99),
            "min_samples_leaf": real(0.01, 0.49),
            "min_weight_fraction_leaf": real(0.01, 0.49),
            "max_features": real(0.01, 0.99),
            "min_impurity_decrease": real(0.0, 0.5),
        },
        tree_diabetes,
    ),
    Problem(
        "boosting_friedman",
        {
            "n_estimators": whole(5, 50),
            "max_depth": whole(1, 7),
            "learning_rate": real(0.01, 1.0, "log"),
            "subsample": real(0.3, 1.0, step=0.05),
            "max_features": real(0.1, 1.0),
            "min_samples_leaf": whole(1, 30, "log"),
        },
        boosting_friedman,
    ),
    Problem(
        "sgd_wine",
        {
            "penalty": choice("l1", "l2", "elasticnet"),
            "l1_ratio": real(0.0, 1.0, when={"penalty": ["elasticnet"]}),
            "alpha": real(1e-6, 1.0, "log"),
            "learning_rate": choice("constant", "invscaling", "adaptive", "optimal"),
            "eta0": real(
                1e-5, 10.0, "log", when={"learning_rate": ["constant", "invscaling", "adaptive"]}
            ),
            "power_t": real(0.05, 1.0, when={"learning_rate": ["invscaling"]}),
            "max_iter": whole(1, 20),
            "average": choice(True, False),
        },
        sgd_wine,
    ),
    Problem(
        "mlp_digits",
        {
            "units": whole(4, 48, "log"),
            "activation": choice("relu", "tanh", "logistic", "identity"),
            "alpha": real(1e-5, 10.0, "log"),
            "batch_size": ordinal(8, 16, 32, 64, 128),
            "learning_rate": real(1e-4, 0.5, "log"),
            "beta_1": real(0.5, 0.99, "reverse_log"),
            "epochs": whole(1, 8),
        },
        mlp_digits,
    ),
    Problem(
        "ada_classes",
        {
            "n_estimators": whole(2, 14),
            "learning_rate": real(0.01, 5.0, "log"),
            "max_depth": whole(1, 8),
            "min_samples_leaf": whole(1, 40, "log"),
            "max_features": real(0.1, 1.0),
            "criterion": choice("gini", "entropy"),
        },
        ada_classes,
    ),
    Problem(
        "pipeline_cancer",
        {
            "scaler": choice("none", "standard", "range", "robust"),
            "reducer": choice("none", "pca", "best"),
            "kept": whole(1, 25, when={"reducer": ["pca", "best"]}),
            "model": choice("svm", "neighbours", "logistic", "tree"),
            "svm_c": real(1e-3, 1e3, "log", when={"model": ["svm"]}),
            "svm_gamma": real(1e-6, 10.0, "log", when={"model": ["svm"]}),
            "neighbours": whole(1, 50, "log", when={"model": ["neighbours"]}),
            "weights": choice("uniform", "distance", when={"model": ["neighbours"]}),
            "logistic_c": real(1e-5, 1e3, "log", when={"model": ["logistic"]}),
            "depth": whole(1, 12, when={"model": ["tree"]}),
            "leaf": whole(1, 40, "log", when={"model": ["tree"]}),
        },
        pipeline_cancer,
    ),
    Problem(
        "dummies_diabetes",
        {
            "c": real(1e-3, 1e3, "log"),
            "gamma": real(1e-6, 10.0, "log"),
            "epsilon": real(1e-3, 2.0, "log"),
            **dummies(15),
        },
        dummies_diabetes,
    ),
    Problem(
        "features_wine",
        {
            "first": choice(*FEATURES),
            "second": choice(*FEATURES),
            "third": choice(*FEATURES),
            "second_weight": real(0.01, 1.0, "log"),
            "smoothing": real(1e-6, 10.0, "log"),
        },
        features_wine,
    ),
    Problem(
        "noisy_friedman",
        {
            "alpha": real(1e-5, 100.0, "log"),
            "gamma": real(1e-4, 10.0, "log"),
            "kernel": choice("rbf", "laplacian", "polynomial"),
            "degree": whole(1, 5, when={"kernel": ["polynomial"]}),
        },
        noisy_friedman,
        noise=0.1,
    ),
    Problem(
        "weights_wine",
        {
            **{f"w{column}": real(0.0, 1.0) for column in range(WINE)},
            "neighbours": whole(1, 60),
        },
        weights_wine,
    ),
    keras_problem("keras_mlp"),
)
