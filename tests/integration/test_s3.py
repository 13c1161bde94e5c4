"""Artifacts and collectors on S3, as moto plays it on this machine: not the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import moto.settings
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from hpo_lib.backends import Request
from hpo_lib.backends.kubernetes import KubernetesBackend
from hpo_lib.cli import main
from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.files import artifacts
from hpo_lib.files.places import chunks, files, tail
from hpo_lib.installation import Inputs, Installation
from hpo_lib.records import Attempt, Provenance, RunKey
from hpo_lib.runs import admission, fingerprint, lifecycle, outputs
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from hpo_lib.trials import outcome, runner

CONF: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"lr": {"type": "float", "low": 0.001, "high": 1.0}},
    "trial": {"command": ["python", "train.py"]},
    "metrics": {"collector": "jsonl"},
}
FORM = r"(?P<name>\w+): (?P<value>\S+)"
GOOD_END = Exit(Ending.EXITED, 0)
#: Nobody listens there.
NOWHERE = "http://127.0.0.1:1"


def options(endpoint: str) -> dict[str, Any]:
    """Give what an Airflow connection would: made up, moto takes anything."""
    region = {"region_name": "us-east-1"}
    return {"endpoint_url": endpoint, "key": "a", "secret": "b", "client_kwargs": region}


def client(service: str, address: str) -> Any:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return boto3.client(service, endpoint_url=address, region_name="us-east-1", **keys)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client("s3", address).create_bucket(Bucket="bucket")
    yield address
    server.stop()


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"s3://bucket/{tmp_path.name}"


def test_a_probe_proves_and_leaves_nothing(endpoint: str, uri: str) -> None:
    artifacts.probe(uri, options(endpoint))
    assert files(artifacts.open_folder("s3://bucket", options(endpoint))) == []


def test_an_object_that_is_replaced_gives_another_fingerprint(endpoint: str, uri: str) -> None:
    def taken(place: str, where: str = endpoint) -> str | None:
        reuse = {"data": [place], "code": [f"file://{Path(__file__).parent}"]}
        inputs = Inputs(
            offers=artifacts.offers(
                {"s3://bucket": "aws", "s3://none": "aws", f"file://{Path(__file__).parent}": None},
                lambda _: options(where),
            )
        )
        return fingerprint.take(load(CONF | {"reuse": reuse}), inputs)[0]

    s3, prefix = client("s3", endpoint), uri.removeprefix("s3://bucket/")
    for name, body in (("rows/a", b"1"), ("rows/b/c", b"2"), ("rowsmore", b"3")):
        s3.put_object(Bucket="bucket", Key=f"{prefix}/{name}", Body=body)
    places = [f"{uri}/rows", f"{uri}/rows/a"]
    before = [taken(place) for place in places]
    s3.put_object(Bucket="bucket", Key=f"{prefix}/rows/a", Body=b"1")
    s3.put_object(Bucket="bucket", Key=f"{prefix}/rowsmore", Body=b"4")
    assert [taken(place) for place in places] == before
    s3.put_object(Bucket="bucket", Key=f"{prefix}/rows/b/c", Body=b"5")
    assert taken(places[0]) != before[0]
    assert taken(places[1]) == before[1]
    for place in (f"{uri}/absent", "s3://none/x"):
        with pytest.raises(
            SpecError, match=rf"^reuse\.data\.0: {place}: cannot read there: no such"
        ):
            taken(place)
    with pytest.raises(TransientError, match=rf"^reuse\.data\.0: {places[0]}: cannot read there"):
        taken(places[0], NOWHERE)


def test_a_bucket_that_is_not_there_is_the_specs_fault(endpoint: str) -> None:
    with pytest.raises(SpecError, match="cannot write there: no such bucket or folder"):
        artifacts.probe("s3://no-such-bucket/x", options(endpoint))


def test_a_name_that_is_no_buckets_is_the_specs_fault(endpoint: str) -> None:
    with pytest.raises(SpecError, match=r"artifacts\.uri: s3://B_/x: cannot write there: "):
        artifacts.probe("s3://B_/x", options(endpoint))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give options of a server that does not answer, of which one is soon convinced."""
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    return options(NOWHERE) | {"config_kwargs": {"retries": {"max_attempts": 0}}}


def test_a_server_that_does_not_answer_is_an_outage(hurried: dict[str, Any]) -> None:
    with pytest.raises(TransientError, match="no answer, try again: Could not connect") as caught:
        artifacts.probe("s3://bucket/x", hurried)
    assert "secret" not in str(caught.value)


def test_missing_credentials_are_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    found = options(endpoint)
    del found["key"], found["secret"]
    with pytest.raises(SpecError, match=r"credentials are missing, .*Unable to locate credentials"):
        artifacts.probe("s3://bucket/x", found)


def test_a_wrong_key_or_secret_is_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    iam = client("iam", endpoint)
    iam.create_user(UserName="ada")
    made = iam.create_access_key(UserName="ada")["AccessKey"]
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="ada", PolicyName="s3", PolicyDocument=policy)
    # From now on moto checks signatures.
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    right = options(endpoint) | {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    artifacts.probe("s3://bucket/x", right)
    for wrong, words in (({"secret": "sekret"}, "signature"), ({"key": "AKIA"}, "does not exist")):
        with pytest.raises(SpecError, match=f"credentials are missing, wrong.*{words}") as caught:
            artifacts.probe("s3://bucket/x", right | wrong)
        assert "sekret" not in str(caught.value)


def test_an_output_comes_and_goes(endpoint: str, uri: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"x" * 7_000_000)
    folder = artifacts.open_folder(f"{uri}/attempt-1", options(endpoint))
    other = artifacts.open_folder(f"{uri}/attempt-10", options(endpoint))
    assert artifacts.upload(tmp_path, folder) == artifacts.upload(tmp_path, other) == 1
    outputs.write_record(folder, {"trial": 1})
    names = [str(place).removeprefix(f"{folder}/") for place in files(folder)]
    assert names == ["model/weights", "result.json"]
    assert tail(folder / "model" / "weights", 3) == b"xxx"
    assert sum(map(len, chunks(folder / "model" / "weights", 1_000_000))) == 6_000_000
    for _ in range(2):
        artifacts.delete(folder)
        assert files(folder) == []
    assert len(files(other)) == 1


def test_what_another_process_writes_is_seen(endpoint: str, uri: str) -> None:
    folder = artifacts.open_folder(uri, options(endpoint))
    assert files(folder) == []
    other = artifacts.open_folder(uri, options(endpoint) | {"skip_instance_cache": True})
    (other / "a").write_bytes(b"x")
    assert [place.name for place in files(folder)] == ["a"]
    assert list(chunks(folder / "a")) == [b"x"]


def test_a_trial_is_judged_by_what_lies_in_the_bucket(endpoint: str, uri: str) -> None:
    output = artifacts.open_folder(uri, options(endpoint))
    (output / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 0.5}\n')
    source = Source(output / "log.txt", output)
    spec = load(CONF)
    assert outcome.outcome(spec, Exit(Ending.EXITED, 0), source).value == 0.5
    missing = Source(output / "none.txt", output / "none")
    assert outcome.outcome(spec, Exit(Ending.EXITED, 0), missing).cause is Cause.OBJECTIVE_MISSING


@pytest.mark.parametrize("collector", ["stdout", "file", "jsonl", "tfevents", "xcom"])
def test_an_outage_fails_no_trial(collector: str, hurried: dict[str, Any]) -> None:
    output = artifacts.open_folder("s3://bucket/x", hurried)
    spec = load(CONF | {"metrics": {"collector": collector}})
    with pytest.raises(TransientError, match="cannot be reached: Could not connect"):
        outcome.outcome(spec, Exit(Ending.EXITED, 0), Source(output / "log.txt", output))


class FakeCluster(KubernetesBackend):
    """Pods that have ended, and of which nothing is left."""

    def fetch(self, handle: Any) -> None:
        self.log(handle).parent.mkdir(parents=True)
        self.log(handle).write_text("loss: 0.25\n")

    def discard(self, handle: Any) -> None:
        pass


@pytest.mark.parametrize(
    "settings", [["--path", "history.jsonl"], ["--collector", "stdout", "--format", FORM]]
)
def test_what_pods_have_left_is_collected_again_with_the_shells_credentials(
    endpoint: str,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: list[str],
) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    offers = {uri: lambda: options(endpoint)}
    backend = FakeCluster(home=tmp_path, connect=lambda: None, offers=offers)
    installation = Installation(tmp_path, {"kubernetes": lambda: backend}, artifacts=offers)
    conf = CONF | {
        "limits": {"max_trials": 1},
        "trial": {"backend": "kubernetes", "image": "hpo-trial:1"},
        "artifacts": {"uri": uri},
    }

    def launch(attempt: Attempt, request: Request) -> Exit:
        (backend.output(attempt.handle) / "history.jsonl").write_bytes(b'{"loss": 0.25}')
        return GOOD_END

    key, facts = RunKey("hpo_kubernetes", "1"), {"triggered_by": "ada", "provenance": Provenance()}
    with Store.open(url) as store:
        run = admission.begin(store, key, conf, installation, backend="kubernetes", **facts)
        lifecycle.next_wave(store, key, 1, installation)
        trial = runner.perform(store, run, 1, backend, lambda line: None, launch)
        assert trial.cause is Cause.OBJECTIVE_MISSING
        lifecycle.finish(store, key, installation)

    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "HPO_HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    assert main.main(["collect", "1", "--url", url, *settings]) == 0
    assert "trial 1: loss = 0.25" in capsys.readouterr().out
