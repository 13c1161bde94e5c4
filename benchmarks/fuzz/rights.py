"""An oracle of rights: what a trial's request asks for beside what the installation lists.

It looks at what would be sent (a pod, a Job, a task of ECS, a container, a program's command), not
at how a conf was checked, and shares no code with the checks. A list that is new is a line in
LISTS, and one in POD_NAMES, ECS_NAMES or a check below, or in places.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from random import Random
from types import SimpleNamespace
from typing import Any

from benchmarks.fuzz import places
from hpo_lib.backends import AttemptName
from hpo_lib.core.trial import Trial
from hpo_lib.installation import Installation
from hpo_lib.spec import Spec
from hpo_lib.trials import runner

#: The installation's `config/deployment.yaml`.
LISTS: dict[str, Any] = {
    "airflow": places.AIRFLOW,
    "docker": {"images": ["registry.example.org/team/*"], "network": "none"},
    "kubernetes": {
        "namespaces": ["trials", "more"],
        "images": ["registry.example.org/team/*"],
        "service_accounts": ["reader"],
        "image_pull_secrets": ["pull"],
        "priority_classes": ["low"],
        "runtime_classes": ["gvisor"],
        "secrets": ["dataset"],
        "config_maps": ["settings"],
        "claims": ["data"],
        "node_selectors": ["pool=gpu"],
        "tolerations": ["nvidia.com/*"],
        "topology_keys": ["zone"],
        "max_grace_s": 90,
        "gpu_resources": ["nvidia.com/gpu"],
    },
    "job": {"kinds": ["batch/v1/Job", "kubeflow.org/v1/TFJob"]},
    "ecs": {
        "region": "eu-central-1",
        "clusters": ["trials"],
        "images": ["registry.example.org/team/*"],
        "task_definitions": ["team-*"],
        "task_roles": ["arn:aws:iam::1:role/task"],
        "execution_roles": ["arn:aws:iam::1:role/run"],
        "secrets": ["arn:aws:ssm:eu:1:parameter/team/*"],
        "subnets": ["subnet-1", "subnet-2"],
        "security_groups": ["sg-1"],
        "spot": ["FARGATE_SPOT"],
        "on_demand": ["FARGATE"],
        "launch_types": ["FARGATE"],
        "log_groups": ["/hpo/trials"],
    },
}
_PODS, _ECS = LISTS["kubernetes"], LISTS["ecs"]
#: What a pod may name, by key: the key inside it whose text counts (None: the value itself).
POD_NAMES: tuple[tuple[str, str | None, Iterable[str]], ...] = (
    ("namespace", None, _PODS["namespaces"]),
    ("serviceAccountName", None, _PODS["service_accounts"]),
    ("serviceAccount", None, _PODS["service_accounts"]),
    ("priorityClassName", None, _PODS["priority_classes"]),
    ("imagePullSecrets", "name", _PODS["image_pull_secrets"]),
    ("secretKeyRef", "name", _PODS["secrets"]),
    ("secretRef", "name", _PODS["secrets"]),
    ("secretName", None, _PODS["secrets"]),
    ("configMap", "name", _PODS["config_maps"]),
    ("configMapKeyRef", "name", _PODS["config_maps"]),
    ("configMapRef", "name", _PODS["config_maps"]),
    ("claimName", None, _PODS["claims"]),
    ("runtimeClassName", None, _PODS["runtime_classes"]),
)
#: Keys that no pod may have, whatever their values.
POD_NEVER = frozenset(
    {
        *("hostPath", "hostNetwork", "hostPID", "hostIPC", "hostPort", "hostAliases", "hostUsers"),
        *("nodeName", "initContainers", "ephemeralContainers", "projected", "csi"),
        *("procMount", "windowsOptions", "seLinuxOptions", "sysctls", "devices", "volumeDevices"),
        *("shareProcessNamespace", "subjects", "fieldRef", "nfs", "iscsi", "flexVolume"),
    }
)
_DATA = frozenset({"labels", "annotations", "nodeSelector", "affinity", "tolerations"})
_VOLUMES = {"name", "emptyDir", "configMap", "persistentVolumeClaim", "secret"}
_AMOUNTS = {"cpu", "memory", "ephemeral-storage", *_PODS["gpu_resources"]}
#: What a container's security context is, and nothing else.
_SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
#: Where ECS is told names, by key.
ECS_NAMES: Mapping[str, Iterable[str]] = {
    "cluster": _ECS["clusters"],
    "launchType": _ECS["launch_types"],
    "capacityProvider": [*_ECS["spot"], *_ECS["on_demand"]],
    "subnets": _ECS["subnets"],
    "securityGroups": _ECS["security_groups"],
    "taskRoleArn": _ECS["task_roles"],
    "executionRoleArn": _ECS["execution_roles"],
    "awslogs-group": _ECS["log_groups"],
    "awslogs-region": [_ECS["region"]],
    "assignPublicIp": ["DISABLED"],
}
_ECS_NEVER = {
    "privileged",
    "host",
    "hostPath",
    "efsVolumeConfiguration",
    "add",
    "pidMode",
    "ipcMode",
}


def violations(spec: Spec, installation: Installation, variables: Mapping[str, str]) -> list[str]:
    """Say what the requests of a spec that was admitted ask for beyond the lists.

    The `variables` name the folders of programs that run on workers.
    """
    found = list(places.of_airflow(spec))
    for made in (spec,) if spec.for_final is spec else (spec, spec.for_final):
        try:
            found += list(_violations(made, installation, variables))
        except Exception as error:
            found.append(f"no request of {made.trial.backend}: {type(error).__name__}: {error}")
    return found


def _violations(
    spec: Spec, installation: Installation, variables: Mapping[str, str]
) -> Iterator[str]:
    looks = {
        "kubernetes": _of_pods,
        "job": _of_pods,
        "ecs": _of_ecs,
        "docker": _of_docker,
        "local": lambda _, sent: places.of_a_process(spec, sent, variables),
    }
    look = looks.get(spec.trial.backend)
    if look is None:
        return
    backend: Any = installation.backend(spec)
    for trial in _trials(spec):
        name = AttemptName("a1b2c3d4", "1-x", 1, 1, runner_options(spec, trial), None)
        handle = backend.handle(name)
        request = _request(spec, trial)
        yield from look(handle, backend.wanted(handle, request))


def runner_options(spec: Spec, trial: Trial) -> Mapping[str, Any]:
    """Give the options by which an attempt is named."""
    return _request(spec, trial).options


def _request(spec: Spec, trial: Trial) -> Any:
    asked: Any = SimpleNamespace(resource=None)
    run: Any = SimpleNamespace(id=1)
    names = {"output": "/hpo/output", "store": "a1b2c3d4"}
    return runner.request(spec, run, trial, asked, attempt=1, **names)


def _trials(spec: Spec) -> Iterator[Trial]:
    """Give trials at both ends of the space: their values fill placeholders."""
    for unit in (0.0, 0.999):
        params = spec.search_space.from_unit([unit] * len(spec.search_space))
        yield Trial(1, params)


def _items(value: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Give every key at any depth, with its path and its value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield path, str(name), inner
            yield from _items(inner, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _items(inner, path)


def _of_pods(handle: Mapping[str, Any], sent: Any) -> Iterator[str]:
    yield from _unlisted("namespace", [handle["namespace"]], _PODS["namespaces"])
    if handle.get("kind", "batch/v1/Job") not in LISTS["job"]["kinds"]:
        yield f"kind {handle['kind']}"
    for path, key, value in _items(sent):
        if not _is_data(path):
            yield from _of_a_key(f"{path}.{key}", key, value)
        yield from (f"{path}.{key}: {one}" for one in _misplaced(key, value))
        if "nodeAffinity" in path.split(".") and key in ("matchExpressions", "matchFields"):
            yield from (f"{path}.{key}: {one}" for one in _by_affinity(value))
    yield from _unsafe(sent)


def _by_affinity(expressions: Any) -> Iterator[str]:
    """Say which labels, or fields, of nodes are chosen that are in no list."""
    for one in expressions or ():
        values = one.get("values") if one.get("operator") == "In" else None
        pairs = [f"{one['key']}={value}" for value in values or ()] or [str(one["key"])]
        yield from (pair for pair in pairs if pair not in _PODS["node_selectors"])


def _misplaced(key: str, value: Any) -> Iterator[str]:
    """Say which nodes a pod may not go to, and for how long it may not linger."""
    if key == "nodeSelector" and isinstance(value, Mapping):
        pairs = [f"{label}={chosen}" for label, chosen in value.items()]
        yield from (one for one in pairs if one not in _PODS["node_selectors"])
    if key == "tolerations" and isinstance(value, list):
        taints = [one.get("key") if isinstance(one, Mapping) else one for one in value]
        yield from (str(one) for one in taints if not _matches(one, _PODS["tolerations"]))
    if key == "topologyKey" and value not in _PODS["topology_keys"]:
        yield str(value)
    if key == "terminationGracePeriodSeconds" and value > _PODS["max_grace_s"]:
        yield str(value)


def _of_a_key(path: str, key: str, value: Any) -> Iterator[str]:
    if key in POD_NEVER or (key in ("limits", "requests") and not _amounts(value) <= _AMOUNTS):
        yield f"{path}: {value!r}"
    for name, inside, allowed in POD_NAMES:
        if key == name:
            yield from _unlisted(path, _named(value, inside), allowed)
    for one in value if isinstance(value, list) else ():
        yield from _of_an_entry(path, key, one)


def _amounts(value: Any) -> set[Any]:
    """Give what amounts are of; what is none of a name stands for itself."""
    if isinstance(value, list):
        return set().union(*map(_amounts, value))
    return set(value) if isinstance(value, Mapping) else {value}


def _of_an_entry(path: str, key: str, one: Any) -> Iterator[str]:
    known = one if isinstance(one, Mapping) else {}
    if key == "containers":
        yield from _of_container(path, known)
    if key == "env" and _matches(known.get("name"), places.LOADERS):
        yield f"{path}: {one!r}"
    if key == "volumes" and not (known and set(known) <= _VOLUMES):
        yield f"{path}: {one!r}"


def _is_data(path: str) -> bool:
    """Say whether keys there are names of one's own, or place a pod and give it nothing."""
    return not _DATA.isdisjoint(path.split("."))


def _of_container(path: str, container: Any) -> Iterator[str]:
    image = container.get("image")
    if image is not None and not _matches(image, _PODS["images"]):
        yield f"{path}.image: {image!r}"
    if container.get("securityContext") != _SAFE:
        yield f"{path}.securityContext: {container.get('securityContext')!r}"
    if "envFrom" in container:
        yield f"{path}.envFrom: {container['envFrom']!r}"


def _unsafe(sent: Any) -> Iterator[str]:
    """Look at the pods in what is sent: whatever has containers is one."""
    pods = [sent.get("spec")] if isinstance(sent, Mapping) else []
    pods += [value for _, key, value in _items(sent) if key == "spec"]
    for pod in pods:
        if not (isinstance(pod, Mapping) and isinstance(pod.get("containers"), list)):
            continue
        if pod.get("automountServiceAccountToken") is not False:
            yield "automountServiceAccountToken"
        context = pod.get("securityContext") or {}
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") != 65_532:
            yield f"securityContext: {context!r}"


def _of_ecs(_: Mapping[str, Any], sent: Any) -> Iterator[str]:
    definition, run = sent
    for path, key, value in _items([definition or {}, run]):
        if key in ECS_NAMES:
            yield from _unlisted(f"{path}.{key}", _named(value, None), ECS_NAMES[key])
        if key == "image" and not _matches(value, _ECS["images"]):
            yield f"{path}.image: {value!r}"
        if key == "valueFrom" and not _matches(value, _ECS["secrets"]):
            yield f"{path}.valueFrom: {value!r}"
        if key in _ECS_NEVER and value:
            yield f"{path}.{key}: {value!r}"
    if definition is None and not _matches(run["taskDefinition"], _ECS["task_definitions"]):
        yield f"taskDefinition: {run['taskDefinition']!r}"


def _of_docker(handle: Mapping[str, Any], sent: Mapping[str, Any]) -> Iterator[str]:
    if not _matches(sent["image"], LISTS["docker"]["images"]):
        yield f"image: {sent['image']!r}"
    if sent["network"] != LISTS["docker"]["network"]:
        yield f"network: {sent['network']!r}"
    wrong = {"privileged", "cap_add", "devices", "pid_mode", "ipc_mode", "volumes_from"} & set(sent)
    yield from (f"{name}: {sent[name]!r}" for name in sorted(wrong))
    binds = [*sent["volumes"], *(one["Source"] for one in sent["mounts"])]
    yield from (f"volume {one}" for one in binds if not str(one).startswith(handle["folder"]))
    if sent["user"].startswith("0:") or sent["cap_drop"] != ["ALL"] or not sent["read_only"]:
        yield f"user {sent['user']}, cap_drop {sent['cap_drop']}"


def _named(value: Any, inside: str | None) -> list[Any]:
    listed = value if isinstance(value, list | tuple) else [value]
    return [one.get(inside) if inside and isinstance(one, Mapping) else one for one in listed]


def _unlisted(path: str, named: Iterable[Any], allowed: Iterable[str]) -> Iterator[str]:
    yield from (f"{path}: {one!r}" for one in named if one not in allowed)


def _matches(value: Any, patterns: Iterable[str]) -> bool:
    return isinstance(value, str) and any(fnmatchcase(value, one) for one in patterns)


#: What people ask of pods, rightly or not; each key may stand anywhere.
_NAMES = (
    "trials",
    "kube-system",
    "reader",
    "admin",
    "pull",
    "dataset",
    "low",
    "high",
    "settings",
    "data",
    "gvisor",
    "",
    "${params.x}",
)
_IMAGES = (
    *("registry.example.org/team/a:1", "registry.example.org/team/../b", "evil.example.org/x"),
    *("registry.example.org/team/${params.x}", "${params.x}", "docker.io/library/alpine"),
)
_TAINTS = ("nvidia.com/gpu", "node-role.kubernetes.io/control-plane", "nvidia.com")
_KEYS = (
    *("spec", "metadata", "containers", "initContainers", "template", "volumes", "env", "envFrom"),
    *(
        "valueFrom",
        "secretKeyRef",
        "configMapKeyRef",
        "fieldRef",
        "resources",
        "limits",
        "requests",
    ),
    *("securityContext", "privileged", "capabilities", "add", "drop", "runAsUser", "runAsNonRoot"),
    *("hostPath", "hostNetwork", "hostPID", "nodeName", "nodeSelector", "tolerations", "affinity"),
    *("serviceAccountName", "serviceAccount", "automountServiceAccountToken", "imagePullSecrets"),
    *("namespace", "labels", "annotations", "name", "image", "command", "args", "key", "value"),
    *("emptyDir", "secret", "secretName", "configMap", "projected", "sources", "volumeMounts"),
    *(
        "tfReplicaSpecs",
        "Worker",
        "replicas",
        "priorityClassName",
        "nvidia.com/gpu",
        "cpu",
        "status",
    ),
    *("configMapRef", "persistentVolumeClaim", "claimName", "runtimeClassName", "topologyKey"),
    *("terminationGracePeriodSeconds", "topologySpreadConstraints", "LD_PRELOAD", "pool", "zone"),
    *("spec.containers", "spec.volumes.hostPath", "hostpath", "HostPath", " hostPath", "lifecycle"),
)


def conf(random: Random) -> dict[str, Any]:
    """Make a conf that asks for rights, some of which are listed."""
    backend = random.choice(("kubernetes", "kubernetes", "job", "job", "ecs", "docker"))
    trial = {
        "backend": backend,
        "image": random.choice(_IMAGES),
        "options": _asked(random, backend),
    }
    if backend == "job":
        trial.pop("image")
    if random.random() < 0.3:
        trial["env"] = {random.choice(("A", "PATH", "PYTHONPATH", "LD_PRELOAD", "HPO_X")): "1"}
    made: dict[str, Any] = {
        "name": "rights",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "categorical", "choices": ["trials", "kube-system", "../x", "a"]}},
        "limits": {"max_trials": 2},
        "trial": trial,
    }
    if random.random() < 0.2:
        other = random.choice(("kubernetes", "job", "ecs", "docker"))
        made["final"] = {"trial": {"backend": other, "options": _asked(random, other)}}
        made["final"]["trial"] |= {} if other == "job" else {"image": random.choice(_IMAGES)}
    return made


def _asked(random: Random, backend: str) -> dict[str, Any]:
    if backend == "docker":
        return {} if random.random() < 0.7 else {"privileged": True}
    if backend == "ecs":
        return _of_an_ecs_conf(random)
    pod = _tree(random, 4)
    if backend == "job":
        return {"resource": _resource(random)}
    options = {
        "namespace": lambda: random.choice(_NAMES),
        "service_account": lambda: random.choice(_NAMES),
        "priority_class": lambda: random.choice(_NAMES),
        "image_pull_secrets": lambda: [random.choice(_NAMES)],
        "secrets": lambda: [{"env": "A", "name": random.choice(_NAMES), "key": "k"}],
        "volumes": lambda: [{"name": "v", **_tree(random, 2)}],
        "volume_mounts": lambda: [{"name": "v", "mountPath": "/v"}],
        "node_selector": lambda: {"pool": random.choice((*_NAMES, "gpu"))},
        "tolerations": lambda: [
            random.choice(
                (_tree(random, 2), {"key": random.choice(_TAINTS), "effect": "NoSchedule"})
            )
        ],
        "affinity": lambda: random.choice((_tree(random, 3), _affinity(random))),
        "gpu_resource": lambda: random.choice(("nvidia.com/gpu", "cpu", "example.org/fpga")),
        "pod_template": lambda: pod if random.random() < 0.5 else {"spec": _tree(random, 3)},
    }
    asked = random.sample(sorted(options), random.randrange(0, 3))
    return {name: options[name]() for name in asked}


def _affinity(random: Random) -> dict[str, Any]:
    """Ask for nodes by affinity, as the API takes it."""
    key = random.choice(("pool", "pool", "kubernetes.io/hostname"))
    said = {"key": key, "operator": random.choice(("In", "In", "Exists"))}
    if said["operator"] == "In":
        said["values"] = random.choice((["gpu"], ["gpu"], ["prod"], ["gpu", "prod"]))
    words = random.choice(("matchExpressions", "matchFields"))
    terms = {"nodeSelectorTerms": [{words: [said]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _of_an_ecs_conf(random: Random) -> dict[str, Any]:
    choices: dict[str, tuple[Any, ...]] = {
        "cluster": ("trials", "prod", "${params.x}"),
        "task_definition": ("team-a:1", "prod", "team-${params.x}"),
        "container": ("trial", "main"),
        "launch_type": ("FARGATE", "EC2", "EXTERNAL"),
        "capacity_provider": ("FARGATE", "FARGATE_SPOT", "prod"),
        "subnets": (["subnet-1"], ["subnet-9"], []),
        "security_groups": (["sg-1"], ["sg-9"]),
        "assign_public_ip": (True, False),
        "task_role": (_ECS["task_roles"][0], "arn:aws:iam::1:role/admin", "${params.x}"),
        "execution_role": (_ECS["execution_roles"][0], "arn:aws:iam::1:role/admin"),
        "secrets": (
            [{"env": "A", "arn": "arn:aws:ssm:eu:1:parameter/team/a"}],
            [{"env": "A", "arn": "arn:aws:ssm:eu:1:parameter/prod"}],
            [{"env": "A", "arn": "arn:aws:ssm:eu:1:parameter/team/${params.x}"}],
        ),
        "log_group": ("/hpo/trials", "/prod"),
    }
    asked = random.sample(sorted(choices), random.randrange(0, 4))
    return {name: random.choice(choices[name]) for name in asked}


def _resource(random: Random) -> dict[str, Any]:
    container = {"name": "main", "image": random.choice(_IMAGES), **_some(random, 0.3, 2)}
    pod = {"spec": {"containers": [container], **_some(random, 0.3, 3)}, **_some(random, 0.15, 2)}
    if random.random() < 0.6:
        return {"spec": {"template": pod, **_some(random, 0.2, 3)}, **_some(random, 0.2, 2)}
    spec = {"tfReplicaSpecs": {"Worker": {"replicas": 1, "template": pod}}, **_some(random, 0.3, 3)}
    kind = random.choice(("TFJob", "PyTorchJob"))
    return {"apiVersion": "kubeflow.org/v1", "kind": kind, "spec": spec, **_some(random, 0.2, 2)}


def _some(random: Random, share: float, depth: int) -> dict[str, Any]:
    return _tree(random, depth) if random.random() < share else {}


def _tree(random: Random, depth: int) -> dict[str, Any]:
    return {random.choice(_KEYS): _value(random, depth) for _ in range(random.randrange(1, 4))}


def _value(random: Random, depth: int) -> Any:
    match random.randrange(6) if depth else 0:
        case 0 | 1:
            return random.choice((*_NAMES, *_IMAGES, True, 0, 1, None, [], {}))
        case 2 | 3:
            return _tree(random, depth - 1)
    inner = _tree(random, depth - 1)
    return [
        {"name": random.choice(("trial", "v", "x")), **inner} if random.random() < 0.7 else inner
    ]
