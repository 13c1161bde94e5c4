"""Four nights of an experiment that serves on a real cluster, whose users ask all the time.

A champion, a better one, one whose files are not what they say, and one that is well until users
come. Needs KUBECONFIG, and the image HPO_SERVE_IMAGE there. The models are small Keras networks,
trained before: all that a trial has to do is to take the one that its parameter names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.deployers.kubernetes import KubernetesDeployer
from hpo_lib.deployers.manifests import SERVER, ServeOptions, ServeRules
from hpo_lib.deployers.sample import Sample, read_sample
from hpo_lib.records import Model, ModelStatus, RunKey, RunStatus
from tests.acceptance.conftest import Stack, airflow, until
from tests.acceptance.test_train import run
from tests.integration.test_kubernetes_backend import connect
from tests.integration.test_kubernetes_deployer import Load
from tests.model_server import fake_server

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.needs("KUBECONFIG", "HPO_SERVE_IMAGE"),
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]

NAME = "serving"
#: The first are models of their own, the others copies of the second with a better score.
WEAK, STRONG, MIXED, FICKLE = "weak", "strong", "mixed", "fickle"
GOOD = {1: WEAK, 2: STRONG}
#: In final trials the seed adds a little noise.
SCRIPT = """
cp -r "$2/$1" "$HPO_OUTPUT/model"
awk -v score="$(cat "$2/$1.score")" -v seed="$HPO_SEED" 'BEGIN {
  print "val_accuracy=" score " test_accuracy=" score + (seed % 7) / 10000
}'
"""
#: Answers its sample as it should once, which is all that a smoke test asks, and then nonsense.
FICKLE_SERVER = fake_server("""
answers = [json.loads((folder / "sample.json").read_text())["predictions"]]
def predict(rows):
    return answers.pop() if answers else [0.0]
""")
FICKLE_POD = {
    "spec": {
        "containers": [{"name": SERVER, "command": FICKLE_SERVER}],
        "terminationGracePeriodSeconds": 1,
    }
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the models, each with the score that it claims."""
    folder = tmp_path_factory.mktemp("models")
    scores = {}
    for name, epochs in {WEAK: 1, STRONG: 10}.items():
        flags = [f"--epochs={epochs}", "--units=16", "--layers=1", "--threads=1"]
        ended = run(flags, tmp_path_factory.mktemp(name))
        assert ended.code == 0, ended.err
        shutil.copytree(ended.output / "model", folder / name)
        scores[name] = ended.last["test_accuracy"]
    assert scores[WEAK] < scores[STRONG] < 1
    for name, share in {MIXED: 2, FICKLE: 4}.items():
        shutil.copytree(folder / STRONG, folder / name)
        scores[name] = 1 - (1 - scores[STRONG]) / share
    shutil.rmtree(folder / MIXED / "saved_model")
    shutil.copytree(folder / WEAK / "saved_model", folder / MIXED / "saved_model")
    for name, score in scores.items():
        (folder / f"{name}.score").write_text(str(score))
    return folder


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    core = connect()
    made = core.create_namespace({"metadata": {"generateName": "hpo-serving-"}})
    yield made.metadata.name
    core.delete_namespace(made.metadata.name)


@pytest.fixture(scope="module")
def stack(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An Airflow that serves models in that namespace, by whatever program a conf names."""
    image = os.environ["HPO_SERVE_IMAGE"]
    allowed = {"namespaces": [namespace], "allow": ["spec.containers.command"]}
    serve = allowed | {"image": image, "grace_s": 2}
    with airflow(tmp_path_factory.mktemp("airflow"), {"serve": serve}, {}) as started:
        yield started


def conf(models: Path, choices: list[str], **options: Any) -> dict[str, Any]:
    """Describe a night that chooses among some of the models."""
    return {
        "name": NAME,
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "space": {"model": {"type": "categorical", "choices": choices}},
        "sampler": {"name": "grid"},
        "limits": {"max_trials": len(choices), "parallel_trials": 2},
        "trial": {"command": ["sh", "-c", SCRIPT, "trial", "${params.model}", str(models)]},
        "final": {"seeds": 2},
        "deploy": {
            "to": "kubernetes",
            "options": {"resources": {"memory": "2Gi"}} | options,
            "metric": "test_accuracy",
            "direction": "maximize",
            "approval": "none",
        },
    }


@pytest.fixture
def deployer(stack: Stack, namespace: str) -> KubernetesDeployer:
    """What users, and this test, reach the Service by."""
    rules = ServeRules(namespaces=(namespace,))
    return KubernetesDeployer(NAME, ServeOptions(), connect, rules, stack.store.id)


def champion(stack: Stack) -> Model:
    """Give the champion, of which there is one."""
    listed = stack.store.models.of(NAME)
    (found,) = [model for model in listed if model.status is ModelStatus.CHAMPION]
    return found


def staged(deployer: KubernetesDeployer) -> set[str]:
    """Name the Deployments of the experiment."""
    listed = deployer.apps.list_namespaced_deployment(deployer.plan.namespace).items
    return {one.metadata.name for one in listed}


def sample_of(folder: Path) -> Sample:
    return read_sample((folder / "sample.json").read_bytes())


def served(stack: Stack, version: int) -> bool:
    """Say whether the store knows a version to have served."""
    return any(one.served for one in stack.store.models.of(NAME) if one.version == version)


def night(stack: Stack, conf: dict[str, Any]) -> RunKey:
    """Do a night that ends without another champion, and says so in red."""
    key = stack.trigger(conf)
    assert stack.wait(key) == "failed"
    assert stack.run(key).status is RunStatus.COMPLETE, "the search is not to blame"
    assert stack.states(key, "deploy") == ["failed"]
    return key


def test_a_better_model_replaces_the_champion_under_load_and_bad_ones_do_not(
    stack: Stack, models: Path, deployer: KubernetesDeployer
) -> None:
    samples = {version: sample_of(models / name) for version, name in GOOD.items()}
    assert samples[1].instances == samples[2].instances, "users ask the same of both"
    other = json.dumps({"predictions": samples[2].predictions}).encode()
    assert not samples[1].check(other).passed, "and are answered otherwise"

    def right(version: int, answer: bytes) -> bool:
        return version == 4 or samples[version].check(answer).passed

    assert stack.wait(stack.trigger(conf(models, [WEAK]))) == "success"
    assert (champion(stack).version, deployer.verify(1)) == (1, "")
    with Load(deployer, samples[1].request, right, threads=2, pause_s=0.3) as load:
        load.run_for(50)
        better = stack.trigger(conf(models, [WEAK, STRONG]))
        until(lambda: served(stack, 2), "version 2")
        switched = load.begun()
        assert stack.wait(better) == "success"
        assert (champion(stack).version, deployer.verify(2)) == (2, "")
        assert load.answers[1] > 50, "users asked while it was staged"

        mixed = night(stack, conf(models, [STRONG, MIXED]))
        load.run_for(50)
        assert load.after(switched) == {2}, "never the one before, and never one that is staged"
        check(stack, deployer, mixed, "its smoke test failed: its prediction for row 0 of")

        fickle = night(stack, conf(models, [STRONG, FICKLE], pod_template=FICKLE_POD))
        back = load.begun()
        load.run_for(50)
        assert load.after(back) == {2}
        check(stack, deployer, fickle, "it did not serve once it was switched to: its answer must")
        stack.sweep()
        load.run_for(50)
    assert load.lost == [], "every request was answered, and by versions 1 and 2 as it should be"
    assert {1, 2} <= set(load.answers) <= {1, 2, 4}, "of the last one there may be none"
    assert load.after(back) == {2}
    check(stack, deployer, fickle, "it did not serve")


def check(stack: Stack, deployer: KubernetesDeployer, key: RunKey, reason: str) -> None:
    """Version 2 is the champion and serves; that of a night was rejected, and is gone."""
    assert champion(stack).version == 2
    assert (deployer.serving(), deployer.verify(2)) == (2, "")
    assert staged(deployer) == {f"{NAME}-v1", f"{NAME}-v2"}
    model = stack.store.models.of_run(stack.run(key).id)
    assert model is not None
    assert model.status is ModelStatus.REJECTED
    assert model.reason.startswith(reason)
    assert model.reason in stack.log(key, "deploy")
