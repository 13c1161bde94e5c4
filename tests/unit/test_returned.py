"""What a container returns: which backends bring it, and which specs are refused without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib import registry
from hpo_lib.backends import Request
from hpo_lib.backends.docker import DockerBackend
from hpo_lib.backends.ecs import EcsBackend
from hpo_lib.backends.job import JobBackend
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.backends.local import LocalBackend
from hpo_lib.backends.resource import templates
from hpo_lib.collectors import Source
from hpo_lib.collectors.xcom import XcomCollector
from hpo_lib.installation import Installation
from hpo_lib.runs import admission
from hpo_lib.spec.draft import draft
from hpo_lib.spec.sections import Metrics

BACKENDS: dict[str, Any] = {
    "docker": lambda home: DockerBackend(home),
    "ecs": lambda home: EcsBackend(home, connect=lambda _: None),
    "job": lambda home: JobBackend(home, connect=lambda: None),
    "kubernetes": lambda home: KubernetesBackend(home, connect=lambda: None),
    "local": lambda home: LocalBackend(home, home),
}
CONTAINERS = [{"name": "main"}, {"name": "proxy", "image": "hpo-trial:1"}]
JOB = {"apiVersion": "batch/v1", "kind": "Job"}
OPTIONS: dict[str, Any] = {
    "job": {"resource": JOB | {"spec": {"template": {"spec": {"containers": CONTAINERS}}}}}
}


def conf(backend: str, **changes: Any) -> dict[str, Any]:
    image = {} if backend == "local" else {"image": "hpo-trial:1"}
    return {
        "name": "returns",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "metrics": {"collector": "xcom"},
        "trial": {"backend": backend, "command": ["x"], "options": OPTIONS.get(backend, {})}
        | image,
    } | changes


def refused(home: Path, backend: str, **changes: Any) -> list[str]:
    """Say why a spec is not run, as `hpo validate` and the DAG's first task do."""
    offers: Any = {"s3://bucket": dict}
    built = {name: lambda make=make: make(home) for name, make in BACKENDS.items()}
    installation = Installation(home, built, artifacts=offers)
    found = draft(conf(backend, **changes))
    said = admission.problems(found, installation, backend=backend, by_file=True)
    return [line for line in dict.fromkeys(said) if "trial.options" not in line]


def test_every_backend_is_asked() -> None:
    assert BACKENDS.keys() == registry.BACKENDS.keys()


@pytest.mark.parametrize("backend", ["docker", "job", "kubernetes", "local"])
def test_what_a_backend_brings_needs_no_artifacts(tmp_path: Path, backend: str) -> None:
    assert refused(tmp_path, backend) == []


def test_what_a_backend_does_not_bring_needs_artifacts(tmp_path: Path) -> None:
    said = (
        "metrics.collector: xcom reads what a trial leaves in HPO_OUTPUT; of backend ecs that "
        "needs artifacts.uri"
    )
    assert refused(tmp_path, "ecs") == [said]
    assert refused(tmp_path, "ecs", artifacts={"uri": "s3://bucket/x"}) == []
    final = {"trial": {"backend": "ecs", "image": "hpo-trial:1"}}
    assert refused(tmp_path, "local", final=final) == [said], "also if only its winner is there"


def test_files_of_pods_need_artifacts_as_before(tmp_path: Path) -> None:
    (said,) = refused(tmp_path, "kubernetes", metrics={"collector": "jsonl"})
    assert said.startswith("metrics.collector: jsonl reads what a trial leaves in HPO_OUTPUT; of")


def test_a_backend_of_ones_own_is_asked_by_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        registry.BACKENDS,
        "ecs",
        registry.BackendRow("hpo_lib.backends.ecs:EcsBackend", returns=True),
    )
    assert refused(tmp_path, "ecs") == []


def request(*, returns: bool) -> Request:
    return Request(["x"], {}, 60.0, image="i", returns=returns, options=OPTIONS["job"])


def test_only_the_primary_container_of_a_job_returns(tmp_path: Path) -> None:
    made = BACKENDS["job"](tmp_path)
    handle = {"job": "j", "namespace": "n", "kind": "batch/v1/Job", "store": "s", "folder": "f"}
    for returns, path in ((True, "/airflow/xcom/return.json"), (False, None)):
        ((_, pod),) = templates(made.wanted(handle, request(returns=returns)))
        main, proxy = pod["spec"]["containers"]
        assert main.get("terminationMessagePath") == path
        assert "terminationMessagePath" not in proxy


def test_a_docker_container_returns_into_its_output(tmp_path: Path) -> None:
    handle = {"container": "c", "store": "s", "folder": str(tmp_path)}
    made = BACKENDS["docker"](tmp_path)
    (mount,) = made.wanted(handle, request(returns=True))["mounts"]
    assert (mount["Target"], mount["Source"]) == ("/airflow/xcom", f"{tmp_path}/output")
    assert (mount["Type"], mount["ReadOnly"]) == ("bind", False)
    assert made.wanted(handle, request(returns=False))["mounts"] == []


def test_an_engine_keeps_the_whole_log_whatever_its_own_default_is(tmp_path: Path) -> None:
    handle = {"container": "c", "store": "s", "folder": str(tmp_path)}
    asked = BACKENDS["docker"](tmp_path).wanted(handle, request(returns=False))["log_config"]
    options = {"max-size": "1000g", "max-file": "1", "compress": "false"}
    assert (asked["Type"], asked["Config"]) == ("json-file", options)


VALUES = st.recursive(
    st.floats(allow_nan=False) | st.text('{}":,loss1', max_size=9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('{}":loss'), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["loss", "acc", "{", '"']), VALUES, min_size=1), st.data())
def test_of_a_return_that_was_cut_no_number_is_read(
    tmp_path_factory: pytest.TempPathFactory, returned: dict[str, Any], data: st.DataObject
) -> None:
    """A node keeps the end of a message that is too long; of a large pod the begin of that."""
    text, place = json.dumps(returned), tmp_path_factory.mktemp("returned")
    cut = data.draw(st.integers(1, len(text) - 1))
    for part in (text[:cut], text[cut:]):
        (place / "return.json").write_text(part)
        source = Source(place / "log.txt", place)
        found = XcomCollector(Metrics(collector="xcom")).collect(source, frozenset({"loss", "acc"}))
        assert list(found) == []
