"""What a conf may ask of a pod, field by field of Kubernetes' own models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.client import models

from hpo_lib.backends import AttemptName, Request, pod_shape
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.backends.pod_fields import FIELDS, MAPS, list_of
from hpo_lib.backends.pod_rights import KubernetesRules, refusals
from hpo_lib.backends.pods import merged
from hpo_lib.errors import SpecError
from hpo_lib.spec.trial_section import TrialSpec

LISTS = (
    *("claims", "config_maps", "image_pull_secrets", "node_selectors", "priority_classes"),
    *("runtime_classes", "secrets", "service_accounts", "tolerations", "topology_keys"),
)
CLOSED = KubernetesRules(namespaces=("mine",))
OPEN = KubernetesRules(namespaces=("some",), **dict.fromkeys(LISTS, ("*",)))
SAMPLES = {"bool": True, "int": 1, "float": 1.0, "quantity": "1", "object": {}}


def sample(kind: str, name: str = "") -> Any:
    """Give the least JSON that has a kind's shape."""
    outer, _, inner = kind.removesuffix("]").partition("[")
    if outer == "list":
        return [sample(inner, name)]
    if outer == "dict":
        return {"some": sample(inner.removeprefix("str, "))}
    if not outer.startswith(("V1", "Core")):
        return SAMPLES.get(outer, "trial" if name == "containers.name" else "some")
    fields, required = pod_shape._fields(kind)
    return {one: sample(fields[one], f"{name}.{one}") for one in required}


def fragments(kind: str, path: str = "", above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Give every field of a kind, with its path and a conf that has it and what it needs."""
    fields, _ = pod_shape._fields(kind)
    for name, typed in fields.items():
        inner = typed.removeprefix("list[").removesuffix("]") if "list[" in typed else typed
        below = f"{path}.{name}" if path else name
        least = sample(kind, path.rpartition(".")[2])
        if not inner.startswith(("V1", "Core")):
            yield below, least | {name: sample(typed, f"{path.rpartition('.')[2]}.{name}")}
        elif inner not in above:
            for deep, one in fragments(inner, below, (*above, kind)):
                yield deep, least | {name: [one] if "list[" in typed else one}


POD = dict(fragments("V1PodTemplateSpec"))


def test_a_pod_has_these_fields() -> None:
    assert len(POD) > 700
    assert FIELDS - set(POD) == set(), "all that are judged are there"


def test_fields_that_nobody_has_judged_are_refused() -> None:
    passed = [
        path
        for path in set(POD) - FIELDS
        if not any(line.startswith(path) for line in refusals(POD[path], OPEN))
    ]
    assert passed == []


@pytest.mark.parametrize("path", sorted(FIELDS))
def test_a_field_that_is_judged_is_harmless_or_in_a_list(path: str) -> None:
    assert refusals(POD[path], OPEN) == []
    said = [line for line in refusals(POD[path], CLOSED) if line.startswith(path)]
    listed = list_of(path)
    if listed is not None:
        assert f"({CLOSED.section}.{listed}), got" in said[0]
    elif path == "spec.nodeSelector":
        assert "(kubernetes.node_selectors)" in said[0]
    else:
        assert said == []


def test_a_field_of_a_later_kubernetes_is_refused_until_somebody_judges_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for model in (models.V1EmptyDirVolumeSource, models.V1PodSpec):
        monkeypatch.setattr(model, "openapi_types", model.openapi_types | {"later": "str"})
        monkeypatch.setattr(model, "attribute_map", model.attribute_map | {"later": "later"})
        monkeypatch.setattr(model, "later", None, raising=False)
    pod_shape._fields.cache_clear()
    asked = {"spec": {"later": "x", "volumes": [{"name": "a", "emptyDir": {"later": "x"}}]}}
    lines = refusals(asked, OPEN)
    pod_shape._fields.cache_clear()
    assert [line.partition(" in ")[0].partition(" by ")[0] for line in lines] == [
        "spec.later: is not allowed",
        "spec.volumes.emptyDir.later: is not allowed",
    ]


@pytest.mark.parametrize("path", sorted(path for path in FIELDS if path not in MAPS))
def test_a_field_of_another_type_is_told_with_its_path(path: str) -> None:
    def broken(value: Any, names: list[str]) -> Any:
        if isinstance(value, list):
            return [broken(one, names) for one in value]
        if not names:
            return {"odd": {"odd": [1]}}
        return value | {names[0]: broken(value[names[0]], names[1:])}

    lines = refusals(broken(POD[path], path.split(".")), OPEN)
    found = [re.sub(r"\.\d+", "", line.partition(":")[0]) for line in lines]
    assert path in found


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"sepc": {}}, "sepc: there is no such field, did you mean 'spec'?"),
        ({"kind": "Pod"}, "kind: there is no such field"),
        ({"": ["x"]}, '"": there is no such field'),
        (
            {"spec": {"containers": [{"name": "trial", "imagePulPolicy": "Always"}]}},
            "spec.containers.0.imagePulPolicy: there is no such field, did you mean "
            "'imagePullPolicy'?",
        ),
        (
            {"spec": {"containers": {"name": "trial"}}},
            'spec.containers: must be a list, got {"name": "trial"}',
        ),
        (
            {"spec": {"containers": [{"name": "trial", "env": [{"value": "x"}]}]}},
            "spec.containers.0.env.0.name: is required",
        ),
        ({"spec": {"nodeSelector": {"gpus": 4}}}, "spec.nodeSelector.gpus: must be text, got 4"),
        ({"spec": {"affinity": None}}, "spec.affinity: must be a mapping, got null"),
        (
            {"spec": {"containers.env.name": "x"}},
            "spec.containers.env.name: there is no such field, did you mean 'containers'?",
        ),
    ],
)
def test_what_kubernetes_would_drop_or_refuse_is_told(asked: Any, line: str) -> None:
    assert refusals(asked, OPEN) == [line]


def test_a_placeholder_may_stand_for_a_number_but_for_nothing_that_a_list_judges() -> None:
    volume = {"name": "v", "configMap": {"name": "${params.x}", "defaultMode": "${params.mode}"}}
    term = {"key": "pool", "operator": "In", "values": ["${params.pool}"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    asked = {"spec": {"volumes": [volume], "affinity": {"nodeAffinity": required}}}
    rules = KubernetesRules(config_maps=("*",), node_selectors=("pool=*",))
    name, pool = refusals(asked, rules)
    assert name == 'spec.volumes.configMap.name: must hold no placeholder, got "${params.x}"'
    assert pool.endswith('allows pool=* (kubernetes.node_selectors), got "pool=${params.pool}"')


def test_of_many_unknown_fields_the_nearest_known_is_sought_for_the_first_only() -> None:
    containers = [{"name": "trial", f"imag{n}": "x"} for n in range(500)]
    lines = refusals({"spec": {"containers": containers}}, CLOSED)
    assert len(lines) == 500
    assert sum("did you mean" in line for line in lines) == 50


NODE = "spec.affinity.nodeAffinity"
IN = f"{NODE}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
CONTROL = "node-role.kubernetes.io/control-plane"


def choosing(kind: str = "matchExpressions", **said: Any) -> dict[str, Any]:
    """Ask for nodes by a term of an affinity."""
    required = {"nodeSelectorTerms": [{kind: [{"operator": "In"} | said]}]}
    return {"affinity": {"nodeAffinity": {IN.split(".")[3]: required}}}


def preferring(**said: Any) -> dict[str, Any]:
    """Ask for nodes that need not be."""
    term = {"weight": 1, "preference": {"matchExpressions": [said]}}
    name = "preferredDuringSchedulingIgnoredDuringExecution"
    return {"affinity": {"nodeAffinity": {name: [term]}}}


@pytest.mark.parametrize(
    ("spec", "path", "got"),
    [
        ({"nodeSelector": {CONTROL: ""}}, "spec.nodeSelector", f"{CONTROL}="),
        ({"nodeSelector": {"kubernetes.io/hostname": "n1"}}, "spec.nodeSelector", None),
        ({"nodeSelector": {"pool": "system"}}, "spec.nodeSelector", "pool=system"),
        (choosing(key=CONTROL, operator="Exists"), f"{IN}.matchExpressions", CONTROL),
        (choosing(key="pool", values=["gpu", "system"]), f"{IN}.matchExpressions", "pool=system"),
        (choosing(key="pool", operator="NotIn", values=["gpu"]), f"{IN}.matchExpressions", "pool"),
        (choosing("matchFields", key="metadata.name", values=["n1"]), f"{IN}.matchFields", None),
        (preferring(key="pool", operator="Exists"), NODE, "pool"),
        ({"tolerations": [{"operator": "Exists"}]}, "spec.tolerations", "any taint"),
        ({"tolerations": [{}]}, "spec.tolerations", "any taint"),
        (
            {"tolerations": [{"key": CONTROL, "operator": "Exists"}]},
            *("spec.tolerations", CONTROL),
        ),
        ({"tolerations": [{"key": "team", "value": "b"}]}, "spec.tolerations", "team=b"),
        ({"tolerations": [{"key": "team", "operator": "Exists"}]}, "spec.tolerations", "team"),
    ],
)
def test_nodes_that_are_not_listed_cannot_be_chosen(spec: Any, path: str, got: str | None) -> None:
    rules = KubernetesRules(
        node_selectors=("pool=gpu", "zone"), tolerations=("team=a", "nvidia.com/*")
    )
    (line,) = refusals({"spec": spec}, rules)
    assert line.startswith(path)
    assert got is None or line.endswith(f'got "{got}"')


@pytest.mark.parametrize(
    "spec",
    [
        {"nodeSelector": {"pool": "gpu", "zone": "a"}},
        choosing(key="pool", values=["gpu"]),
        choosing(key="zone", operator="NotIn", values=["b"]),
        {"tolerations": [{"key": "team", "value": "a"}]},
        {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]},
    ],
)
def test_nodes_that_are_listed_can_be_chosen(spec: Any) -> None:
    rules = KubernetesRules(
        node_selectors=("pool=gpu", "zone"), tolerations=("team=a", "nvidia.com/*")
    )
    assert refusals({"spec": spec}, rules) == []


def volume(name: str = "v", **kind: Any) -> dict[str, Any]:
    """Ask for a volume."""
    return {"spec": {"volumes": [{"name": name, **kind}]}}


def test_what_the_operator_allows_is_still_held_against_the_lists() -> None:
    """Whatever names a secret, a claim or an image, and wherever."""
    rules = KubernetesRules(allow=("spec.initContainers", "spec.volumes"), secrets=("mine",))
    key = {"secretKeyRef": {"name": "airflow", "key": "k"}}
    first = {"name": "first", "image": "hpo-trial:1", "env": [{"name": "A", "valueFrom": key}]}
    projected = {"sources": [{"secret": {"name": "airflow"}}]}
    csi = {"driver": "d", "nodePublishSecretRef": {"name": "airflow"}}
    for asked, path in (
        ({"spec": {"initContainers": [first]}}, "spec.initContainers.env.valueFrom.secretKeyRef"),
        (volume(projected=projected), "spec.volumes.projected.sources.secret.name"),
        (volume(csi=csi), "spec.volumes.csi.nodePublishSecretRef.name"),
    ):
        (line,) = refusals(asked, rules)
        assert line.startswith(path)
        assert line.endswith('allows mine (kubernetes.secrets), got "airflow"')
    assert refusals(volume(projected={"sources": [{"secret": {"name": "mine"}}]}), rules) == []
    for asked in (
        {"spec": {"initContainers": [{"name": "first", "image": "evil/miner"}]}},
        volume(image={"reference": "evil/miner"}),
    ):
        (line,) = refusals(asked, rules)
        assert line.endswith('hpo-trial@* (kubernetes.images), got "evil/miner"')


def test_a_field_may_be_allowed_with_some_values_alone() -> None:
    allow = ("spec.schedulerName=vol*", "spec.hostNetwork=false")
    rules = KubernetesRules(allow=allow)
    assert refusals({"spec": {"schedulerName": "volcano", "hostNetwork": False}}, rules) == []
    for spec in ({"schedulerName": "mine"}, {"hostNetwork": True}, {"schedulerName": "${run}"}):
        (line,) = refusals({"spec": spec}, rules)
        assert "is not allowed by this installation" in line


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (
            {"metadata": {"labels": {"hpo.io/serves": "digits"}}},
            "metadata.labels.hpo.io/serves: names with hpo.io/ in front are taken",
        ),
        (
            {"metadata": {"annotations": {"hpo.io/timeout-s": "9e9"}}},
            "metadata.annotations.hpo.io/timeout-s: names with hpo.io/ in front are taken",
        ),
        (
            volume("hpo-output", emptyDir={}),
            "spec.volumes.name: names with hpo- in front are taken",
        ),
        (
            {"spec": {"terminationGracePeriodSeconds": 86_400}},
            "spec.terminationGracePeriodSeconds: must be 0 to 120 here, got 86400",
        ),
    ],
)
def test_what_is_ours_stays_ours_whatever_is_allowed(asked: Any, line: str) -> None:
    rules = KubernetesRules(allow=("metadata", "spec"))
    (said,) = refusals(asked, rules)
    assert said.startswith(line)


MINE = KubernetesRules(
    namespaces=("mine",), images=("mine",), **dict.fromkeys(LISTS, ("mine", "mine=mine"))
)
PLACES = sorted(POD)
WORDS = st.sampled_from(
    [*["mine"] * 4, *["theirs"] * 2, "${params.x}", "In", "Exists", "Equal", "LD_PRELOAD"]
)


def worded(value: Any, draw: Any) -> Any:
    """Put drawn words where a sample has some text."""
    if isinstance(value, dict):
        return {draw(WORDS) if k == "some" else k: worded(v, draw) for k, v in value.items()}
    if isinstance(value, list):
        return [worded(one, draw) for one in value]
    return draw(WORDS) if value == "some" else value


@st.composite
def templates(draw: Any) -> dict[str, Any]:
    """Parts of a pod: some fields of Kubernetes', with words that are listed and others."""
    judged, others = st.sampled_from(sorted(FIELDS)), st.sampled_from(PLACES)
    places = draw(st.lists(st.one_of(*[judged] * 5, others), min_size=1, max_size=3))
    return merged(*(worded(POD[place], draw) for place in places))


def named(value: Any, *keys: str) -> Iterator[Any]:
    """Give all that stands under these keys, wherever it is."""
    for one in value if isinstance(value, list) else []:
        yield from named(one, *keys)
    for key, inner in value.items() if isinstance(value, dict) else []:
        if key in keys:
            yield inner
        yield from named(inner, *keys)


@given(templates())
@settings(max_examples=1_000)
def test_what_is_sent_has_no_right_beyond_the_lists(asked: dict[str, Any]) -> None:
    """An oracle of its own: it looks at the pod that is created, and knows no field table."""
    backend = KubernetesBackend(Path("home"), connect=lambda: None, rules=MINE)
    options = {"pod_template": asked}
    try:
        backend.permit(TrialSpec(backend="kubernetes", image="mine", options=options))
    except SpecError:
        return
    handle = backend.handle(AttemptName("5707e", "000001-x", 1, 1, options))
    pod = backend.wanted(handle, Request(["sh"], {}, 60.0, image="mine", options=options))
    bare = backend.wanted(handle | {"namespace": "mine"}, Request(["sh"], {}, 60.0, image="mine"))
    assert pod["metadata"] == bare["metadata"], "nothing of a conf's"
    spec, of_ours = pod["spec"], bare["spec"]
    judged = (
        *("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "volumes"),
        *("containers", "serviceAccountName", "priorityClassName", "runtimeClassName"),
        *("imagePullSecrets", "terminationGracePeriodSeconds"),
    )
    assert {k: v for k, v in spec.items() if k not in judged} == {
        k: v for k, v in of_ours.items() if k not in judged
    }
    (container,), (own,) = spec["containers"], of_ours["containers"]
    free = ("env", "volumeMounts", "workingDir", "imagePullPolicy")
    assert {k: v for k, v in container.items() if k not in free} == {
        k: v for k, v in own.items() if k not in free
    }
    assert not any(name.startswith("LD_") for name in named(container["env"], "name"))
    kinds = {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"}
    assert all(set(volume) <= kinds for volume in spec["volumes"])
    sources = ("configMap", "configMapKeyRef", "secretKeyRef")
    names = [one["name"] for one in named(spec, *sources) if "name" in one]
    names += named(spec, "claimName", "secretName", "serviceAccountName", "priorityClassName")
    names += named(spec, "runtimeClassName", "topologyKey")
    names += named(spec.get("imagePullSecrets", []), "name")
    names += named(spec.get("tolerations", []), "key")
    names += [*spec.get("nodeSelector", {})]
    names += named(spec.get("affinity", {}).get("nodeAffinity", {}), "key")
    assert set(names) <= {"mine"}
    assert all("key" in one for one in spec.get("tolerations", []))
    assert not [*named(spec, "namespaces", "namespaceSelector", "mountPropagation")]
    assert spec.get("terminationGracePeriodSeconds", 0) <= MINE.max_grace_s
