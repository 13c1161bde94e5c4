"""How models are served by Kubernetes: manifests, rules and answers, without a cluster."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib import registry
from hpo_lib.deployers import Release
from hpo_lib.deployers.answers import (
    check_header,
    check_status,
)
from hpo_lib.deployers.kubernetes import KubernetesDeployer, _rest_s
from hpo_lib.deployers.manifests import (
    EXPERIMENT,
    MAX_CONFIG_BYTES,
    SERVER,
    Plan,
    ServedModel,
    ServeOptions,
    ServeRules,
    addressed,
    label,
    permit,
    rolled_out,
    trouble,
    unready,
)
from hpo_lib.deployers.packing import packed
from hpo_lib.deployers.sample import Sample, read_sample
from hpo_lib.errors import SpecError
from hpo_lib.validation import Strict, parse

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = ServeRules(namespaces=("models",))
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
FILES = {"saved_model/1/saved_model.pb": b"\x00graph", "sample.json": b"{}", "model.keras": b"k"}


def plan(experiment: str = "digits", rules: ServeRules = RULES, **options: Any) -> Plan:
    return Plan(experiment, "s1", parse(ServeOptions, options), rules)


def pod_of(installation: dict[str, Any]) -> dict[str, Any]:
    return installation["spec"]["template"]["spec"]


# Names


@given(NAMES, st.integers(1, 10**9))
def test_names_are_dns_labels_and_always_the_same(experiment: str, version: int) -> None:
    one, other = plan(experiment), plan(experiment)
    model = ServedModel(version, FILES)
    names = [one.name, one.named(version), one.config_map(model)["metadata"]["name"]]
    assert all(DNS_LABEL.fullmatch(name) for name in names)
    assert one.deployment(model) == other.deployment(model)
    assert one.config_map(model) == other.config_map(model)


def test_a_team_of_a_long_name_has_a_label_that_kubernetes_takes() -> None:
    told = plan(f"{'team' * 12}.{'digits' * 10}").owner[EXPERIMENT]
    assert len(told) <= 63
    assert plan("vision.churn").owner[EXPERIMENT] == "vision.churn"


@given(NAMES, NAMES)
def test_long_names_stay_apart(one: str, other: str) -> None:
    assert (label(one) == label(other)) == (one == other) or "hpo-" in (one[:4], other[:4])


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_versions_stay_apart(one: int, other: int) -> None:
    assert (plan().named(one) == plan().named(other)) == (one == other)
    assert (plan().selector(one) == plan().selector(other)) == (one == other)


# Manifests


def test_small_models_travel_in_a_config_map_in_the_layout_of_tensorflow_serving() -> None:
    model = ServedModel(7, FILES)
    config_map, pod = plan().config_map(model), pod_of(plan().deployment(model))
    (volume,) = [one for one in pod["volumes"] if one["name"] == "hpo-model"]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    data = config_map["binaryData"]
    there = {
        item["path"]: base64.b64decode(data[item["key"]]) for item in volume["configMap"]["items"]
    }
    assert there == {"7/saved_model.pb": b"\x00graph", "sample.json": b"{}", "model.keras": b"k"}
    assert "initContainers" not in pod


def test_large_models_are_fetched_by_a_container_that_alone_has_the_credentials() -> None:
    secret = {"envFrom": [{"secretRef": {"name": "artifacts"}}]}
    rules = ServeRules(
        namespaces=("models",),
        image="serve:1",
        pod_template={"spec": {"initContainers": [{"name": "fetch", **secret}]}},
    )
    model = ServedModel(7, {"sample.json": b"{}"}, "s3://bucket/model")
    pod = pod_of(plan(rules=rules, image="own:2").deployment(model))
    (fetch,), (server,) = pod["initContainers"], pod["containers"]
    assert {"name": "MODEL_URI", "value": "s3://bucket/model"} in fetch["env"]
    assert fetch["envFrom"] == secret["envFrom"]
    assert (fetch["image"], server["image"]) == ("serve:1", "own:2")
    assert "envFrom" not in server
    assert fetch["securityContext"] == server["securityContext"]
    mounts = [one for one in server["volumeMounts"] if one["name"] == "hpo-model"]
    assert mounts == [{"name": "hpo-model", "mountPath": "/models/digits", "readOnly": True}]
    small = pod_of(plan(rules=rules).deployment(ServedModel(7, FILES)))
    assert "initContainers" not in small, "what fetches is not needed"


def test_a_pod_that_serves_is_confined() -> None:
    pod = pod_of(plan().deployment(ServedModel(1, FILES)))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (server,) = pod["containers"]
    assert server["securityContext"]["readOnlyRootFilesystem"] is True
    assert server["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "net.pt2"])
def test_a_pickle_is_refused_before_the_cluster_is_asked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")

    def connect() -> Any:
        raise AssertionError("nothing is asked")

    deployer = KubernetesDeployer("digits", ServeOptions(), connect, RULES)
    with pytest.raises(SpecError, match=f"deploy: {name} .* have the operator set deployers.allow"):
        deployer.stage(Release("digits", 1, tmp_path, {}))
    allowed = KubernetesDeployer("digits", ServeOptions(), connect, RULES, allow_pickle=True)
    with pytest.raises(AssertionError, match="nothing is asked"):
        allowed.stage(Release("digits", 1, tmp_path, {}))


def test_only_where_pickles_are_allowed_the_server_is_told_so() -> None:
    told = {}
    for allowed in (False, True):
        made = Plan("digits", "s1", ServeOptions(), RULES, allowed)
        (server,) = pod_of(made.deployment(ServedModel(1, FILES)))["containers"]
        told[allowed] = [one for one in server["env"] if one["name"] == "HPO_ALLOW_PICKLE"]
    assert told == {False: [], True: [{"name": "HPO_ALLOW_PICKLE", "value": "1"}]}
    own = {"containers": [{"name": SERVER, "env": told[True]}]}
    with pytest.raises(SpecError, match="HPO_ALLOW_PICKLE"):
        permit(parse(ServeOptions, {"pod_template": {"spec": own}}), RULES)


def test_no_pod_that_serves_is_taken_for_one_that_trains() -> None:
    """The housekeeping of trials looks for `hpo.io/store`."""
    template = plan().deployment(ServedModel(1, FILES))["spec"]["template"]
    assert "hpo.io/store" not in template["metadata"]["labels"]


def test_the_service_chooses_one_version() -> None:
    made = plan(port=9000)
    service, installation = made.service(2, "now"), made.deployment(ServedModel(2, FILES))
    labels = installation["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert not service["spec"]["selector"].items() <= made.selector(3).items()
    assert installation["spec"]["selector"]["matchLabels"] == made.selector(2)
    assert service["spec"]["ports"] == [{"name": "http", "port": 9000, "targetPort": "http"}]


def test_what_is_served_shows_in_the_digest() -> None:
    other = FILES | {"model.keras": b"other"}
    digests = {
        ServedModel(1, FILES).digest,
        ServedModel(1, other).digest,
        ServedModel(1, {}, "s3://a").digest,
    }
    assert len(digests) == 3


# Rules


def test_without_a_namespace_in_the_deployment_nothing_is_served() -> None:
    shipped = yaml.safe_load((ROOT / "config" / "deployment.yaml").read_text())["serve"]
    rules = parse(ServeRules, shipped)
    assert rules == ServeRules(), "what the file shows is what holds without it"
    with pytest.raises(SpecError, match="not offered by this installation; its operator can name"):
        permit(ServeOptions(), rules)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"namespace": "other"}, "namespace: this installation allows models, got other"),
        ({"image": "evil:1"}, "image: must match one of good/* in this installation, got evil:1"),
        ({"replicas": 5}, "replicas: must be at most 4 here, got 5"),
        (
            {"pod_template": {"spec": {"hostNetwork": True}}},
            "pod_template: spec.hostNetwork: is not allowed by this installation, got true; its "
            "operator can name it under serve.allow in config/deployment.yaml",
        ),
        (
            {"pod_template": {"spec": {"containers": [{"name": "trial"}]}}},
            'pod_template: spec.containers: must hold server alone, got ["trial"]',
        ),
        (
            {"pod_template": {"spec": {"volumes": [{"name": "s", "secret": {"secretName": "x"}}]}}},
            "spec.volumes.secret.secretName: this installation allows none (serve.secrets), got",
        ),
    ],
)
def test_what_the_deployment_does_not_allow_is_refused(options: dict[str, Any], words: str) -> None:
    rules = ServeRules(namespaces=("models",), images=("good/*",))
    with pytest.raises(SpecError, match=re.escape(words)) as raised:
        KubernetesDeployer("digits", parse(ServeOptions, options), lambda: None, rules)
    assert str(raised.value).startswith("deploy.options.")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "1st"}, "deploy.options.name: "),
        ({"name": "a" * 41}, "deploy.options.name: "),
        ({"port": 80}, "deploy.options.port: "),
        ({"replicas": 0}, "deploy.options.replicas: "),
        ({"start_timeout": "5"}, "deploy.options.start_timeout: must be a duration"),
        ({"resources": {"memory": "1X"}}, "deploy.options.resources.memory: must be an amount"),
        ({"replica": 1}, "deploy.options: unknown key \"replica\", did you mean 'replicas'?"),
    ],
)
def test_options_are_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        parse(ServeOptions, options, at="deploy.options")


def test_the_settings_give_what_the_operator_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpo_airflow import deployers
    from hpo_airflow.installation import this_site

    (tmp_path / "d.yaml").write_text("serve: {namespaces: [models], max_replicas: 2}")
    monkeypatch.setenv("HPO_CONFIG", str(tmp_path / "d.yaml"))
    deployer = deployers.kubernetes(this_site(), "digits", {"replicas": 2}, "s1")
    assert (deployer.plan.namespace, deployer.plan.name) == ("models", "digits")
    with pytest.raises(SpecError, match=r"deploy\.options\.replicas: must be at most 2"):
        deployers.kubernetes(this_site(), "digits", {"replicas": 3}, "s1")


@pytest.mark.parametrize("target", registry.DEPLOYERS.values())
def test_every_deployer_that_is_registered_is_there(target: str) -> None:
    module, _, name = target.partition(":")
    assert issubclass(getattr(import_module(module), name).Options, Strict)


def test_a_version_outlives_the_switch_away_from_it() -> None:
    switched = plan().service(2, datetime.now(UTC).isoformat())
    assert 8 < _rest_s(switched, 10) <= 10
    assert _rest_s(plan().service(2, NOW.isoformat()), 10) == 0
    assert _rest_s(plan().service(2, datetime.max.replace(tzinfo=UTC).isoformat()), 10) == 10
    assert _rest_s(None, 10) == _rest_s({"metadata": {}}, 10) == 0


# Files


def test_a_model_too_large_for_a_config_map_has_to_lie_in_an_object_store(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"x" * MAX_CONFIG_BYTES)
    assert packed(Release("digits", 1, tmp_path, {})).uri is None
    (tmp_path / "sample.json").write_text("{}")
    with pytest.raises(SpecError, match=r"artifacts\.uri: is required .* it has 900002 bytes"):
        packed(Release("digits", 1, tmp_path, {}))


def test_a_large_model_in_an_object_store_is_named_and_its_sample_taken_along() -> None:
    from upath import UPath

    folder = UPath("memory://bucket/model")
    (folder / "saved_model" / "1").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model" / "1" / "saved_model.pb").write_bytes(b"x" * MAX_CONFIG_BYTES)
    (folder / "sample.json").write_bytes(b"{}")
    found = packed(Release("digits", 1, folder, {}))
    assert (found.uri, found.files) == (str(folder), {"sample.json": b"{}"})
    (folder / "saved_model" / "1" / "saved_model.pb").write_bytes(b"small")
    small = packed(Release("digits", 1, folder, {}))
    assert small.files == {"sample.json": b"{}", "saved_model/1/saved_model.pb": b"small"}
    assert small.uri is None


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds no model"):
        packed(Release("digits", 1, tmp_path, {}))


# What the cluster says


def installation(wanted: int, generation: int, *status: int) -> dict[str, Any]:
    """Give a Deployment of which this is seen: generation, all, updated and ready pods."""
    names = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas")
    known = {"metadata": {"generation": generation}, "spec": {"replicas": wanted}}
    return known | {"status": dict(zip(names, status, strict=False))}


@pytest.mark.parametrize(
    ("there", "ready"),
    [
        (installation(2, 1), False),
        (installation(2, 1, 1, 2, 2, 2), True),
        # The controller has not seen the last change.
        (installation(2, 2, 1, 2, 2, 2), False),
        # An old pod is there besides.
        (installation(2, 1, 1, 3, 2, 3), False),
        (installation(2, 1, 1, 2, 2, 1), False),
    ],
)
def test_a_rollout_is_over_when_all_pods_are_as_described(there: Any, ready: bool) -> None:
    assert rolled_out(there) is ready


def pod(**container: Any) -> dict[str, Any]:
    status = {"phase": "Pending", "containerStatuses": [{"name": SERVER, **container}]}
    return {"metadata": {"creationTimestamp": NOW.isoformat()}, "status": status}


def crashed(times: int) -> dict[str, Any]:
    end = {"exitCode": 1, "message": "Traceback\nValueError: no model\n"}
    return pod(restartCount=times, lastState={"terminated": end})


def test_a_server_may_crash_once_but_not_twice() -> None:
    assert trouble([crashed(1)], NOW) == ""
    assert trouble([crashed(2)], NOW) == "its server ends with code 1: ValueError: no model"


def test_an_image_that_cannot_be_pulled_is_hopeless_also_that_which_fetches() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    words = "its pod cannot start: ImagePullBackOff: not found"
    assert trouble([pod(state=waiting)], NOW) == words
    one = pod()
    one["status"]["initContainerStatuses"] = [{"name": "fetch", "state": waiting}]
    assert trouble([one], NOW) == words


def test_what_waits_is_no_trouble() -> None:
    one = pod(state={"waiting": {"reason": "ContainerCreating"}})
    one["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}
    ]
    assert trouble([one], NOW) == ""
    assert unready([one]) == "Unschedulable: full"
    assert unready([]) == "it has no pods"


def test_a_service_sends_to_ready_pods_alone() -> None:
    ready = {"targetRef": {"name": "digits-v1-a"}}
    other = {"targetRef": {"name": "digits-v1-b"}}
    assert addressed({"subsets": [{"addresses": [ready], "notReadyAddresses": [other]}]}) == [
        "digits-v1-a"
    ]
    assert addressed({"subsets": [{"notReadyAddresses": [other]}]}) == []
    assert addressed({}) == addressed(None) == []


# Answers

SAMPLE = Sample(instances=[1, 2], predictions=[[0.25, 0.75], [0.0, 1.0]])


def answer(predictions: Any) -> bytes:
    return json.dumps({"predictions": predictions}).encode()


def test_an_answer_may_differ_by_rounding_alone() -> None:
    assert SAMPLE.check(answer([[0.25, 0.75], [0.0, 1.0]])).passed
    assert SAMPLE.check(answer([[0.25001, 0.74999], [1e-9, 1]])).passed
    assert SAMPLE.check(answer([[0.25, 0.75], [0.5, 0.5]])) == (
        "its prediction for row 1 of sample.json must be about [0.0, 1.0], got [0.5, 0.5]"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"\xff", b'{"predictions": 1}', answer([]), answer([1, 2]), answer([[0]])],
)
def test_what_is_no_answer_is_a_problem(body: bytes) -> None:
    assert not SAMPLE.check(body).passed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(JSON, min_size=1, max_size=4))
def test_what_was_said_is_always_as_it_was_said(predictions: list[Any]) -> None:
    rows = list(range(len(predictions)))
    sample = Sample(instances=rows, predictions=predictions)
    written = json.dumps({"instances": rows, "predictions": predictions}).encode()
    assert read_sample(written) == sample
    assert sample.check(answer(predictions)).passed


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_a_sample_or_told_and_any_answer_is_checked(content: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(read_sample(content), Sample)
    assert isinstance(SAMPLE.check(content), str)
    assert isinstance(check_status(content, 1), str)


def status(*listed: Any) -> bytes:
    return json.dumps({"model_version_status": listed}).encode()


def test_the_version_that_is_asked_has_to_be_the_one_that_is_ready() -> None:
    ready = {"version": "7", "state": "AVAILABLE"}
    assert check_status(status(ready), 7).passed
    assert check_status(status({"version": "6", "state": "UNLOADING"}, ready), 7).passed
    assert not check_status(status(ready), 6).passed
    assert not check_status(status({"version": "7", "state": "LOADING"}), 7).passed
    assert not check_status(status(), 7).passed


def test_an_answer_of_another_version_is_a_problem() -> None:
    assert check_header({}, 7).passed, "TensorFlow Serving does not say"
    assert check_header({"X-Model-Version": "7"}, 7).passed
    assert check_header({"X-Model-Version": "6"}, 7) == "version 7 was asked, version 6 answered"
