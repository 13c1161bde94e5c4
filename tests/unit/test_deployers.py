"""Which deployers there are, what an installation lets them do, and samples."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_airflow import connections, deployers, settings
from hpo_airflow.installation import this_site
from hpo_lib.deployers.package import PackageDeployer
from hpo_lib.deployers.sagemaker_request import _FORMS
from hpo_lib.deployers.sample import TOLERANCE, Sample, read_sample
from hpo_lib.errors import SpecError
from hpo_lib.registry import ALLOWED_DEPLOYERS, DEPLOYERS, check, load
from hpo_lib.validation import Strict, parse


class OwnOptions(Strict):
    """What `deploy.options` may hold."""

    where: str = "here"


class OwnDeployer:
    """One of the operator's own."""

    Options: ClassVar[type[Strict]] = OwnOptions

    def __init__(self, experiment: str, options: OwnOptions) -> None:
        self.experiment, self.options = experiment, options


OWN = f"{__name__}:OwnDeployer"
CONFIG = """
artifacts: {s3://bucket: aws_default}
mlflow: {connection: mlflow, aliases: [champion, next]}
serve: {namespaces: [models, other]}
sagemaker: {images: [an-image], roles: [a-role]}
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("HPO_CONFIG", str(path))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))


@pytest.mark.parametrize("name", ["mlflow", "sagemaker"])
def test_a_deployer_is_built_as_it_is_registered(name: str) -> None:
    made = deployers.deployer(this_site(), name, "iris", {})
    assert isinstance(made, load("deployer", name))
    with pytest.raises(SpecError, match=r"deploy\.options: unknown key \"url\""):
        deployers.deployer(this_site(), name, "iris", {"url": "http://169.254.169.254"})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kubernetes", [{}, {"namespace": "other"}, {"name": "another"}]),
        ("mlflow", [{}, {"model": "another"}, {"alias": "next"}]),
        ("package", [{}, {"uri": "s3://bucket/a"}, {"uri": "s3://bucket/b"}]),
        ("sagemaker", [{}, {"endpoint": "another"}]),
    ],
)
def test_places_differ_by_their_addresses_and_by_nothing_else(
    name: str, options: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "login": "a", "password": "b"}'
    )
    found = [deployers.deployer(this_site(), name, "iris", one).address for one in options]
    assert len(set(found)) == len(options)
    more = {"kubernetes": {"replicas": 2}, "sagemaker": {"instances": 1}}.get(name, {})
    assert deployers.deployer(this_site(), name, "iris", more).address == found[0]
    assert deployers.deployer(this_site(), name, "wine", {}).address != found[0]


def test_a_package_has_one_address_by_whatever_way_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    places = [PackageDeployer("iris", root) for root in (tmp_path, tmp_path / "link")]
    assert places[0].address == places[1].address
    with pytest.raises(SpecError, match=r"deploy\.options\.uri: must be a URI such as"):
        deployers.deployer(this_site(), "package", "iris", {"uri": "s3://bucket/../elsewhere"})


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("mlflow", {"alias": "latest"}, "alias: must not be latest, or v and a number, which"),
        ("mlflow", {"alias": "V2"}, "alias: must not be latest, or v and a number, which MLflow"),
        ("mlflow", {"alias": "v12"}, "alias: must not be latest, or v and a number, which MLflow"),
        ("mlflow", {"alias": "a/b"}, "alias: must be letters, digits and _ -, at most 250, got"),
        ("mlflow", {"alias": ""}, 'alias: must be letters, digits and _ -, at most 250, got ""'),
        ("mlflow", {"model": "team/iris"}, "model: must be letters, digits and _ . -, at most"),
        ("mlflow", {"model": "iris:1"}, "model: must be letters, digits and _ . -, at most 250"),
        ("mlflow", {"model": ""}, "model: must be letters, digits and _ . -, at most 250, beg"),
        ("mlflow", {"model": "x" * 251}, "model: must be letters, digits and _ . -, at most 250"),
        ("kubernetes", {"name": "Iris"}, "name: must be small letters, digits and -, at most 40"),
        ("kubernetes", {"name": "iris_2"}, "name: must be small letters, digits and -, at most"),
        ("kubernetes", {"name": "i" * 41}, "name: must be small letters, digits and -, at most"),
        ("kubernetes", {"namespace": "My_Team"}, "namespace: must be small letters, digits and -"),
        ("kubernetes", {"image": "a b"}, "image: must be an image such as registry/name:tag, got"),
        ("sagemaker", {"endpoint": "my_endpoint"}, "endpoint: must be letters, digits and -, at"),
        ("sagemaker", {"endpoint": "e" * 64}, "endpoint: must be letters, digits and -, at most"),
        ("sagemaker", {"endpoint": "end-"}, "endpoint: must be letters, digits and -, at most 63"),
        ("sagemaker", {"role": "admin"}, "role: must be the ARN of a role such as arn:aws:iam::"),
        ("sagemaker", {"instance_type": "m5.large"}, "instance_type: must be a type of instances"),
        ("sagemaker", {"image": "my image"}, "image: must be an image such as 123456789012.dkr"),
        ("package", {"uri": "s3://a/b"}, "uri: must name a bucket of 3 to 63 letters, digits and"),
        ("package", {"uri": "s3://my-bucket-/b"}, "uri: must name a bucket of 3 to 63 letters,"),
    ],
)
def test_an_option_that_the_service_refuses_is_refused_before_anything_is_trained(
    name: str, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(SpecError) as refused:
        parse(load("deployer", name).Options, options, at="deploy.options")
    assert str(refused.value).startswith(f"deploy.options.{line}")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlflow", {"alias": "v", "model": "Iris.v2_a-b"}),
        ("kubernetes", {"name": "iris-2", "namespace": "0-models", "image": "r.io:5000/a/b:c"}),
        ("sagemaker", {"endpoint": "Iris--2", "role": "arn:aws-cn:iam::1:role/team/serve"}),
        ("sagemaker", {"instance_type": "ml.g5.2xlarge"}),
        ("package", {"uri": "s3://My_old.bucket/models"}),
        ("package", {"uri": "gs://b/models"}),
    ],
)
def test_an_option_that_the_service_takes_is_taken(name: str, options: dict[str, Any]) -> None:
    assert parse(load("deployer", name).Options, options).model_dump(exclude_unset=True) == options


def test_every_example_in_a_refusal_passes_its_own_rule() -> None:
    """What an error tells people to write has to be right."""
    for option, (form, words) in _FORMS.items():
        example = words.rpartition(" such as ")[2]
        if " such as " in words:
            assert re.fullmatch(form, example), option


def test_every_registered_deployer_has_a_builder() -> None:
    assert {"mlflow", "sagemaker"} <= set(deployers.DEPLOYERS)
    assert set(deployers.DEPLOYERS) == set(DEPLOYERS)


def test_what_is_not_allowed_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(SpecError, match=r"options\.alias: this installation allows champion"):
        deployers.deployer(this_site(), "mlflow", "iris", {"alias": "prod"})
    with pytest.raises(SpecError, match=r"options\.role: this installation allows a-role"):
        deployers.deployer(this_site(), "sagemaker", "iris", {"role": "arn:aws:iam::1:role/admin"})


@pytest.mark.parametrize("name", ["kubernetes", "package"])
def test_a_pickle_needs_leave_of_the_installation(name: str, tmp_path: Path) -> None:
    made = deployers.deployer(this_site(), name, "iris", {})
    assert made.allow_pickle is False  # type: ignore[attr-defined]
    (tmp_path / "deployment.yaml").write_text(f"{CONFIG}\ndeployers: {{allow_pickle: true}}\n")
    made = deployers.deployer(this_site(), name, "iris", {})
    assert made.allow_pickle is True  # type: ignore[attr-defined]
    (tmp_path / "deployment.yaml").write_text(f"{CONFIG}\ndeployers: {{allow_pickles: true}}\n")
    with pytest.raises(SpecError, match=r"unknown key .?allow_pickles"):
        deployers.deployer(this_site(), name, "iris", {})


def test_the_file_of_this_repository_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_CONFIG", str(settings.root() / "config" / "deployment.yaml"))
    deployers.deployer(this_site(), "mlflow", "iris", {})
    with pytest.raises(SpecError, match=r"options\.image: this installation allows none"):
        deployers.deployer(this_site(), "sagemaker", "iris", {})


@pytest.mark.parametrize(
    ("connection", "address", "header"),
    [
        ({"host": "mlflow", "port": 5000}, "http://mlflow:5000", None),
        ({"host": "https://mlflow/team/"}, "https://mlflow/team/", None),
        ({"host": "m", "schema": "https", "password": "t"}, "https://m", "Bearer t"),
        ({"host": "m", "login": "ada", "password": "pw"}, "http://m", None),
    ],
)
def test_a_connection_says_where_mlflow_is(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], address: str, header: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW", json.dumps({"conn_type": "http", **connection}))
    client = connections.mlflow("mlflow")
    assert str(client.base_url).rstrip("/") == address.rstrip("/")
    assert client.headers.get("authorization") == header
    assert (client.auth is not None) == ("login" in connection)


def test_ones_own_is_allowed_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOWED_DEPLOYERS, raising=False)
    with pytest.raises(SpecError, match=rf"operator can add {__name__} to HPO_DEPLOYERS"):
        deployers.deployer(this_site(), OWN, "iris", {})
    monkeypatch.setenv(ALLOWED_DEPLOYERS, f"acme, {__name__}")
    made: Any = deployers.deployer(this_site(), OWN, "iris", {"where": "there"})
    assert isinstance(made, OwnDeployer)
    assert (made.experiment, made.options.where) == ("iris", "there")
    with pytest.raises(SpecError, match=r"deploy\.options: unknown key"):
        deployers.deployer(this_site(), OWN, "iris", {"were": "there"})


def test_collectors_and_deployers_are_allowed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_COLLECTORS", "acme")
    monkeypatch.delenv(ALLOWED_DEPLOYERS, raising=False)
    with pytest.raises(SpecError, match="deployer 'acme:Deployer' is not allowed"):
        check("deployer", "acme:Deployer")
    with pytest.raises(SpecError, match="unknown deployer 'mlfow', did you mean 'mlflow'"):
        check("deployer", "mlfow")


numbers = st.floats(-500, 500)
rows = st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=4)


@given(rows)
def test_a_sample_agrees_with_itself_and_with_nothing_else(found: list[list[float]]) -> None:
    sample = read_sample(json.dumps({"instances": found, "predictions": found}).encode())
    assert sample.check(json.dumps({"predictions": found}).encode()).passed
    near = [[value + TOLERANCE / 2 for value in row] for row in found]
    assert sample.check(json.dumps({"predictions": near}).encode()).passed
    for wrong in (found[1:], [*found, found[0]], [[row[0] + 1, row[1]] for row in found], None):
        assert not sample.check(json.dumps({"predictions": wrong}).encode()).passed


def test_large_answers_may_differ_by_more() -> None:
    sample = Sample([1], [[1e6, 0.0]])
    assert sample.check(b'{"predictions": [[1000100.0, 0.0]]}').passed
    assert not sample.check(b'{"predictions": [[1002000.0, 0.0]]}').passed


@pytest.mark.parametrize("value", [math.nan, math.inf, "a", None, {}, [1.0]])
def test_what_is_no_number_is_another_answer(value: Any) -> None:
    assert not Sample([1], [0.5]).check(json.dumps({"predictions": [value]}).encode()).passed


def test_words_are_compared_as_they_are() -> None:
    sample = Sample([1, 2], ["setosa", "virginica"])
    assert sample.check(b'{"predictions": ["setosa", "virginica"]}').passed
    assert not sample.check(b'{"predictions": ["setosa", "setosa"]}').passed


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"instances": 1, "predictions": 1}',
        b'{"instances": [], "predictions": []}',
        b'{"instances": [1], "predictions": [1, 2]}',
    ],
)
def test_a_bad_sample_is_told(content: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"sample\.json"):
        read_sample(content)
