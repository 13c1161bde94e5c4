"""Fuzzed confs and files: refused with a path or run as they are, soon, and within the lists."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import border, confs, places, rights
from benchmarks.fuzz.__main__ import run
from hpo_lib.errors import SpecError

#: `python -m benchmarks.fuzz` runs 100,000 of a new seed; CI judges each change by the same cases.
CI = os.environ.get("HYPOTHESIS_PROFILE") == "ci"
CASES = 4_000 if CI else 200


def test_nothing_is_wrong_with_cases() -> None:
    seed = 1 if CI else SystemRandom().randrange(2**31)
    assert run(seed, range(CASES)) == [], f"python -m benchmarks.fuzz --seed {seed} --only CASE"


@given(st.randoms(use_true_random=False))
@settings(suppress_health_check=list(HealthCheck))
def test_a_conf_grown_of_the_schema_is_a_spec_or_a_refusal(random: Random) -> None:
    assert border.judged(confs.conf(random)).faults == ()


#: What fuzzing has found; each was an exception, took too long or had no path.
FOUND: list[Any] = [
    {**confs.SOUND[0], "trial": {"command": ["a"], "flags": {"\n: b": "x"}}},
    "? *a\n: b\n",
    {"": [[[[1]]]] * 5, "trial": {"options": {"a" * 3_000: float("nan")}}},
    confs.SOUND[0] | {"a\n: b": {"c": [10**5_000]}},
    {
        **confs.SOUND[0],
        "trial": {"backend": "job", "options": {"resource": {"apiVersion": ["a"] * 3_000}}},
    },
    {
        **confs.SOUND[0],
        "trial": {"backend": "job", "options": {"resource": {"a\n: b": {"hostPath": 1}}}},
    },
    {
        **confs.SOUND[0],
        "trial": {"backend": "kubernetes", "image": "a"},
        "deploy": {"to": "package"},
    },
    confs.SOUND[0]
    | {"trial": {"backend": "job", "options": {"resource": {"apiVersion": "\n", "kind": "a\nb"}}}},
    confs.SOUND[0] | {": true},space": {"a: b": {"": "\ud800"}}},
    confs.SOUND[0] | {"trial": {"command": ["python", "train.py"], "python": "../roots"}},
    confs.SOUND[0] | {"trial": {"command": ["python", "train.py"], "venv": "../roots/odd"}},
    confs.SOUND[0]
    | {"space": {"a\n: b": ["x"], "c": {"type": "int", "low": 1, "high": 2, "when": {"d": [1]}}}},
]


@pytest.mark.parametrize("given_", FOUND, ids=range(len(FOUND)))
def test_what_was_found_stays_mended(given_: Any) -> None:
    assert border.judged(given_).faults == ()


def pod(**spec: Any) -> dict[str, Any]:
    container = {"name": "trial", "image": "registry.example.org/team/a:1"}
    container |= {"securityContext": rights._SAFE}
    own = {"runAsNonRoot": True, "runAsUser": 65_532}
    sound = {"containers": [container], "automountServiceAccountToken": False}
    return {"metadata": {"namespace": "trials"}, "spec": sound | {"securityContext": own} | spec}


PROD = [{"key": "pool", "operator": "In", "values": ["prod"]}]
BEYOND: dict[str, dict[str, Any]] = {
    "hostPath": pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    "an account": pod(serviceAccountName="admin"),
    "a secret": pod(volumes=[{"name": "v", "secret": {"secretName": "prod"}}]),
    "an image": pod(containers=[{"name": "trial", "image": "x", "securityContext": rights._SAFE}]),
    "root": pod(securityContext={"runAsNonRoot": False}),
    "a token": pod(automountServiceAccountToken=True),
    "nodes by label": pod(nodeSelector={"pool": "prod"}),
    "nodes by affinity": pod(affinity={"nodeAffinity": {"terms": [{"matchExpressions": PROD}]}}),
    "a taint": pod(tolerations=[{"key": "node-role.kubernetes.io/control-plane"}]),
    "a claim": pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "prod"}}]),
    "a loader": pod(containers=[{"name": "t", "env": [{"name": "LD_PRELOAD", "value": "x"}]}]),
    "an amount": pod(resources={"limits": {"example.org/fpga": 1}}),
}


@pytest.mark.parametrize("what", BEYOND)
def test_the_oracle_sees_what_is_beyond_the_lists(what: str) -> None:
    handle = {"namespace": "trials"}
    assert list(rights._of_pods(handle, pod())) == []
    assert list(rights._of_pods(handle, BEYOND[what])) != []


def test_the_oracle_sees_a_program_beyond_the_lists() -> None:
    spec = border.admitted(confs.SOUND[0] | {"airflow": {"pool": "gpu-1", "priority": 5}})
    variables, folder = border.variables(), border.folder()
    sound = {"cwd": f"{folder}/work/sub", "env": {"PATH": f"{folder}/roots/venv/bin:/usr/bin"}}
    assert list(places.of_a_process(spec, sound, variables)) == []
    for wrong in (
        {"cwd": f"{folder}/roots-not"},
        {"cwd": f"{folder}/work/out"},
        {"env": {"PATH": f"{folder}/roots/linked/bin"}},
        {"env": {"PATH": "/usr/bin", "LD_PRELOAD": "x"}},
    ):
        assert len(list(places.of_a_process(spec, sound | wrong, variables))) == 1
    assert list(places.of_airflow(spec)) == []
    other = spec.changed(airflow=spec.airflow.model_copy(update={"pool": "default_pool"}))
    assert len(list(places.of_airflow(other))) == 1


@pytest.mark.parametrize(
    "made",
    [rights.conf, lambda random: places.conf(random, border.folder())],
    ids=["pods", "hosts"],
)
def test_cases_ask_for_what_is_listed_too(made: Callable[[Random], Any]) -> None:
    def is_admitted(seed: int) -> bool:
        try:
            return bool(border.admitted(made(Random(seed))))
        except SpecError:
            return False

    assert 5 < sum(map(is_admitted, range(200))) < 195
