"""What of a worker's environment reaches a trial: listed names, whatever the backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends.docker import DockerBackend
from hpo_lib.backends.ecs import EcsBackend
from hpo_lib.backends.ecs_request import EcsRules
from hpo_lib.backends.inherited import NAMES, LocalRules, environment
from hpo_lib.backends.job import JobBackend
from hpo_lib.backends.job_rights import JobRules
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.deployers.manifests import Plan, ServedModel, ServeOptions, ServeRules
from hpo_lib.errors import SpecError
from hpo_lib.registry import BACKENDS
from hpo_lib.validation import parse

MARKER = "sekrit-5707e"
#: Names that begin like those of libraries, and of secrets that workers have.
SECRETS = (
    "AIRFLOW_CONN_DB", "AIRFLOW__CORE__FERNET_KEY", "AWS_SECRET_ACCESS_KEY", "CUDA_REGISTRY_TOKEN",
    "HPO_STORE", "LC_VAULT", "LD_PRELOAD", "NVIDIA_API_KEY", "OMP_SECRET", "SSL_KEY",
    "TF_TOKEN_app_terraform_io", "TF_VAR_db_password", "XLA_TOKEN",
)  # fmt: skip
PREFIXES = ("", "CUDA_", "LC_", "NVIDIA_", "TF_", "TF_VAR_", "XLA_", "HPO_", "OMP_", "SSL_")
_VARIABLES = st.dictionaries(
    st.builds("{}{}".format, st.sampled_from(PREFIXES), st.text("ABCz_09", min_size=1, max_size=9))
    | st.sampled_from(sorted(NAMES)),
    st.text(min_size=1, max_size=5),
)


@given(_VARIABLES, st.lists(st.sampled_from(["WANDB_MODE", "TF_VAR_ABC"]), unique=True))
def test_only_listed_names_arrive(inherited: dict[str, str], further: list[str]) -> None:
    found = environment(inherited, "/trial/bin", further)
    assert found.keys() <= NAMES | set(further) | {"PATH", "PYTHONUNBUFFERED"}
    for name in inherited.keys() & (NAMES | set(further)) - {"PATH"}:
        assert found[name] == inherited[name]


@pytest.mark.parametrize("name", SECRETS)
def test_no_name_like_that_of_a_library_brings_a_secret_along(name: str) -> None:
    assert MARKER not in environment({name: MARKER}, "").values()


def test_what_libraries_are_told_of_gpus_and_threads_arrives() -> None:
    told = {
        "CUDA_VISIBLE_DEVICES": "0",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "OMP_NUM_THREADS": "2",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_FLAGS": "--xla_dump_to=/tmp",
    }
    assert environment(told, "").items() >= told.items()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("WANDB_*", r"local\.environment\.0: must be the name of one variable, not a pattern"),
        ("", "must be the name of one variable"),
        ("A=b", "must be the name of one variable"),
        ("HPO_STORE", "hold passwords, got HPO_STORE"),
        ("AIRFLOW_CONN_DB", "hold passwords, got AIRFLOW_CONN_DB"),
    ],
)
def test_an_operator_adds_names_not_patterns(name: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        parse(LocalRules, {"environment": [name]}, at="local")


# What is sent elsewhere is made of the request alone.


def _docker(request: Request) -> Any:
    backend = DockerBackend(Path("home"))
    handle = backend.handle(AttemptName("5707e", "000001-x", 1, 1))
    return backend.wanted(handle, request)["environment"]


def _kubernetes(request: Request) -> Any:
    backend = KubernetesBackend(Path("home"), connect=lambda: None)
    return backend.wanted(backend.handle(AttemptName("5707e", "000001-x", 1, 1, {})), request)


def _job(request: Request) -> Any:
    pod = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
    resource = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}}
    options = {"resource": resource}
    backend = JobBackend(Path("home"), connect=lambda: None, jobs=JobRules())
    handle = backend.handle(AttemptName("5707e", "000001-x", 1, 1, options))
    return backend.wanted(handle, Request(["t"], request.env, 60.0, image="i", options=options))


RULES = EcsRules(region="eu-central-1", subnets=("subnet-1",))


def _ecs(request: Request) -> Any:
    backend = EcsBackend(Path("home"), connect=lambda _: None, rules=RULES)
    return backend.wanted(backend.handle(AttemptName("5707e", "000001-x", 1, 1, {})), request)


SENT = {"docker": _docker, "kubernetes": _kubernetes, "job": _job, "ecs": _ecs}


@pytest.fixture
def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has secrets, and listed names, in its environment."""
    for name in {*SECRETS, *NAMES} - {"PATH", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "TMPDIR"}:
        monkeypatch.setenv(name, MARKER)


def test_every_backend_but_the_local_one_is_looked_at() -> None:
    assert SENT.keys() == BACKENDS.keys() - {"local"}


@pytest.mark.usefixtures("_worker")
@pytest.mark.parametrize("name", SENT)
def test_containers_pods_and_tasks_get_nothing_of_the_workers_environment(name: str) -> None:
    sent = json.dumps(SENT[name](Request(["t"], {"HPO_TRIAL": "1"}, 60.0, image="i")), default=vars)
    assert "HPO_TRIAL" in sent
    assert MARKER not in sent


@pytest.mark.usefixtures("_worker")
def test_pods_that_serve_get_nothing_of_the_workers_environment() -> None:
    plan = Plan("digits", "s1", parse(ServeOptions, {}), ServeRules(namespaces=("models",)))
    sent = json.dumps(plan.deployment(ServedModel(1, {"model.keras": b"k"})))
    assert "MODEL_" in sent
    assert MARKER not in sent
