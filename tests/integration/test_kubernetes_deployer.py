"""Models served by a real cluster, by a fake server, and under load.

Quick tests serve with a few lines of Python in place of TensorFlow, on the image HPO_TEST_PYTHON.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from hpo_lib.deployers import Release
from hpo_lib.deployers.answers import predict_path
from hpo_lib.deployers.kubernetes import KubernetesDeployer
from hpo_lib.deployers.manifests import FETCH, MAX_CONFIG_BYTES, SERVER, ServeOptions, ServeRules
from hpo_lib.deployers.sample import read_sample
from hpo_lib.errors import SpecError, TransientError
from tests.acceptance.test_digits import own_address
from tests.acceptance.test_train import run
from tests.integration.deployer_contract import DeployerContract, MakeRelease, serve
from tests.integration.test_kubernetes_backend import connect
from tests.model_server import fake_server

PYTHON = os.environ.get("HPO_TEST_PYTHON", "python:3.12-slim")
PATIENCE_S = 120.0

pytestmark = [
    pytest.mark.needs("KUBECONFIG"),
    pytest.mark.filterwarnings("ignore:Unverified HTTPS request"),
]

#: A model is a number here, by which rows are multiplied; a server with another file ends at once.
FAKE_SERVER = fake_server("""
factor = float((folder / version / "saved_model.pb").read_text())
def predict(rows):
    return [factor * row for row in rows]
""")


@pytest.fixture(scope="module")
def core() -> Any:
    return connect()


@pytest.fixture
def namespace(core: Any) -> Iterator[str]:
    made = core.create_namespace({"metadata": {"generateName": "hpo-serve-"}})
    yield made.metadata.name
    core.delete_namespace(made.metadata.name)


#: As in docs/deploy.md.
PERMISSIONS = {
    "apps/deployments": ["get", "create", "update", "delete"],
    "/services": ["get", "create", "update", "delete"],
    "/configmaps": ["list", "create", "deletecollection"],
    "/endpoints": ["get"],
    "/pods": ["list"],
    "/pods/proxy": ["get", "create"],
    "/services/proxy": ["get", "create"],
}


def allow(namespace: str, user: str, permissions: dict[str, list[str]]) -> None:
    """Let a user do this much in a namespace."""
    from kubernetes.client import RbacAuthorizationV1Api

    api, group = RbacAuthorizationV1Api(connect().api_client), "rbac.authorization.k8s.io"
    listed = [
        {"apiGroups": [name.partition("/")[0]], "resources": [name.partition("/")[2]], "verbs": to}
        for name, to in permissions.items()
    ]
    api.create_namespaced_role(namespace, {"metadata": {"name": user}, "rules": listed})
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": user},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
    api.create_namespaced_role_binding(namespace, binding)


def rules(namespace: str, **more: Any) -> ServeRules:
    template = {"spec": {"containers": [{"name": SERVER, "command": FAKE_SERVER}]}}
    template["spec"]["terminationGracePeriodSeconds"] = 1
    known = {"namespaces": (namespace,), "grace_s": 1.0, "pod_template": template, "image": PYTHON}
    known |= {"images": ("localhost:9/*",)}
    return ServeRules(**(known | more))


def saved(folder: Path, version: int, model: str, predictions: list[float]) -> Release:
    """Write what a training would leave."""
    saved_model = folder / "saved_model" / "1"
    saved_model.mkdir(parents=True)
    (saved_model / "saved_model.pb").write_text(model)
    sample = {"instances": [1.0, 2.0], "predictions": predictions}
    (folder / "sample.json").write_text(json.dumps(sample))
    return Release("digits", version, folder, {})


@dataclass
class Load:
    """Threads that ask the Service all the time, as users do, and count."""

    deployer: KubernetesDeployer
    body: bytes = b'{"instances": [1.0]}'
    right: Callable[[int, bytes], bool] = lambda version, answer: (
        json.loads(answer) == {"predictions": [10.0 * version]}
    )
    threads: int = 3
    pause_s: float = 0.05
    answers: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    log: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> Load:
        self.ended, self.lock = threading.Event(), threading.Lock()
        self.pool = ThreadPoolExecutor(self.threads)
        self.asking = [self.pool.submit(self._ask) for _ in range(self.threads)]
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.pool.shutdown()
        for one in self.asking:
            one.result()

    def begun(self) -> float:
        """Give a time: requests that begin later are seen by `after`."""
        return time.monotonic()

    def after(self, begun: float) -> set[int]:
        """Give the versions that answered requests begun later."""
        return {version for start, version in self.log if start > begun}

    def run_for(self, answers: int) -> None:
        """Wait for so many more answers."""
        wanted, end = len(self.log) + answers, time.monotonic() + PATIENCE_S
        while len(self.log) + len(self.lost) < wanted:
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def _ask(self) -> None:
        deployer = KubernetesDeployer(
            self.deployer.experiment,
            self.deployer.options,
            connect,
            self.deployer.rules,
            self.deployer.store,
        )
        client, plan = deployer.core.api_client, deployer.plan
        headers: dict[str, str] = {"Content-Type": "application/json"}
        client.update_params_for_auth(headers, [], ["BearerToken"])
        place = f"/api/v1/namespaces/{plan.namespace}/services/{plan.name}:http/proxy"
        url = f"{client.configuration.host}{place}{predict_path(plan.name)}"
        while not self.ended.wait(self.pause_s):
            start = time.monotonic()
            answer = client.rest_client.pool_manager.request(
                "POST", url, body=self.body, headers=headers, retries=False
            )
            self._count(start, answer)

    def _count(self, start: float, answer: Any) -> None:
        with self.lock:
            if answer.status != 200:
                self.lost.append(f"{answer.status} {answer.data[:200]!r}")
                return
            version = int(answer.headers["X-Model-Version"])
            if not self.right(version, answer.data):
                self.lost.append(f"version {version}: {answer.data!r}")
            self.answers[version] += 1
            self.log.append((start, version))


class TestKubernetesDeployer(DeployerContract):
    """The contract, and what only a cluster does."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @pytest.fixture
    def deployer(self, namespace: str) -> KubernetesDeployer:
        options = ServeOptions(start_timeout="1m")
        return KubernetesDeployer("digits", options, connect, rules(namespace), "s1")

    @pytest.fixture
    def release(self) -> MakeRelease:
        return self.made

    def made(self, version: int, *, good: bool = True) -> Release:
        folder = self.folder / f"{version}-{good}"
        if folder.exists():
            return Release("digits", version, folder, {})
        right = [10.0 * version, 20.0 * version]
        return saved(folder, version, str(10.0 * version), right if good else [0.0, 0.0])

    def test_a_wrong_answer_is_shown(self, deployer: KubernetesDeployer) -> None:
        bad = self.made(2, good=False)
        deployer.stage(bad)
        assert deployer.try_out(bad) == (
            "its prediction for row 0 of sample.json must be about 0.0, got 20.0"
        )

    def test_a_server_that_ends_says_why(self, deployer: KubernetesDeployer) -> None:
        broken = saved(self.folder / "broken", 3, "no number", [0.0, 0.0])
        deployer.stage(broken)
        assert deployer.try_out(broken) == (
            "its server ends with code 1: ValueError: could not convert string to float: "
            "'no number'"
        )

    def test_an_image_that_nobody_has(self, namespace: str) -> None:
        options = ServeOptions(image="localhost:9/no-such-image:1")
        deployer = KubernetesDeployer("digits", options, connect, rules(namespace))
        deployer.stage(self.made(1))
        assert deployer.try_out(self.made(1)).startswith("its pod cannot start: ")

    def test_a_version_that_never_becomes_ready(self, namespace: str) -> None:
        options = ServeOptions.model_validate({"resources": {"gpu": 1000}, "start_timeout": "3s"})
        deployer = KubernetesDeployer("digits", options, connect, rules(namespace))
        deployer.stage(self.made(1))
        found = deployer.try_out(self.made(1))
        assert found.startswith("it is not ready after 3s: Unschedulable: ")
        assert "nvidia.com/gpu" in found

    def test_pods_may_do_little(self, deployer: KubernetesDeployer, core: Any) -> None:
        serve(deployer, self.made(1))
        (pod,) = core.list_namespaced_pod(deployer.plan.namespace).items
        assert pod.spec.security_context.run_as_non_root
        assert pod.spec.automount_service_account_token is False
        context = pod.spec.containers[0].security_context
        assert context.read_only_root_filesystem
        assert context.capabilities.drop == ["ALL"]

    def test_the_name_of_another_experiment_is_not_taken(
        self, served: KubernetesDeployer, namespace: str
    ) -> None:
        options = ServeOptions(name="digits")
        other = KubernetesDeployer("other", options, connect, rules(namespace), "s1")
        with pytest.raises(SpecError, match=r"options\.name: .*/digits-v1 is not of this"):
            other.stage(self.made(1))
        with pytest.raises(SpecError, match=r"options\.name: "):
            other.serving()

    def test_a_service_that_somebody_else_has_changed_is_not_switched(
        self, served: KubernetesDeployer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        served.stage(self.made(2))
        assert served.try_out(self.made(2)) == ""
        seen = served._service()
        other = {"metadata": {"annotations": {"other": "change"}}}
        served.core.patch_namespaced_service(served.plan.name, served.plan.namespace, other)
        monkeypatch.setattr(KubernetesDeployer, "_service", lambda _: seen)
        with pytest.raises(TransientError, match="409 Conflict"):
            served.switch(2)
        monkeypatch.undo()
        assert served.serving() == 1
        served.switch(2)
        assert served.verify(2) == ""

    def test_what_may_not_be_asked_is_no_fault_of_the_model(self, namespace: str) -> None:
        less = {name: to for name, to in PERMISSIONS.items() if name != "/pods/proxy"}
        deployer = self.limited(namespace, less)
        deployer.stage(self.made(1))
        with pytest.raises(SpecError, match=r'refuses: .* cannot get resource "pods/proxy"'):
            deployer.try_out(self.made(1))

    def limited(self, namespace: str, permissions: dict[str, list[str]]) -> KubernetesDeployer:
        allow(namespace, "deployer", permissions)

        def connect_as() -> Any:
            core = connect()
            core.api_client.set_default_header("Impersonate-User", "deployer")
            return core

        return KubernetesDeployer("digits", ServeOptions(), connect_as, rules(namespace))

    def test_what_the_documentation_asks_to_be_allowed_is_enough(self, namespace: str) -> None:
        deployer = self.limited(namespace, PERMISSIONS)
        serve(deployer, self.made(1))
        assert deployer.verify(1) == ""
        deployer.stage(self.made(2, good=False))
        deployer.stage(self.made(2))
        serve(deployer, self.made(2))
        deployer.drop(1)
        assert deployer.verify(2) == ""

    def test_more_replicas_are_a_rolling_update(self, served: KubernetesDeployer) -> None:
        from dataclasses import replace

        more = replace(served, options=ServeOptions(replicas=2))
        serve(more, self.made(1))
        assert more.verify(1) == ""
        assert len(more._pods(1)) == 2

    def test_what_the_cluster_refuses_is_said(self, namespace: str) -> None:
        template = {"spec": {"nodeSelector": {"not a label": "x"}}}
        options = ServeOptions(pod_template=template)
        allowed = rules(namespace, node_selectors=("*",))
        deployer = KubernetesDeployer("digits", options, connect, allowed)
        with pytest.raises(SpecError, match=r"kubernetes refuses: .*not a label"):
            deployer.stage(self.made(1))

    def test_under_load_no_request_is_lost(self, served: KubernetesDeployer) -> None:
        """A good version, a bad one, and back: all answered, each by one version."""
        with Load(served) as load:
            load.run_for(100)
            serve(served, self.made(2))
            assert served.verify(2) == ""
            before = load.begun()
            load.run_for(100)
            served.drop(1)
            load.run_for(100)
            bad = self.made(3, good=False)
            served.stage(bad)
            assert not served.try_out(bad).passed
            load.run_for(100)
            served.drop(3)
            load.run_for(100)
        assert load.lost == []
        assert set(load.answers) == {1, 2}
        assert load.after(before) == {2}, "nothing but the new version after the switch"
        assert load.answers.total() >= 500

    def test_a_switch_back_under_load_loses_nothing(self, served: KubernetesDeployer) -> None:
        with Load(served) as load:
            serve(served, self.made(2))
            load.run_for(50)
            for version in (1, 2, 1):
                served.switch(version)
                before = load.begun()
                load.run_for(50)
        assert load.lost == []
        assert load.after(before) == {1}


# ------------------------------------------------------------- the real server with a real model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train for real, and give the model's folder."""
    ended = run(["--epochs=2", "--units=16", "--layers=1"], tmp_path_factory.mktemp("trained"))
    assert ended.code == 0, ended.err
    return ended.output / "model"


def real_rules(namespace: str, **more: Any) -> ServeRules:
    image = os.environ["HPO_SERVE_IMAGE"]
    return ServeRules(namespaces=(namespace,), image=image, grace_s=1.0, **more)


@pytest.mark.needs("HPO_SERVE_IMAGE")
def test_a_keras_model_is_served_and_a_broken_one_does_not_take_its_place(
    namespace: str, trained: Path, tmp_path: Path
) -> None:
    options = ServeOptions.model_validate({"resources": {"memory": "2Gi"}})
    deployer = KubernetesDeployer("digits", options, connect, real_rules(namespace), "s1")
    serve(deployer, Release("digits", 1, trained, {}))
    assert deployer.verify(1) == ""
    broken = Path(shutil.copytree(trained, tmp_path / "broken"))
    (broken / "saved_model" / "1" / "saved_model.pb").write_bytes(b"broken")
    sample = read_sample((trained / "sample.json").read_bytes())

    def right(_: int, answer: bytes) -> bool:
        return sample.check(answer).passed

    with Load(deployer, sample.request, right) as load:
        load.run_for(50)
        release = Release("digits", 2, broken, {})
        deployer.stage(release)
        problem = deployer.try_out(release)
        assert problem.startswith("its server ends with code 1: cannot load the model: ")
        deployer.drop(2)
        serve(deployer, Release("digits", 3, trained, {}))
        before = load.begun()
        load.run_for(50)
        deployer.drop(1)
        load.run_for(50)
    assert load.lost == []
    assert set(load.answers) == {1, 3}
    assert load.after(before) == {3}
    assert deployer.verify(3) == ""


@pytest.mark.needs("HPO_SERVE_IMAGE")
def test_a_large_model_comes_from_the_object_store(
    core: Any, namespace: str, trained: Path, tmp_path: Path
) -> None:
    """With credentials that are the fetching container's alone."""
    from upath import UPath

    large = Path(shutil.copytree(trained, tmp_path / "large"))
    (large / "more.bin").write_bytes(b"x" * MAX_CONFIG_BYTES)
    server = ThreadedMotoServer(ip_address="0.0.0.0", port=0)
    server.start()
    try:
        address = f"http://{own_address()}:{server.get_host_and_port()[1]}"
        keys = {"key": "a", "secret": "b", "endpoint_url": address}
        folder = UPath("s3://models/digits", use_listings_cache=False, **keys)
        folder.fs.mkdir("models")
        folder.fs.put(str(large), "models/digits", recursive=True)
        data = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        data |= {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
        core.create_namespaced_secret(namespace, {"metadata": {"name": "s3"}, "stringData": data})
        fetch = {"name": FETCH, "envFrom": [{"secretRef": {"name": "s3"}}]}
        rules = real_rules(namespace, pod_template={"spec": {"initContainers": [fetch]}})
        deployer = KubernetesDeployer("digits", ServeOptions(), connect, rules, "s1")
        serve(deployer, Release("digits", 12, folder, {}))
        assert deployer.verify(12) == ""
        missing = UPath("s3://models/none", use_listings_cache=False, **keys)
        with pytest.raises(SpecError, match="holds no model"):
            deployer.stage(Release("digits", 13, missing, {}))
    finally:
        server.stop()
    (pod,) = core.list_namespaced_pod(namespace).items
    assert pod.spec.containers[0].env_from is None
