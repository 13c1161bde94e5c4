"""How each deployer of `hpo_lib.registry` is built here, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from hpo_airflow import connections
from hpo_lib.core.teams import within
from hpo_lib.errors import SpecError

if TYPE_CHECKING:
    from hpo_lib.backends import Site
    from hpo_lib.deployers import Deployer
    from hpo_lib.deployers.kubernetes import KubernetesDeployer
    from hpo_lib.deployers.mlflow import MlflowDeployer
    from hpo_lib.deployers.package import PackageDeployer
    from hpo_lib.deployers.sagemaker import SageMakerDeployer
    from hpo_lib.installation import Environment
    from hpo_lib.spec import Spec

_OPTIONS = "deploy.options"


def wanted(site: Environment, spec: Spec, store: str) -> Deployer:
    """Build what a spec's `deploy` asks for, for a store; SpecError if it may not have that.

    It serves the experiment of the team whose site this is, apart from others of that name.
    """
    asked = spec.deploy
    if asked is None:
        raise SpecError("deploy: the spec names no deployment")
    return deployer(site, asked.to, within(site.team, spec.name), asked.options, store)


def deployer(
    site: Site, to: str, experiment: str, options: Mapping[str, Any], store: str = ""
) -> Deployer:
    """Build a deployer for a store; SpecError if `deploy.options` ask for what is not allowed.

    One of the operator's own is made with the experiment's name and its options, checked.
    """
    if to in DEPLOYERS:
        return DEPLOYERS[to](site, experiment, options, store)
    from hpo_lib.registry import load
    from hpo_lib.validation import parse

    kind = load("deployer", to)
    own: Deployer = kind(experiment, parse(kind.Options, options, at=_OPTIONS))
    return own


def kubernetes(
    site: Site, experiment: str, options: Mapping[str, Any], store: str
) -> KubernetesDeployer:
    """Build the deployer that serves on a cluster; it connects when it first has to."""
    from hpo_lib.deployers.kubernetes import KubernetesDeployer
    from hpo_lib.deployers.manifests import ServeOptions, ServeRules
    from hpo_lib.deployers.shapes import DeployerRules
    from hpo_lib.validation import parse

    rules = site.rules(ServeRules.section, ServeRules)
    asked = parse(ServeOptions, options, at=_OPTIONS)
    pickles = site.rules("deployers", DeployerRules).allow_pickle
    connect = partial(site.cluster, rules.connection)
    return KubernetesDeployer(experiment, asked, connect, rules, store, allow_pickle=pickles)


def mlflow(site: Site, experiment: str, options: Mapping[str, Any], _: str) -> MlflowDeployer:
    """Build the deployer to a registered model of MLflow; it connects when it first has to."""
    from hpo_lib.deployers.mlflow import MlflowDeployer
    from hpo_lib.deployers.mlflow_options import MlflowOptions, MlflowRules
    from hpo_lib.validation import parse

    rules = site.rules("mlflow", MlflowRules)
    asked = parse(MlflowOptions, options, at=_OPTIONS)
    connect = partial(connections.mlflow, rules.connection)
    return MlflowDeployer(experiment, asked, connect, rules)


def package(site: Site, experiment: str, options: Mapping[str, Any], _: str) -> PackageDeployer:
    """Build the deployer of packages, tried out by the Python, and as the user, of local trials."""
    from hpo_lib.backends.inherited import LocalRules
    from hpo_lib.deployers.package import PackageDeployer, interpreter
    from hpo_lib.deployers.shapes import DeployerRules

    return PackageDeployer.at(
        experiment,
        options,
        site.home,
        site.offers,
        python=interpreter(site.path),
        user=site.rules("local", LocalRules).trial_user,
        allow_pickle=site.rules("deployers", DeployerRules).allow_pickle,
    )


def sagemaker(site: Site, experiment: str, options: Mapping[str, Any], _: str) -> SageMakerDeployer:
    """Build the deployer to an endpoint of SageMaker; it connects when it first has to."""
    from hpo_airflow.operators.sagemaker import SageMakerOperators
    from hpo_lib.deployers.sagemaker import SageMakerDeployer
    from hpo_lib.deployers.sagemaker_request import SageMakerOptions, SageMakerRules
    from hpo_lib.validation import parse

    rules = site.rules("sagemaker", SageMakerRules)
    return SageMakerDeployer(
        experiment,
        parse(SageMakerOptions, options, at=_OPTIONS),
        partial(site.aws, rules.connection, rules.region),
        SageMakerOperators(rules.connection, rules.region),
        rules,
        site.offers,
    )


#: By name: what builds it for an experiment, its `deploy.options`, and a store.
DEPLOYERS: dict[str, Callable[[Site, str, Mapping[str, Any], str], Deployer]] = {
    "kubernetes": kubernetes,
    "mlflow": mlflow,
    "package": package,
    "sagemaker": sagemaker,
}
