"""What this installation offers, from HPO_* variables of the environment.

HPO_STORE        store address; else the Airflow connection `hpo_store`; else SQLite in HPO_HOME
HPO_HOME         folder for attempts and reports (AIRFLOW_HOME/hpo)
HPO_TRIAL_DIR    where local trials run (the folder that holds dags/ and plugins/)
HPO_DATA         folder that local trials are told, and in which `reuse` looks for their data
HPO_TRIAL_PATH   put before the trials' PATH (.venv-trial/bin there, if it exists)
HPO_GRACE_S      seconds that a local trial survives without its Airflow task (600)
HPO_MAX_WAVES    waves that a conf-triggered DAG unrolls (40)
HPO_MAX_PARALLEL trials that a conf-triggered DAG runs at once (8)
HPO_COLLECTORS   packages, comma-separated, that metrics.collector may take its own classes from
HPO_DEPLOYERS    the same for deploy.to
HPO_SAMPLERS     the same for sampler.name
HPO_SCHEDULERS   the same for scheduler.name
HPO_POOL         Airflow pool of the trials (default_pool)
HPO_HOUSEKEEPING when housekeeping runs, a cron expression (*/10 * * * *)
HPO_EXPERIMENTS  folder of the files that get a DAG each (config/experiments beside dags/)
HPO_CONFIG       file that says what a conf may ask of the backends (config/deployment.yaml)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hpo_lib.errors import SpecError

if TYPE_CHECKING:
    from hpo_lib.backends import Backend
    from hpo_lib.backends.docker import DockerBackend
    from hpo_lib.backends.ecs import EcsBackend
    from hpo_lib.backends.job import JobBackend
    from hpo_lib.backends.kubernetes import KubernetesBackend
    from hpo_lib.backends.local import LocalBackend
    from hpo_lib.deployers import Deployer
    from hpo_lib.deployers.kubernetes import KubernetesDeployer
    from hpo_lib.deployers.mlflow import MlflowDeployer
    from hpo_lib.deployers.package import PackageDeployer
    from hpo_lib.deployers.sagemaker import SageMakerDeployer
    from hpo_lib.files.artifacts import Offers
    from hpo_lib.installation import Inputs, Installation
    from hpo_lib.spec import Spec
    from hpo_lib.store import Store
    from hpo_lib.validation import Strict

_Rules = TypeVar("_Rules", bound="Strict")

ROOT = Path(__file__).resolve().parents[2]
_CONNECTION = "hpo_store"
_OPTIONS = "deploy.options"
_HTTP_S = 120.0


def max_waves() -> int:
    """Give the number of waves that conf-triggered DAGs unroll."""
    return int(os.environ.get("HPO_MAX_WAVES", "40"))


def max_parallel() -> int:
    """Give the number of trials that conf-triggered DAGs run at once."""
    return int(os.environ.get("HPO_MAX_PARALLEL", "8"))


def housekeeping() -> str:
    """Give the schedule of the housekeeping DAG."""
    return os.environ.get("HPO_HOUSEKEEPING", "*/10 * * * *")


def pool() -> str:
    """Name the pool of the trials."""
    return os.environ.get("HPO_POOL", "default_pool")


def experiments(root: Path) -> Path:
    """Give the folder of the experiments' files, by default the one of the DAG file's checkout."""
    return Path(os.environ.get("HPO_EXPERIMENTS") or root / "config" / "experiments")


def home() -> Path:
    """Give the folder for attempts and reports."""
    airflow_home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return Path(os.environ.get("HPO_HOME") or airflow_home / "hpo").absolute()


def installation() -> Installation:
    """Put the settings together for hpo_lib."""
    from hpo_lib.installation import Installation

    return Installation(
        home=home(),
        backends=_BACKENDS,
        deployers=_deployer_of,
        artifacts=_artifacts(),
        inputs=_inputs(),
        max_waves=max_waves(),
        max_parallel=max_parallel(),
    )


def backend(name: str) -> Backend:
    """Build a backend."""
    return _BACKENDS[name]()


def local_backend() -> LocalBackend:
    """Build the backend that runs trials on this worker."""
    from hpo_lib.backends.local import LocalBackend

    return LocalBackend(
        home=home(),
        workdir=_workdir(),
        path=os.environ.get("HPO_TRIAL_PATH") or str(ROOT / ".venv-trial" / "bin"),
        grace_s=float(os.environ.get("HPO_GRACE_S", "600")),
    )


def _workdir() -> Path:
    return Path(os.environ.get("HPO_TRIAL_DIR") or ROOT)


def docker_backend() -> DockerBackend:
    """Build the backend that runs trials on this worker's Docker engine (DOCKER_HOST)."""
    from hpo_lib.backends.docker import DockerBackend, DockerRules

    return DockerBackend(home=home(), rules=_rules("docker", DockerRules))


def kubernetes_backend() -> KubernetesBackend:
    """Build the backend that runs trials as pods; it connects when it first has to."""
    from hpo_lib.backends.kubernetes import KubernetesBackend
    from hpo_lib.backends.pods import KubernetesRules

    rules = _rules("kubernetes", KubernetesRules)
    connect = partial(_cluster, rules.connection)
    return KubernetesBackend(home=home(), connect=connect, rules=rules, offers=_artifacts())


def job_backend() -> JobBackend:
    """Build the backend that runs trials as Jobs and the like; its pods are as of the one above."""
    from hpo_lib.backends.job import JobBackend
    from hpo_lib.backends.pods import KubernetesRules
    from hpo_lib.backends.resource import JobRules

    rules = _rules("kubernetes", KubernetesRules)
    return JobBackend(
        home=home(),
        connect=partial(_cluster, rules.connection),
        rules=rules,
        jobs=_rules("job", JobRules),
        offers=_artifacts(),
    )


def package_deployer(experiment: str, options: Mapping[str, Any], _: str) -> PackageDeployer:
    """Build the deployer of packages; they are tried out by the Python of local trials."""
    from hpo_lib.deployers.package import PackageDeployer, interpreter

    path = os.environ.get("HPO_TRIAL_PATH") or str(ROOT / ".venv-trial" / "bin")
    python = interpreter(path)
    return PackageDeployer.at(experiment, options, home(), _artifacts(), python=python)


def kubernetes_deployer(
    experiment: str, options: Mapping[str, Any], store: str
) -> KubernetesDeployer:
    """Build the deployer that serves on a cluster; SpecError if the options are not allowed."""
    from hpo_lib.deployers.kubernetes import KubernetesDeployer
    from hpo_lib.deployers.manifests import ServeOptions, ServeRules
    from hpo_lib.validation import parse

    rules = _rules("serve", ServeRules)
    asked = parse(ServeOptions, options, at=_OPTIONS)
    return KubernetesDeployer(experiment, asked, partial(_cluster, rules.connection), rules, store)


def _cluster(connection: str | None) -> Any:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    return KubernetesHook(conn_id=connection).core_v1_client


def ecs_backend() -> EcsBackend:
    """Build the backend that runs trials as ECS tasks; it connects when it first has to."""
    from hpo_lib.backends.ecs import EcsBackend
    from hpo_lib.backends.ecs_request import EcsRules

    rules = _rules("ecs", EcsRules)
    connect = partial(_aws, rules.connection, rules.region)
    return EcsBackend(home=home(), connect=connect, rules=rules, offers=_artifacts())


def _aws(connection: str | None, region: str | None, service: str) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    hook = AwsGenericHook(aws_conn_id=connection, region_name=region, client_type=service)
    return hook.conn


_BACKENDS: dict[str, Callable[[], Backend]] = {
    "docker": docker_backend,
    "ecs": ecs_backend,
    "job": job_backend,
    "kubernetes": kubernetes_backend,
    "local": local_backend,
}


def deployer(to: str, experiment: str, options: Mapping[str, Any], store: str = "") -> Deployer:
    """Build a deployer for a store; SpecError if `deploy.options` ask for what is not allowed.

    One of the operator's own is made with the experiment's name and its options, checked.
    """
    if to in _DEPLOYERS:
        return _DEPLOYERS[to](experiment, options, store)
    from hpo_lib.registry import load
    from hpo_lib.validation import parse

    kind = load("deployer", to)
    own: Deployer = kind(experiment, parse(kind.Options, options, at=_OPTIONS))
    return own


def _deployer_of(spec: Spec, store: str) -> Deployer:
    asked = spec.deploy
    if asked is None:
        raise SpecError("deploy: the spec names no deployment")
    return deployer(asked.to, spec.name, asked.options, store)


def mlflow_deployer(experiment: str, options: Mapping[str, Any], _: str) -> MlflowDeployer:
    """Build the deployer to a registered model of MLflow; it connects when it first has to."""
    from hpo_lib.deployers.mlflow import MlflowDeployer, MlflowOptions, MlflowRules
    from hpo_lib.validation import parse

    rules = _rules("mlflow", MlflowRules)
    asked = parse(MlflowOptions, options, at=_OPTIONS)
    return MlflowDeployer(experiment, asked, partial(_mlflow, rules.connection), rules)


def _mlflow(connection: str | None) -> Any:
    """Make a client from an Airflow connection: its password alone is a token."""
    import httpx
    from airflow.sdk import BaseHook

    if connection is None:
        raise SpecError("mlflow: config/deployment.yaml names no connection to an MLflow server")
    found = BaseHook.get_connection(connection)
    host, scheme = str(found.host or "").rstrip("/"), found.schema or "http"
    base = host if "://" in host else f"{scheme}://{host}"
    auth = (found.login, found.password or "") if found.login else None
    token = {"Authorization": f"Bearer {found.password}"} if found.password and not auth else {}
    address = httpx.URL(base).copy_with(**({"port": found.port} if found.port else {}))
    return httpx.Client(base_url=address, auth=auth, headers=token, timeout=_HTTP_S)


def sagemaker_deployer(experiment: str, options: Mapping[str, Any], _: str) -> SageMakerDeployer:
    """Build the deployer to an endpoint of SageMaker; it connects when it first has to."""
    from hpo_airflow.operators.sagemaker import SageMakerOperators
    from hpo_lib.deployers.sagemaker import SageMakerDeployer
    from hpo_lib.deployers.sagemaker_request import SageMakerOptions, SageMakerRules
    from hpo_lib.validation import parse

    rules = _rules("sagemaker", SageMakerRules)
    return SageMakerDeployer(
        experiment,
        parse(SageMakerOptions, options, at=_OPTIONS),
        partial(_aws, rules.connection, rules.region),
        SageMakerOperators(rules.connection, rules.region),
        rules,
        _artifacts(),
    )


_DEPLOYERS: dict[str, Callable[[str, Mapping[str, Any], str], Deployer]] = {
    "kubernetes": kubernetes_deployer,
    "mlflow": mlflow_deployer,
    "package": package_deployer,
    "sagemaker": sagemaker_deployer,
}


def _artifacts() -> Offers:
    """Give the URIs below which artifacts may lie, and how to get there."""
    return _offers("artifacts")


def _offers(*parts: str) -> Offers:
    from hpo_lib.files.artifacts import offers

    config = _config()
    places = {uri: name for part in parts for uri, name in (config.get(part) or {}).items()}
    return offers(places, _storage_options)


def _inputs() -> Inputs:
    """Say where data and code may lie whose change matters: where trials run, HPO_DATA, URIs."""
    from hpo_lib.installation import Inputs

    data = os.environ.get("HPO_DATA")
    return Inputs([_workdir(), *([Path(data)] if data else [])], _offers("artifacts", "inputs"))


def _storage_options(connection: str) -> dict[str, Any]:
    """Read what fsspec needs from an Airflow connection: of AWS by its hook, else from `extra`."""
    from airflow.sdk import BaseHook

    found = BaseHook.get_connection(connection)
    if found.conn_type != "aws":
        return dict(found.extra_dejson)
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

    hook = AwsGenericHook(aws_conn_id=connection, client_type="s3")
    keys = hook.get_credentials()
    options = {
        "key": keys.access_key,
        "secret": keys.secret_key,
        "token": keys.token,
        "endpoint_url": hook.conn_config.get_service_endpoint_url(service_name="s3"),
        "client_kwargs": {"region_name": hook.region_name} if hook.region_name else None,
    }
    return {name: value for name, value in options.items() if value}


def _rules(backend: str, kind: type[_Rules]) -> _Rules:
    """Read what this deployment lets a conf ask of a backend; SpecError."""
    from hpo_lib.validation import parse

    return parse(kind, _config().get(backend) or {}, at=f"config/deployment.yaml: {backend}")


def _config() -> dict[str, Any]:
    import yaml

    path = Path(os.environ.get("HPO_CONFIG") or ROOT / "config" / "deployment.yaml")
    return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {}


def open_store() -> Store:
    """Open the store; StoreError says how to prepare it."""
    from hpo_lib.store import Store

    return Store.open(_store_url())


def _store_url() -> str:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    if url := os.environ.get("HPO_STORE"):
        return url
    try:
        return str(BaseHook.get_connection(_CONNECTION).get_uri())
    except AirflowNotFoundException:
        return f"sqlite:///{home() / 'hpo.db'}"
