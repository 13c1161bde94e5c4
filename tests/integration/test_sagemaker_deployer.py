"""Airflow's own, unmodified operators against a fake of SageMaker: see fake_sagemaker.py."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from hpo_lib.deployers import Release
from hpo_lib.deployers.sagemaker import SageMakerDeployer
from hpo_lib.deployers.sagemaker_request import (
    SageMakerOptions,
    SageMakerRules,
    name_of,
    pack,
    version_of,
)
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.files.artifacts import open_folder
from tests.integration.deployer_contract import (
    EXPERIMENT,
    SAMPLE,
    Crash,
    CrashContract,
    MakeRelease,
    serve,
)
from tests.integration.fake_sagemaker import FakeSageMaker, fake_sagemaker

ROLE = "arn:aws:iam::123456789012:role/serve"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-inference:2.19-cpu"
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "sekret", "region_name": "us-east-1"}
RULES: dict[str, Any] = {"images": (IMAGE,), "roles": (ROLE,), "models": "s3://bucket/served"}
#: Nobody listens there.
NOWHERE = "http://127.0.0.1:1"
HURRY = Config(retries={"max_attempts": 0}, connect_timeout=2)


@cache
def client(service: str, *, address: str) -> Any:
    """Connect, once: reading what SageMaker can do takes a second."""
    return boto3.client(service, endpoint_url=address, config=HURRY, **KEYS)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeSageMaker]:
    with fake_sagemaker() as made:
        client("s3", address=made.address).create_bucket(Bucket="bucket")
        yield made


@pytest.fixture(autouse=True)
def _airflow(fake: FakeSageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead Airflow's connection to the fake."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    extra = {"endpoint_url": fake.address, "region_name": "us-east-1"}
    found = {"conn_type": "aws", "login": "a", "password": "sekret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(found))


@pytest.fixture
def offers(fake: FakeSageMaker) -> dict[str, Any]:
    region = {"region_name": "us-east-1"}
    options = {"endpoint_url": fake.address, "key": "a", "secret": "b", "client_kwargs": region}
    return {"s3://bucket": lambda: options}


class Counted:
    """A client, or Airflow's operators, until the process crashes: before or after a request."""

    def __init__(self, real: Any, crash: Callable[[], None]) -> None:
        self.real, self.crash = real, crash

    def __getattr__(self, name: str) -> Any:
        def run(*some: Any, **asked: Any) -> Any:
            self.crash()
            answer = getattr(self.real, name)(*some, **asked)
            self.crash()
            return answer

        return run


class TestSageMaker(CrashContract):
    @pytest.fixture
    def deployer(
        self, fake: FakeSageMaker, offers: dict[str, Any], tmp_path: Path
    ) -> Iterator[SageMakerDeployer]:
        """Give one with an endpoint for this test alone."""
        from hpo_airflow.operators.sagemaker import SageMakerOperators

        name = re.sub("[^a-z0-9]+", "-", tmp_path.name).strip("-")
        yield SageMakerDeployer(
            EXPERIMENT,
            SageMakerOptions(endpoint=name),
            partial(client, address=fake.address),
            SageMakerOperators("aws_default", None),
            SageMakerRules(**RULES),
            offers,
            poll_s=0.0,
        )
        fake.answer = None
        fake.broken.clear()
        left = client("sagemaker", address=fake.address).list_endpoints(NameContains="-try")
        busy = [one for one in left["Endpoints"] if one["EndpointStatus"] != "Deleting"]
        assert busy == [], "endpoints that are tried out cost money"

    @pytest.fixture
    def crashing(
        self, deployer: SageMakerDeployer, fake: FakeSageMaker
    ) -> Callable[[int], SageMakerDeployer]:
        def make(left: int) -> SageMakerDeployer:
            counter = iter(range(left))

            def crash() -> None:
                if next(counter, None) is None:
                    raise Crash

            def connect(service: str) -> Any:
                return Counted(client(service, address=fake.address), crash)

            return replace(deployer, connect=connect, operators=Counted(deployer.operators, crash))

        return make

    @pytest.fixture
    def unreachable(self, deployer: SageMakerDeployer) -> SageMakerDeployer:
        return replace(deployer, connect=partial(client, address=NOWHERE))

    def test_sagemaker_gets_what_is_allowed(
        self, deployer: SageMakerDeployer, offers: dict[str, Any], release: MakeRelease
    ) -> None:
        deployer.stage(release(3))
        name = name_of(deployer.endpoint, 3)
        model = deployer.sagemaker.describe_model(ModelName=name)
        assert model["ExecutionRoleArn"] == ROLE
        assert model["PrimaryContainer"]["Image"] == IMAGE
        data = f"s3://bucket/served/{deployer.endpoint}/v3/model.tar.gz"
        assert model["PrimaryContainer"]["ModelDataUrl"] == data
        config = deployer.sagemaker.describe_endpoint_config(EndpointConfigName=name)
        (variant,) = config["ProductionVariants"]
        assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.large", 1)
        folder = open_folder(data.removesuffix("/model.tar.gz"), offers["s3://bucket"]())
        with tarfile.open(fileobj=io.BytesIO((folder / "model.tar.gz").read_bytes())) as archive:
            assert archive.getnames() == ["3/saved_model.pb", "3/variables/variables.index"]
        deployer.drop(3)
        assert not (folder / "model.tar.gz").exists()

    def test_data_may_lie_beside_the_models_own_files(
        self, deployer: SageMakerDeployer, offers: dict[str, Any], release: MakeRelease
    ) -> None:
        output = open_folder(f"s3://bucket/runs/{deployer.endpoint}", offers["s3://bucket"]())
        (output / "model" / "sample.json").write_bytes(json.dumps(SAMPLE).encode())
        (output / "model" / "model.bin").write_bytes(b"x")
        beside = replace(deployer, rules=SageMakerRules(**RULES | {"models": None}))
        serve(beside, Release(EXPERIMENT, 1, output / "model", {}))
        assert (output / "sagemaker-v1" / "model.tar.gz").exists()
        with pytest.raises(SpecError, match=r"reads models from S3, where artifacts\.uri has to"):
            beside.stage(release(2))

    def test_an_endpoint_that_does_not_start_fails_the_trial_with_its_reason(
        self, deployer: SageMakerDeployer, fake: FakeSageMaker, release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        fake.broken.add(name_of(deployer.endpoint, 2))
        deployer.stage(release(2))
        found = deployer.try_out(release(2))
        assert found == (
            "it does not start: Failed (The container did not pass the ping health check.)"
        )
        assert deployer.serving() == 1

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b'{"predictions": [[0.9, 0.1], [0.8, 0.2]]}', "row 1 of sample.json must be about"),
            (b'{"predictions": [[0.9, 0.1]]}', "must have 2 predictions, got 1"),
            (b'{"predictions": [[NaN, 0.1], [0.2, 0.8]]}', "row 0 of sample.json must be about"),
            (b"body", "must list predictions"),
        ],
    )
    def test_a_wrong_answer_fails_the_trial(
        self,
        deployer: SageMakerDeployer,
        fake: FakeSageMaker,
        release: MakeRelease,
        answer: bytes,
        words: str,
    ) -> None:
        fake.answer = answer
        deployer.stage(release(1))
        assert words in deployer.try_out(release(1))
        assert deployer.serving() is None

    def test_a_wrong_answer_is_seen_where_it_serves(
        self, deployer: SageMakerDeployer, fake: FakeSageMaker, release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        fake.answer = b'{"predictions": []}'
        assert not deployer.verify(1).passed

    def test_an_update_that_sagemaker_takes_back_leaves_the_old_one_and_says_why(
        self, deployer: SageMakerDeployer, fake: FakeSageMaker, release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        deployer.stage(release(2))
        assert deployer.try_out(release(2)).passed
        fake.broken.add(name_of(deployer.endpoint, 2))
        deployer.switch(2)
        assert "ping health check" in deployer.verify(2)
        assert deployer.serving() == 1
        assert deployer.verify(1).passed
        deployer.drop(2)

    def test_a_first_endpoint_that_failed_is_made_anew(
        self, deployer: SageMakerDeployer, fake: FakeSageMaker, release: MakeRelease
    ) -> None:
        fake.broken.add(name_of(deployer.endpoint, 1))
        deployer.stage(release(1))
        deployer.switch(1)
        assert deployer.serving() is None
        assert "is Failed" in deployer.verify(1)
        fake.broken.clear()
        serve(deployer, release(2))
        assert deployer.serving() == 2
        deployer.drop(1)

    def test_while_it_changes_nobody_says_what_serves(
        self, deployer: SageMakerDeployer, release: MakeRelease
    ) -> None:
        serve(deployer, release(1))
        deployer.stage(release(2))
        asked = {
            "EndpointName": deployer.endpoint,
            "EndpointConfigName": name_of(deployer.endpoint, 2),
        }
        deployer.operators.endpoint(asked, "update")
        with pytest.raises(TransientError, match="is Updating"):
            deployer.serving()
        deployer.switch(2)
        assert deployer.serving() == 2

    def test_alarms_take_an_update_back(
        self, deployer: SageMakerDeployer, fake: FakeSageMaker, release: MakeRelease
    ) -> None:
        guarded = replace(deployer, rules=SageMakerRules(**RULES, alarms=("errors-5xx",)))
        for version in (1, 2):
            serve(guarded, release(version))
        asked = fake.updates[-1]["DeploymentConfig"]["AutoRollbackConfiguration"]
        assert asked == {"Alarms": [{"AlarmName": "errors-5xx"}]}

    def test_waiting_has_an_end(self, deployer: SageMakerDeployer, release: MakeRelease) -> None:
        hasty = replace(deployer, rules=SageMakerRules(**RULES, wait_s=1e-9))
        hasty.stage(release(1))
        with pytest.raises(TransientError, match="is still Creating after 1e-09 s"):
            hasty.switch(1)
        deployer.switch(1)
        assert deployer.serving() == 1

    @pytest.mark.parametrize("kind", ["model", "endpoint_config", "endpoint"])
    def test_what_is_somebody_elses_is_left_alone(
        self, deployer: SageMakerDeployer, release: MakeRelease, kind: str
    ) -> None:
        serve(deployer, release(1))
        name = deployer.endpoint if kind == "endpoint" else name_of(deployer.endpoint, 1)
        camel = kind.title().replace("_", "")
        found = getattr(deployer.sagemaker, f"describe_{kind}")(**{f"{camel}Name": name})
        deployer.sagemaker.delete_tags(ResourceArn=found[f"{camel}Arn"], TagKeys=["hpo:experiment"])
        with pytest.raises(SpecError, match="is not one of experiment iris"):
            deployer.verify(1) if kind == "model" else deployer.switch(1)

    def test_no_secret_is_told(self, deployer: SageMakerDeployer, release: MakeRelease) -> None:
        lost = replace(deployer, connect=partial(client, address="http://a:sekret@127.0.0.1:1"))
        with pytest.raises(TransientError) as caught:
            lost.stage(release(1))
        assert "sekret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"role": "arn:aws:iam::1:role/admin"},
            f"options.role: this installation allows {ROLE}",
        ),
        ({"image": "evil"}, f'options.image: this installation allows {IMAGE}, got "evil"'),
        ({"instance_type": "ml.p5.48xlarge"}, "options.instance_type: this installation allows"),
        ({"instances": 9}, "options.instances: this installation allows at most 1, got 9"),
        ({"endpoint": "payments"}, "options.endpoint: this installation allows iris*, got"),
    ],
)
def test_a_deployment_says_what_is_allowed(options: dict[str, Any], words: str) -> None:
    rules = SageMakerRules(**RULES, endpoints=("iris*",))
    with pytest.raises(SpecError, match=re.escape(words)):
        made(SageMakerOptions(**options), rules)


def test_nothing_is_allowed_before_an_operator_says_so() -> None:
    with pytest.raises(SpecError, match="allows none") as caught:
        made(SageMakerOptions(), SageMakerRules())
    assert len(str(caught.value).splitlines()) == 2, "image and role"


def made(options: SageMakerOptions, rules: SageMakerRules) -> SageMakerDeployer:
    def connect(service: str) -> Any:
        raise AssertionError(f"connected to {service}")

    return SageMakerDeployer(EXPERIMENT, options, connect, None, rules)  # type: ignore[arg-type]


@pytest.mark.parametrize("endpoint", ["iris", "a-v1", "x" * 63, f"{'y' * 49}-{'z' * 13}"])
@pytest.mark.parametrize("version", [1, 12, 100_000])
def test_names_are_short_and_say_their_version(endpoint: str, version: int) -> None:
    name = name_of(endpoint, version)
    assert len(f"{name}-try") <= 63
    assert version_of(endpoint, name) == version
    assert version_of("other", name) is None
    assert version_of(endpoint, f"{endpoint}-v0{version}") is None


def test_a_pack_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name in ("saved_model/saved_model.pb", "code/inference.py", "model.keras"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    release = Release(EXPERIMENT, 7, folder, {})
    for target in ("a", "b"):
        pack(release, tmp_path / target)
        (folder / "model.keras").touch()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with tarfile.open(tmp_path / "a") as archive:
        assert archive.getnames() == ["code/inference.py", "7/saved_model.pb"]
