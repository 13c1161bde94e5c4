"""What a conf may not ask for: an attack a row, on every backend, deployer and place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends.docker import DockerBackend
from hpo_lib.backends.ecs import EcsBackend
from hpo_lib.backends.ecs_request import EcsRules
from hpo_lib.backends.images import IMAGES, is_allowed_image
from hpo_lib.backends.job import JobBackend
from hpo_lib.backends.job_rights import JobRules
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.deployers.manifests import ServeOptions, ServeRules, permit
from hpo_lib.deployers.mlflow import MlflowDeployer
from hpo_lib.deployers.mlflow_options import MlflowOptions, MlflowRules
from hpo_lib.deployers.sagemaker_request import SageMakerOptions, SageMakerRules, permitted
from hpo_lib.errors import SpecError
from hpo_lib.files.artifacts import offered
from hpo_lib.spec.sections import Artifacts
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import parse

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("patterns", "image", "allowed"),
    [
        (IMAGES, "hpo-trial:latest", True),
        (IMAGES, f"hpo-trial@{DIGEST}", True),
        (IMAGES, f"hpo-trial:1@{DIGEST}", True),
        (IMAGES, "evil/miner", False),
        (IMAGES, "evil/hpo-trial:1", False),
        # A registry that is called as an image is.
        (IMAGES, "hpo-trial:5000/evil/miner:1", False),
        (IMAGES, "hpo-trial.evil.org/miner:1", False),
        ((), "hpo-trial:latest", False),
        (("*",), "evil/miner", True),
        (("team/*",), "team/model:3", True),
        (("team/*",), f"team/sub/model@{DIGEST}", True),
        (("team/*",), "evil/team/model:3", False),
        (("r.io:5000/team/*",), "r.io:5000/team/model:3", True),
        (("r.io:5000/team/*",), "r.io/team/model:3", False),
        (("*@sha256:*",), f"r.io/team/model@{DIGEST}", True),
        (("*@sha256:*",), f"r.io:5000/team/model:3@{DIGEST}", True),
        (("*@sha256:*",), "r.io/team/model:3", False),
        ((f"team/model@{DIGEST}",), f"team/model:3@{DIGEST}", True),
        ((f"team/model@{DIGEST}",), "team/model:3", False),
        (("*:1",), "r.io/team/model:1", True),
        (("*:1",), "r.io/team/model:12", False),
    ],
)
def test_an_image_is_one_of_a_pattern(patterns: list[str], image: str, allowed: bool) -> None:
    assert is_allowed_image(image, patterns) is allowed


HOME = Path("home")
TFJOB, TRAIN = "kubeflow.org/v1", "trainer.kubeflow.org/v1alpha1"


def trial(backend: str, options: Any = None, **said: Any) -> TrialSpec:
    """Ask a backend for a trial with its usual image."""
    known = {"backend": backend, "image": "hpo-trial:1", "options": options or {}}
    return parse(TrialSpec, known | said, at="trial")


def never(*_: Any) -> Any:
    """Fail: nothing is asked of a service."""
    raise AssertionError("must not connect")


def options(**said: Any) -> None:
    """Ask for a pod with options."""
    KubernetesBackend(HOME, connect=never).permit(trial("kubernetes", said))


def pod(**spec: Any) -> None:
    """Ask for a pod by a template."""
    options(pod_template={"spec": spec})


def volume(**kind: Any) -> None:
    """Ask for a pod with a volume."""
    options(volumes=[{"name": "v", **kind}])


def container(**fields: Any) -> None:
    """Ask for a pod by a template of its container."""
    pod(containers=[{"name": "trial", **fields}])


def metadata(**said: Any) -> None:
    """Ask for a pod with metadata."""
    options(pod_template={"metadata": said})


def near(**term: Any) -> None:
    """Ask for a pod away from others."""
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    options(affinity={"podAntiAffinity": required})


def job(pod: Any = None, metadata: Any = None, **spec: Any) -> None:
    """Ask for a Job."""
    inner = {"containers": [{"name": "main", "image": "hpo-trial:1"}]} | (pod or {})
    made = {"spec": {"template": {"spec": inner}} | spec, "metadata": metadata or {}}
    _job("batch/v1", "Job", made)


def tf(**spec: Any) -> None:
    """Ask for a TFJob."""
    _job(TFJOB, "TFJob", {"spec": spec})


def train(**spec: Any) -> None:
    """Ask for a TrainJob, whose pods come of its runtime."""
    _job(TRAIN, "TrainJob", {"spec": spec})


def _job(api: str, kind: str, resource: Any) -> None:
    kinds = JobRules(kinds=("batch/v1/Job", f"{TFJOB}/TFJob", f"{TRAIN}/TrainJob"))
    asked = {"apiVersion": api, "kind": kind, **resource}
    JobBackend(HOME, connect=never, jobs=kinds).permit(
        trial("job", {"resource": asked}, image=None)
    )


def ecs(said: Any = None, **changes: Any) -> None:
    """Ask for a task."""
    rules = EcsRules(subnets=("subnet-1",), task_definitions=("train:*",), secrets=("arn:aws:s:*",))
    EcsBackend(HOME, connect=never, rules=rules).permit(trial("ecs", said, **changes))


def named(said: Any = None, **changes: Any) -> None:
    """Ask for a task of a definition that is there."""
    ecs({"task_definition": "train:3"} | (said or {}), image=None, **changes)


def docker(said: Any = None, **changes: Any) -> None:
    """Ask for a container."""
    DockerBackend(HOME).permit(trial("docker", said, **changes))


def serve(**said: Any) -> None:
    """Ask for a model to be served on a cluster."""
    rules = ServeRules(namespaces=("models",))
    permit(parse(ServeOptions, said, at="deploy.options"), rules)


def server(**fields: Any) -> None:
    """The same, by a template of the container."""
    serve(pod_template={"spec": {"containers": [{"name": "server", **fields}]}})


def sagemaker(**said: Any) -> None:
    """Ask for a model to be served on SageMaker."""
    role = "arn:aws:iam::1:role/serve"
    rules = SageMakerRules(endpoints=("iris*",), images=("serve:1",), roles=(role,))
    permitted("iris", parse(SageMakerOptions, said, at="deploy.options"), rules)


def mlflow(**said: Any) -> None:
    """Ask for a model to be registered."""
    asked = parse(MlflowOptions, said, at="deploy.options")
    MlflowDeployer("iris", asked, never, MlflowRules(models=("iris*",)))


def artifacts(uri: str) -> None:
    """Ask for artifacts at a place."""
    kept = parse(Artifacts, {"uri": uri}, at="artifacts").uri
    offered(kept, {"s3://bucket/team": dict, "file:///shared/team": dict})


def env(**said: str) -> dict[str, Any]:
    """Name variables as a container has them."""
    return {"env": [{"name": name, "value": value} for name, value in said.items()]}


TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
CLAIM = {"volumeClaimTemplate": {"spec": {"storageClassName": "ssd", "accessModes": ["x"]}}}
LOCALHOST = {"type": "Localhost", "localhostProfile": "mine"}
KEY = {"secretKeyRef": {"name": "airflow", "key": "k"}}
CONTROL = "node-role.kubernetes.io/control-plane"
MAIN = {"name": "main", "image": "hpo-trial:1"}

POD_ATTACKS: list[tuple[Callable[[], None], str]] = [
    # What it names.
    (lambda: volume(persistentVolumeClaim={"claimName": "db"}), "spec.volumes.persistentVolumeCl"),
    (lambda: volume(configMap={"name": "airflow"}), "spec.volumes.configMap.name"),
    (lambda: volume(secret={"secretName": "airflow"}), "spec.volumes.secret.secretName"),
    (lambda: volume(projected=TOKEN), "spec.volumes.projected.sources.serviceAccountToken.path"),
    (lambda: volume(csi={"driver": "d"}), "spec.volumes.csi.driver"),
    (lambda: volume(ephemeral=CLAIM), "spec.volumes.ephemeral.volumeClaimTemplate.spec.storageCla"),
    (lambda: volume(image={"reference": "evil"}), "spec.volumes.image.reference"),
    (lambda: volume(hostPath={"path": "/"}), "spec.volumes.hostPath.path"),
    (lambda: volume(nfs={"path": "/", "server": "nas"}), "spec.volumes.nfs.path"),
    (lambda: container(envFrom=[{"configMapRef": {"name": "x"}}]), "spec.containers.envFrom.conf"),
    (
        lambda: container(
            env=[{"name": "A", "valueFrom": {"configMapKeyRef": KEY["secretKeyRef"]}}]
        ),
        "spec.containers.env.valueFrom.configMapKeyRef.name",
    ),
    (lambda: pod(serviceAccountName="admin"), "spec.serviceAccountName"),
    (lambda: pod(resourceClaims=[{"name": "gpu"}]), "spec.resourceClaims.name"),
    (
        lambda: container(resources={"claims": [{"name": "gpu"}]}),
        "spec.containers.resources.claims.name",
    ),
    # Where it runs, and beside whom.
    (lambda: options(node_selector={CONTROL: ""}), "spec.nodeSelector"),
    (lambda: options(node_selector={"kubernetes.io/hostname": "n1"}), "spec.nodeSelector"),
    (lambda: options(tolerations=[{"operator": "Exists"}]), "spec.tolerations"),
    (lambda: options(tolerations=[{"key": CONTROL, "operator": "Exists"}]), "spec.tolerations"),
    (lambda: pod(nodeName="master"), "spec.nodeName"),
    (lambda: pod(runtimeClassName="runc"), "spec.runtimeClassName"),
    (lambda: pod(schedulerName="mine"), "spec.schedulerName"),
    (lambda: pod(priority=2_000_000_000), "spec.priority"),
    (lambda: pod(schedulingGates=[{"name": "never"}]), "spec.schedulingGates.name"),
    (lambda: near(topologyKey="zone"), "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgn"),
    (
        lambda: near(topologyKey="zone", namespaces=["theirs"]),
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.namespaces",
    ),
    # What it may do there.
    (lambda: pod(hostUsers=True), "spec.hostUsers"),
    (lambda: pod(shareProcessNamespace=True), "spec.shareProcessNamespace"),
    (
        lambda: pod(securityContext={"sysctls": [{"name": "kernel.x", "value": "1"}]}),
        "spec.securityContext.sysctls.name",
    ),
    (lambda: pod(securityContext={"seccompProfile": LOCALHOST}), "spec.securityContext.seccomp"),
    (lambda: pod(securityContext={"supplementalGroups": [0]}), "spec.securityContext.supplement"),
    (
        lambda: container(securityContext={"appArmorProfile": LOCALHOST}),
        "spec.containers.securityContext.appArmorProfile.type",
    ),
    (
        lambda: container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
        "spec.containers.securityContext.capabilities.add",
    ),
    (
        lambda: container(securityContext={"procMount": "Unmasked"}),
        "spec.containers.securityContext.procMount",
    ),
    (
        lambda: container(volumeDevices=[{"name": "v", "devicePath": "/dev/sda"}]),
        "spec.containers.volumeDevices.name",
    ),
    (
        lambda: options(
            volume_mounts=[{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]
        ),
        "spec.containers.volumeMounts.mountPropagation",
    ),
    (lambda: pod(terminationGracePeriodSeconds=9_999), "spec.terminationGracePeriodSeconds"),
    (lambda: pod(activeDeadlineSeconds=9_999), "spec.activeDeadlineSeconds"),
    (lambda: pod(restartPolicy="Always"), "spec.restartPolicy"),
    # As whom others see it.
    (lambda: pod(hostname="db", subdomain="prod"), "spec.hostname"),
    (lambda: pod(setHostnameAsFQDN=True), "spec.setHostnameAsFQDN"),
    (lambda: pod(hostAliases=[{"ip": "1.2.3.4", "hostnames": ["s3"]}]), "spec.hostAliases.ip"),
    (lambda: pod(dnsPolicy="None"), "spec.dnsPolicy"),
    (lambda: pod(dnsConfig={"nameservers": ["1.2.3.4"]}), "spec.dnsConfig.nameservers"),
    (lambda: metadata(labels={"app": "database"}), "metadata.labels.app"),
    (
        lambda: metadata(annotations={"iam.amazonaws.com/role": "admin"}),
        "metadata.annotations.iam.amazonaws.com/role",
    ),
    (
        lambda: metadata(
            annotations={"container.apparmor.security.beta.kubernetes.io/trial": "unconfined"}
        ),
        "metadata.annotations.container.apparmor.security.beta.kubernetes.io/trial",
    ),
    (lambda: metadata(annotations={"sidecar.istio.io/inject": "false"}), "metadata.annotations.si"),
    (lambda: metadata(finalizers=["x/y"]), "metadata.finalizers"),
    (
        lambda: metadata(
            ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]
        ),
        "metadata.ownerReferences.apiVersion",
    ),
    # What runs before its program.
    (lambda: container(**env(LD_PRELOAD="/data/x.so")), "spec.containers.env: names with HPO_, A"),
    (lambda: container(**env(HPO_TRIAL="7")), "spec.containers.env: names with HPO_, AIRFLOW or"),
    (lambda: container(**env(BASH_ENV="$(id)")), "spec.containers.env: BASH_ENV changes the code"),
    (
        lambda: options(secrets=[{"env": "LD_AUDIT", "name": "airflow", "key": "k"}]),
        "spec.containers.env: names with HPO_, AIRFLOW or LD_ in front are taken, got LD_AUDIT",
    ),
    (
        lambda: container(envFrom=[{"prefix": "LD", "secretRef": {"name": "mine"}}]),
        "spec.containers.envFrom.prefix: must not be the beginning of a name that is taken",
    ),
    (
        lambda: pod(initContainers=[{"name": "first", **env(PYTHONSTARTUP="/x.py")}]),
        "spec.initContainers.env: PYTHONSTARTUP changes the code",
    ),
]
ATTACKS: list[tuple[Callable[[], None], str]] = [
    *((attack, f"trial.options: {path}") for attack, path in POD_ATTACKS),
    # A resource that makes pods.
    (lambda: job({"hostUsers": True}), "trial.options.resource.spec.template: spec.hostUsers"),
    (
        lambda: job({"volumes": [{"name": "v", "configMap": {"name": "airflow"}}]}),
        "trial.options.resource.spec.template: spec.volumes.configMap.name",
    ),
    (
        lambda: job({"nodeSelector": {CONTROL: ""}}),
        "trial.options.resource.spec.template: spec.nodeSelector",
    ),
    (
        lambda: job({"containers": [{**MAIN, **env(LD_PRELOAD="/x.so")}]}),
        "trial.options.resource.spec.template: spec.containers.env: names with HPO_, AIRFLOW or",
    ),
    (lambda: job(suspend=True), "trial.options.resource.spec.suspend"),
    (lambda: job(managedBy="mine/x"), "trial.options.resource.spec.managedBy"),
    (lambda: job(ttlSecondsAfterFinished=0), "trial.options.resource.spec.ttlSecondsAfterFinish"),
    (
        lambda: job(paralelism=2),
        "trial.options.resource.spec.paralelism: there is no such field, did you mean 'parallel",
    ),
    (
        lambda: job(completions="two"),
        'trial.options.resource.spec.completions: must be a whole number, got "two"',
    ),
    (
        lambda: job(metadata={"labels": {"app": "db"}}),
        "trial.options.resource: metadata.labels.app",
    ),
    (
        lambda: job(metadata={"ownerReferences": [{"name": "x"}]}),
        "trial.options.resource: metadata.ownerReferences.0.apiVersion: is required",
    ),
    (
        lambda: job(metadata={"annotations": {"iam.amazonaws.com/role": "admin"}}),
        "trial.options.resource: metadata.annotations.iam.amazonaws.com/role",
    ),
    # The same where it is no pod template: a controller makes one of it.
    *(
        (
            lambda asked=asked: train(podTemplateOverrides=[{"spec": asked}]),
            f"trial.options.resource.spec.podTemplateOverrides.spec.{path}",
        )
        for asked, path in (
            ({"tolerations": [{"operator": "Exists"}]}, "tolerations.operator"),
            ({"nodeSelector": {CONTROL: ""}}, f"nodeSelector.{CONTROL}"),
            ({"volumes": [{"configMap": {"name": "x"}}]}, "volumes.configMap.name"),
            ({"runtimeClassName": "runc"}, "runtimeClassName"),
            ({"hostAliases": [{"ip": "1.2.3.4"}]}, "hostAliases.ip"),
            ({"containers": {"name": "x"}}, "containers.name"),
        )
    ),
    (
        lambda: tf(runPolicy={"schedulingPolicy": {"priorityClass": "system"}}),
        "trial.options.resource.spec.runPolicy.schedulingPolicy.priorityClass",
    ),
    (
        lambda: train(annotations={"iam.amazonaws.com/role": "admin"}),
        "trial.options.resource.spec.annotations.iam.amazonaws.com/role",
    ),
    (
        lambda: train(trainer=env(LD_PRELOAD="/x.so")),
        "trial.options.resource.spec.trainer.env: names with HPO_, AIRFLOW or LD_ in front",
    ),
    (
        lambda: train(trainer={"env": {"BASH_ENV": "$(id)"}}),
        "trial.options.resource.spec.trainer.env: BASH_ENV changes the code",
    ),
    (
        lambda: train(trainer={"image": "evil/miner"}),
        "trial.options.resource.spec.trainer.image",
    ),
    (
        lambda: train(storage={"volumeClaimTemplates": [{"spec": {"x": 1}}]}),
        "trial.options.resource.spec.storage.volumeClaimTemplates.spec.x",
    ),
    # ECS.
    (lambda: ecs(image="evil/miner"), "trial.image: must match one of"),
    *(
        (lambda name=name: ecs({name: "x"}), f'trial.options: unknown key "{name}"')
        for name in (
            *("network_mode", "enable_execute_command", "volumes", "privileged", "user", "tags"),
            *("overrides", "pid_mode", "propagate_tags", "placement_constraints"),
        )
    ),
    (lambda: ecs({"task_role": "arn:aws:iam::1:role/admin"}), "trial.options.task_role"),
    (lambda: ecs({"execution_role": "arn:aws:iam::1:role/x"}), "trial.options.execution_role"),
    (lambda: ecs({"launch_type": "EC2"}), "trial.options.launch_type"),
    (lambda: ecs({"subnets": ["subnet-9"]}), "trial.options.subnets"),
    (lambda: ecs({"task_definition": "admin:1"}, image=None), "trial.options.task_definition"),
    (
        lambda: ecs({"secrets": [{"env": "KEY", "arn": "arn:aws:s:${params.x}"}]}),
        "trial.options.secrets: this installation allows arn:aws:s:*, got",
    ),
    (lambda: named({"container": "vault"}), "trial.options.container: this installation allows t"),
    (
        lambda: ecs({"secrets": [{"env": "LD_PRELOAD", "arn": "arn:aws:s:x"}]}),
        "trial.options.secrets: names with HPO_, AIRFLOW or LD_ in front are taken",
    ),
    (
        lambda: named(env={"PATH": "/data"}),
        "trial.env: PATH changes the code that a program runs",
    ),
    (lambda: named(env={"NODE_OPTIONS": "-r x"}), "trial.env: NODE_OPTIONS changes the code"),
    # Docker.
    (lambda: docker(image="evil/miner"), "trial.image: must match one of"),
    *(
        (lambda name=name: docker({name: "x"}), f'trial.options: unknown key "{name}"')
        for name in (
            *("volumes", "mounts", "network", "devices", "user", "cap_add", "labels", "privileged"),
            *("entrypoint", "security_opt", "pid_mode", "ipc_mode", "runtime", "device_requests"),
        )
    ),
    (lambda: docker(env={"LD_LIBRARY_PATH": "/x"}), "trial.env: names with HPO_, AIRFLOW or LD_"),
    (lambda: docker(env={"GLIBC_TUNABLES": "x"}), "trial.env: GLIBC_TUNABLES changes the code"),
    # Serving on Kubernetes, where the program is the installation's.
    (lambda: serve(namespace="kube-system"), "deploy.options.namespace"),
    (lambda: serve(image="evil/miner"), "deploy.options.image: must be left out in this"),
    *(
        (lambda name=name: serve(**{name: "x"}), f'deploy.options: unknown key "{name}"')
        for name in ("service_type", "ingress", "load_balancer", "service_account", "annotations")
    ),
    (
        lambda: server(**env(PYTHONPATH="/models/code")),
        "deploy.options.pod_template: spec.containers.env: PYTHONPATH changes the code",
    ),
    (
        lambda: server(command=["sh"]),
        "deploy.options.pod_template: spec.containers.command: is not allowed",
    ),
    (
        lambda: serve(pod_template={"spec": {"tolerations": [{"operator": "Exists"}]}}),
        "deploy.options.pod_template: spec.tolerations: this installation allows none (serve.t",
    ),
    (
        lambda: serve(pod_template={"spec": {"containers": {"name": "server"}}}),
        "deploy.options.pod_template: spec.containers: must be a list",
    ),
    # SageMaker and MLflow.
    (lambda: sagemaker(role="arn:aws:iam::1:role/admin"), "deploy.options.role"),
    (lambda: sagemaker(image="evil"), "deploy.options.image"),
    (lambda: sagemaker(endpoint="payments"), "deploy.options.endpoint"),
    (lambda: sagemaker(instance_type="ml.p5.48xlarge"), "deploy.options.instance_type"),
    *(
        (lambda name=name: sagemaker(**{name: "x"}), f'deploy.options: unknown key "{name}"')
        for name in ("subnets", "security_groups", "network_isolation", "environment", "models")
    ),
    (lambda: mlflow(model="payments"), "deploy.options.model: this installation allows iris*"),
    (lambda: mlflow(alias="production"), "deploy.options.alias: this installation allows champ"),
    (lambda: mlflow(model="../iris"), "deploy.options.model: must be letters"),
    (lambda: mlflow(scoring="http://x"), 'deploy.options: unknown key "scoring"'),
    # Artifacts.
    *(
        (lambda uri=uri: artifacts(uri), f"artifacts.uri: {words}")
        for uri, words in (
            ("s3://bucket/other", "must lie below one of"),
            ("s3://bucket/team2", "must lie below one of"),
            ("s3://bucket2/team", "must lie below one of"),
            ("s3a://bucket/team", "must lie below one of"),
            ("file:///shared/team2", "must lie below one of"),
            ("s3://bucket/team/../other", "must be a URI"),
            ("s3://bucket/team/./x", "must be a URI"),
            ("s3://bucket/team/%2e%2e/other", "must be a URI"),
            ("s3://bucket/team//x", "must be a URI"),
            ("S3://bucket/team", "must be a URI"),
            ("s3://bucket/team?versionId=1", "must hold no credentials and no query"),
            ("s3://bucket/team#x", "must hold no credentials and no query"),
            ("s3://key:sesame@bucket/team", "must hold no credentials and no query"),
            ("file:///shared/team/../../etc", "must be a URI"),
            ("file://shared/team", "must name an absolute folder"),
        )
    ),
]


@pytest.mark.parametrize(("attack", "line"), ATTACKS, ids=[line[:70] for _, line in ATTACKS])
def test_what_is_not_allowed_is_refused_with_its_path(
    attack: Callable[[], None], line: str
) -> None:
    with pytest.raises(SpecError) as caught:
        attack()
    assert any(one.startswith(line) for one in str(caught.value).splitlines()), str(caught.value)


@pytest.mark.parametrize(
    "ask",
    [
        options,
        ecs,
        docker,
        serve,
        sagemaker,
        mlflow,
        job,
        lambda: tf(tfReplicaSpecs={"Chief": {"template": {"spec": {"containers": [MAIN]}}}}),
        lambda: train(trainer={"image": "hpo-trial:1", "numNodes": 2, "command": ["x"]}),
        lambda: named(env={"EPOCHS": "3"}),
        lambda: docker(env={"PYTHONPATH": "src", "PATH": "/opt/bin"}),
        lambda: container(**env(PYTHONPATH="src", OMP_NUM_THREADS="1")),
        lambda: artifacts("s3://bucket/team/x"),
    ],
)
def test_what_anybody_needs_is_allowed(ask: Callable[[], None]) -> None:
    ask()
