"""Artifacts: where they lie, what proves that they can, what is recorded, and what is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_spec import GOOD

from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.files import artifacts
from hpo_lib.records import Model, ModelStatus, RunView, attempt_uri
from hpo_lib.runs import outputs
from hpo_lib.spec import load
from hpo_lib.spec.sections import Artifacts
from hpo_lib.validation import parse

if TYPE_CHECKING:
    from upath import UPath

_FORM = (
    "artifacts.uri: must be a URI such as s3://bucket/prefix or file:///folder, of letters, digits "
    "and _ . = + , ~ -, without . and .., got "
)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b-c_d.e=f/", "s3://bucket/a/b-c_d.e=f"),
        ("gs://bucket/größe//", "gs://bucket/größe"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs://box@account.dfs.core.windows.net/x"),
        ("file:///srv/hpo/", "file:///srv/hpo"),
        ("memory://x/y", "memory://x/y"),
        ("webhdfs://node:9870/x", "webhdfs://node:9870/x"),
    ],
)
def test_a_uri_is_kept_without_a_slash_at_its_end(given: str, kept: str) -> None:
    spec = load(GOOD | {"artifacts": {"uri": given}})
    assert spec.artifacts == Artifacts(uri=kept, keep="best")
    assert load(spec.dump()) == spec


@pytest.mark.parametrize(
    "uri",
    [
        *("bucket/x", "s3:/b", "s3://", "s3:///", "S3://b", "://b", "a::s3://b", "s3://b/../c"),
        *("s3://b/./c", "s3://b/a//c", "s3://b/*", "s3://b/[a]", "s3://b/{a,b}", "s3://b/a b"),
        *(
            "s3://b/a\nb",
            "s3://b/\x00",
            "s3://b/a\\b",
            "s3://b/%2e%2e/c",
            "s3://b:x/c",
            "s3://b/~/|",
        ),
    ],
)
def test_a_uri_that_could_mean_something_else_is_refused(uri: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(GOOD | {"artifacts": {"uri": uri}})
    assert str(caught.value).startswith(_FORM)


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://key:sekret@bucket/x", "s3://sekret@bucket", "s3://key:sek/ret@bucket/x"),
        *("abfs://box:sekret@account/x", "s3://b/x?secret=sekret", "s3://b/x#sekret"),
        "https://b/x?sig=sekret",
    ],
)
def test_credentials_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(GOOD | {"artifacts": {"uri": uri}})
    assert str(caught.value) == (
        "artifacts.uri: must hold no credentials and no query; they come from the installation"
    )


@pytest.mark.parametrize(
    ("uri", "named"), [("file://srv/x", "an absolute folder"), ("s3:///x", "a bucket or host")]
)
def test_a_uri_names_a_bucket_or_an_absolute_folder(uri: str, named: str) -> None:
    with pytest.raises(SpecError, match=f"must name {named}"):
        parse(Artifacts, {"uri": uri}, at="artifacts")


@given(st.text(max_size=30))
def test_no_uri_leads_out_of_its_place(rest: str) -> None:
    try:
        uri = parse(Artifacts, {"uri": f"s3://bucket/{rest}"}).uri
    except SpecError:
        return
    assert uri.startswith("s3://bucket")
    assert not {"", ".", ".."} & set(uri.removeprefix("s3://").split("/"))
    assert not set("*?[]{}#@%\\\n\0 ") & set(uri)


def test_a_deployment_offers_places_by_prefix() -> None:
    offers: dict[str, Callable[[], Any]] = {
        "s3://": lambda: {"key": "any"},
        "s3://team/": lambda: {"key": "team"},
        "memory://x": dict,
    }
    for uri, key in (("s3://other/x", "any"), ("s3://team", "team"), ("s3://teams/x", "any")):
        assert artifacts.options_for(uri, offers) == {"key": key}
    assert artifacts.options_for("memory://x/y", offers) == {}
    for uri in ("memory://xy", "file:///x", "s3a://team"):
        with pytest.raises(SpecError, match=f"must lie below one of memory://x, s3://, s3.*{uri}"):
            artifacts.options_for(uri, offers)
    with pytest.raises(SpecError, match="its operator can name URIs in config"):
        artifacts.options_for("s3://b", {})


def test_an_offer_asks_for_its_connection_when_it_is_used() -> None:
    asked: list[str] = []

    def options_of(connection: str) -> dict[str, str]:
        asked.append(connection)
        return {"key": connection}

    offers = artifacts.offers({"s3://ml/hpo": "aws_ml", "file:///srv/hpo": None}, options_of)
    assert sorted(offers) == ["file:///srv/hpo", "s3://ml/hpo"]
    assert artifacts.options_for("file:///srv/hpo/x", offers) == {}
    assert asked == []
    assert artifacts.options_for("s3://ml/hpo", offers) == {"key": "aws_ml"}
    assert artifacts.offers({}, options_of) == {}


def test_each_attempt_has_its_folder() -> None:
    run = factories.run()
    assert attempt_uri("s3://b/x", run, 3, 1) == (
        "s3://b/x/wine-quality/run-000012/trial-0003/attempt-1"
    )


@pytest.mark.parametrize(
    ("scheme", "needed"),
    [("gs", "gcsfs"), ("abfs", "adlfs"), ("oci", "the fsspec package for oci")],
)
def test_a_missing_package_is_named(scheme: str, needed: str) -> None:
    with pytest.raises(SpecError, match=f"{scheme}:// needs {needed}"):
        artifacts.open_folder(f"{scheme}://bucket", {})


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(SpecError, match=r"artifacts\.uri: magic://x: "):
        artifacts.probe("magic://x", {})


class FolderContract:
    """What is done with a folder wherever it is: inherit and supply `uri`."""

    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def folder(self, uri: str) -> UPath:
        return artifacts.open_folder(f"{uri}/attempt-1", self.options)

    def test_a_probe_leaves_nothing(self, uri: str) -> None:
        artifacts.probe(uri, self.options)
        assert artifacts.files(artifacts.open_folder(uri, self.options)) == []

    def test_a_record_can_be_written_again(self, folder: UPath) -> None:
        for reason in ("first", "second"):
            outputs.write_record(folder, {"reason": reason})
            assert json.loads((folder / "result.json").read_bytes()) == {"reason": reason}
        assert [place.name for place in artifacts.files(folder)] == ["result.json"]

    def test_an_output_is_uploaded_as_it_is(self, folder: UPath, tmp_path: Path) -> None:
        output = tmp_path / "left behind"
        for path in ("model/weights.bin", "metrics.jsonl", "model/a/b"):
            (output / path).parent.mkdir(parents=True, exist_ok=True)
            (output / path).write_bytes(path.encode() * 1_000)
        (output / "link").symlink_to("/etc/hostname")
        for _ in range(2):
            assert artifacts.upload(output, folder) == 3
        found = {str(p).removeprefix(f"{folder}/"): p.read_bytes() for p in artifacts.files(folder)}
        expected = ("model/weights.bin", "metrics.jsonl", "model/a/b")
        assert found == {path: path.encode() * 1_000 for path in expected}

    def test_what_is_deleted_is_gone_and_nothing_else(self, folder: UPath) -> None:
        other = folder.parent / "attempt-10"
        for place in (folder / "a", folder / "b" / "c", other / "a"):
            place.parent.mkdir(parents=True, exist_ok=True)
            artifacts.write(place, b"x")
        for _ in range(2):
            artifacts.delete(folder)
            assert artifacts.files(folder) == []
        assert [place.name for place in artifacts.files(other)] == ["a"]


class TestDisk(FolderContract):
    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/hpo"

    def test_what_lies_there_already_stays(self, folder: UPath) -> None:
        artifacts.write(folder / "weights", b"x")
        assert artifacts.upload(Path(folder), folder) == 0
        assert (folder / "weights").read_bytes() == b"x"

    def test_whoever_reads_while_it_is_uploaded_again_has_a_whole_file(
        self, folder: UPath, tmp_path: Path
    ) -> None:
        output = tmp_path / "left behind"
        output.mkdir()
        (output / "weights").write_bytes(b"whole")
        artifacts.upload(output, folder)
        with (folder / "weights").open("rb") as reader:
            (output / "weights").write_bytes(b"")
            artifacts.upload(output, folder)
            assert reader.read() == b"whole"


class TestMemory(FolderContract):
    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        return f"memory://{str(tmp_path).strip('/')}"

    @pytest.mark.parametrize(
        ("error", "kind", "words"),
        [
            (PermissionError("Access Denied"), SpecError, "credentials are missing, wrong, or do"),
            (OSError(22, "The bucket name is not valid"), SpecError, "name is not valid"),
            (type("NoCredentialsError", (Exception,), {})(), SpecError, "NoCredentialsError"),
            (FileNotFoundError("no bucket b"), SpecError, "no such bucket or folder: no bucket b"),
            (TimeoutError(), TransientError, "no answer, try again: TimeoutError"),
            (RuntimeError("no route"), TransientError, "try again: no route"),
        ],
    )
    @pytest.mark.parametrize(
        ("method", "deed"),
        [("write_bytes", "write"), ("read_bytes", "read"), ("unlink", "delete")],
    )
    def test_what_fails_is_told_with_what_to_do(
        self,
        uri: str,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        kind: type[Exception],
        words: str,
        method: str,
        deed: str,
    ) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(type(artifacts.open_folder(uri, {})), method, fail)
        with pytest.raises(kind, match=f"{uri}: cannot {deed} there: .*{words}"):
            artifacts.probe(uri, {})


# The record and retention


def test_a_record_tells_what_the_store_knows() -> None:
    run = factories.run()
    failed = replace(
        factories.trial(3, cause=Cause.OBJECTIVE_NOT_FINITE, params={"units": 32}),
        metrics={"loss": math.nan, "val_auc": 0.5},
    )
    lost = factories.attempt(3, 0, 1, cause=Cause.LOST)
    last = factories.attempt(3, 2, 4, number=2, exit_code=0, reason="loss must be finite, got nan")
    view = factories.view(failed, lost, last)
    record = outputs.record_of(run, view, last)
    assert json.loads(json.dumps(record, allow_nan=False)) == {
        "experiment": "wine-quality",
        "run": 12,
        "trial": 3,
        "attempt": 2,
        "params": {"units": 32, "epochs": 30, "dataset": "winequality red.csv"},
        "state": "succeeded",
        "cause": None,
        "reason": "loss must be finite, got nan",
        "exit_code": 0,
        "metrics": {"loss": "nan", "val_auc": 0.5},
        "started_at": "2026-11-21T07:00:02+00:00",
        "ended_at": "2026-11-21T07:00:04+00:00",
        "versions": dict(factories.VERSIONS),
    }
    assert outputs.record_of(run, view, lost)["metrics"] == {}


def _places(found: list[Any]) -> list[tuple[int, int]]:
    return [(attempt.trial, attempt.number) for attempt in found]


def _run() -> RunView:
    """Make a run: 1 is best, after a lost attempt; 2 failed; 3 is running; 5 can be collected."""
    views = [
        factories.view(factories.trial(0, 0.5), factories.attempt(0, 0, 1)),
        factories.view(
            factories.trial(1, 0.9),
            factories.attempt(1, 0, 1),
            factories.attempt(1, 2, 3, number=2),
        ),
        factories.view(factories.trial(2, cause=Cause.USER_ERROR), factories.attempt(2, 0, 1)),
        factories.view(factories.trial(3), factories.attempt(3, 0, 1)),
        factories.view(factories.trial(4, cause=Cause.LOST)),
        factories.view(
            factories.trial(5, cause=Cause.OBJECTIVE_MISSING),
            factories.attempt(5, 0, 1, cause=Cause.LOST),
            factories.attempt(5, 2, 3, number=2, cause=Cause.OBJECTIVE_MISSING),
        ),
    ]
    return RunView(factories.run(), views)


@pytest.mark.parametrize(
    ("keep", "protected", "kept"),
    [
        ("best", (), [(1, 2), (5, 2)]),
        ("best", (0, 3), [(0, 1), (1, 2), (5, 2)]),
        ("none", (), [(5, 2)]),
        ("none", (2,), [(2, 1), (5, 2)]),
        ("all", (), [(0, 1), (1, 1), (1, 2), (2, 1), (5, 1), (5, 2)]),
    ],
)
def test_what_is_kept(keep: str, protected: tuple[int, ...], kept: list[tuple[int, int]]) -> None:
    stays, goes = outputs.retain(_run(), keep, protected)
    assert _places(stays) == kept
    ended = [(0, 1), (1, 1), (1, 2), (2, 1), (5, 1), (5, 2)]
    assert sorted(_places(stays) + _places(goes)) == ended


@given(
    st.integers(1, 20),
    st.sampled_from(["best", "all", "none"]),
    st.sets(st.integers(0, 19)),
    st.integers(0, 9),
)
def test_nothing_protected_or_running_is_ever_deleted(
    trials: int, keep: str, protected: set[int], seed: int
) -> None:
    view = factories.good_run(trials, seed=seed)
    running = {one.trial.number for one in view.trials if one.trial.state is TrialState.RUNNING}
    kept, doomed = outputs.retain(view, keep, protected)
    assert not {one.trial for one in doomed} & (protected | running)
    assert keep == "none" or set(view.front) <= {one.trial for one in kept}


def test_final_trials_are_kept_until_the_gate_has_judged() -> None:
    final = factories.view(factories.trial(6, 0.4), factories.attempt(6, 0, 1))
    now = factories.run().started_at
    model = Model("e", 1, 1, 1, {}, ModelStatus.CHALLENGER, "", now, now)
    seen = replace(_run(), finals=[final])
    for waiting, kept in [
        (model, True),
        (replace(model, status=ModelStatus.REJECTED), False),
        (replace(model, verdict=Verdict(False, "worse.")), False),
        (replace(model, verdict=Verdict(True, "better."), trial=6), True),
    ]:
        stays, _ = outputs.retain(replace(seen, model=waiting), "none")
        assert ((6, 1) in _places(stays)) == kept


def test_of_several_objectives_the_whole_front_is_kept() -> None:
    view = factories.front_run()
    kept, _ = outputs.retain(view, "best")
    assert [one.trial for one in kept if one.cause is None] == view.front
    assert len(view.front) > 1
