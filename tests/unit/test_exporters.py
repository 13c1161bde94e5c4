"""Exporters keep their contract, read back by the tools that they are for."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from exporter_contract import ExporterContract, Told
from factories import attempt, front_run, good_run, run, trial, view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wandb_server import WandbServer, wandb_server

from hpo_lib.cli.main import main
from hpo_lib.collectors import Source, tfevents
from hpo_lib.collectors.tfevents import TfeventsCollector
from hpo_lib.core.trial import Cause, Observation, Origin, TrialState
from hpo_lib.exporters import Exported, event_file, series, wandb
from hpo_lib.exporters.tensorboard import FILE, union
from hpo_lib.records import RunView
from hpo_lib.registry import EXPORTERS
from hpo_lib.report.facts import Facts
from hpo_lib.spec.sections import Metrics
from hpo_lib.store import Store, upgrade
from tests.integration.models_contract import searched


class TestOptuna(ExporterContract):
    name = "optuna"

    _STATES: ClassVar[Mapping[str, TrialState]] = {
        "RUNNING": TrialState.RUNNING,
        "COMPLETE": TrialState.COMPLETE,
        "PRUNED": TrialState.STOPPED,
        "FAIL": TrialState.FAILED,
    }
    states: ClassVar[Mapping[TrialState, TrialState]] = {TrialState.WAITING: TrialState.RUNNING}

    def study(self, target: str, run_id: int) -> Any:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        storage = JournalStorage(JournalFileBackend(target))
        names = [one.study_name for one in storage.get_all_studies()]
        (name,) = [name for name in names if name.endswith(f"/run-{run_id}")]
        return optuna.load_study(study_name=name, storage=storage)

    def told(self, target: str, run_id: int) -> Told:
        return {
            one.user_attrs["trial"]: (
                self._STATES[one.state.name],
                one.values[0] if one.values else None,
            )
            for one in self.study(target, run_id).trials
        }

    def curve(self, target: str, run_id: int, number: int, metric: str) -> list[tuple[int, float]]:
        (one,) = [t for t in self.study(target, run_id).trials if t.user_attrs["trial"] == number]
        return sorted(one.intermediate_values.items())

    def no_target(self, tmp_path: Path) -> str:
        return str(tmp_path)

    def test_optuna_and_its_dashboard_see_the_same_constraints(self, target: str) -> None:
        of = front_run(12)
        self.export(target, of)
        found = {one.user_attrs["trial"]: one for one in self.study(target, 12).trials}
        for one in of.trials:
            made = found[one.trial.number]
            if one.trial.state is not TrialState.COMPLETE:
                assert not made.constraints
                continue
            kept = one.trial.number in of.feasible
            assert all(excess <= 0 for excess in made.constraints.values()) == kept
            assert all(excess <= 0 for excess in made.system_attrs["constraints"]) == kept
            assert (
                made.constraints["val_loss - loss <= 0.08"] == made.system_attrs["constraints"][0]
            )

    def test_the_front_is_optunas(self, target: str) -> None:
        of = front_run(12)
        self.export(target, of)
        study = self.study(target, 12)
        assert sorted(one.user_attrs["trial"] for one in study.best_trials) == of.front
        assert study.metric_names == ["val_auc", "size_mb"]

    def test_parameters_have_their_own_ranges(self, target: str) -> None:
        of = good_run(12)
        self.export(target, of)
        one = self.study(target, 12).trials[0]
        assert one.params == of.trials[0].trial.params
        rate = one.distributions["learning_rate"]
        assert (rate.low, rate.high, rate.log) == (1e-5, 0.1, True)
        assert one.distributions["optimizer"].choices == ("adam", "nadam", "sgd")

    def test_what_has_not_changed_is_not_written_again(self, target: str) -> None:
        self.export(target, good_run(4))
        before = Path(target).read_bytes()
        self.export(target, good_run(4))
        assert Path(target).read_bytes() == before


class TestTensorboard(ExporterContract):
    name = "tensorboard"

    states: ClassVar[Mapping[TrialState, TrialState]] = {TrialState.WAITING: TrialState.RUNNING}

    def here(self, target: str, run_id: int) -> Path:
        (found,) = Path(target).glob(f"{run_id:06d}-*")
        return found

    def told(self, target: str, run_id: int) -> Told:
        """Read the files as this package reads anybody's; the real thing is read below."""
        found = {}
        for folder in sorted(self.here(target, run_id).glob("trial-*")):
            state, scalars = _row(folder), _scalars(folder)
            value = scalars["trial/val_auc"] or scalars["trial/objective"]
            done = state is TrialState.COMPLETE
            found[int(folder.name.removeprefix("trial-"))] = (state, value[0][1] if done else None)
        return found

    def curve(self, target: str, run_id: int, number: int, metric: str) -> list[tuple[int, float]]:
        return _scalars(self.here(target, run_id) / f"trial-{number:04d}")[metric]

    def no_target(self, tmp_path: Path) -> str:
        (tmp_path / "file").touch()
        return str(tmp_path / "file")

    def test_final_trials_have_rows_of_their_own(self, target: str) -> None:
        again = view(trial(9, 0.5, origin=Origin.FINAL, repeat=1))
        self.export(target, RunView(run(), finals=[again]))
        assert [one.parent.name for one in self.here(target, 12).glob("*/events*")] == [
            "final-0009"
        ]

    def test_tensorboard_shows_the_table_of_all_runs(self, target: str) -> None:
        """The HParams plugin itself answers, as it does to its page."""
        of = good_run(6)
        other = good_run(3, seed=4)
        self.export(target, of)
        self.export(target, RunView(run(id=13), other.trials))
        ask = hparams_plugin(target)
        found = ask("experiment", {})
        infos = {one["name"]: one for one in found["hparamInfos"]}
        assert set(infos) == set(Facts.of(of).parameters)
        assert infos["learning_rate"]["domainInterval"] == {"minValue": 1e-5, "maxValue": 0.1}
        assert infos["optimizer"]["domainDiscrete"] == ["adam", "nadam", "sgd"]
        assert infos["nesterov"]["type"] == "DATA_TYPE_BOOL"
        metrics = [one["name"]["tag"] for one in found["metricInfos"]]
        assert metrics[0] == "trial/val_auc"
        wanted = {
            "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_UNKNOWN"],
            "colParams": [{"metric": {"group": "", "tag": "trial/val_auc"}}],
            "startIndex": 0,
            "sliceSize": 100,
        }
        groups = {one["name"]: one for one in ask("session_groups", wanted)["sessionGroups"]}
        assert len(groups) == len(of.trials) + len(other.trials)
        for one in of.trials:
            group = groups[f"run 12, trial {one.trial.number}"]
            rate = one.trial.params["learning_rate"]
            assert group["hparams"]["learning_rate"] == pytest.approx(rate)
            assert ("momentum" in group["hparams"]) == ("momentum" in one.trial.params)
            (session,) = group["sessions"]
            done = one.trial.state is TrialState.COMPLETE
            assert session["status"] == ("STATUS_SUCCESS" if done else "STATUS_FAILURE")
            if done:
                (value,) = [v for v in group["metricValues"] if v["name"]["tag"] == metrics[0]]
                assert value["value"] == pytest.approx(one.trial.value)


def hparams_plugin(folder: str) -> Any:
    """Serve a folder by TensorBoard's own plugin; gives what asks it, over WSGI."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
    from werkzeug.test import Client

    multiplexer = EventMultiplexer().AddRunsFromDirectory(folder)
    multiplexer.Reload()
    context = TBContext(logdir=folder, data_provider=MultiplexerDataProvider(multiplexer, folder))
    apps = HParamsPlugin(context).get_plugin_apps()

    def ask(route: str, wanted: Mapping[str, Any]) -> Any:
        answer = Client(apps[f"/{route}"]).post("/", data=json.dumps(wanted))
        assert answer.status_code == 200
        return json.loads(answer.get_data())

    return ask


class TestWandb(ExporterContract):
    name = "wandb"

    def runs(self, target: str, run_id: int) -> dict[int, list[Any]]:
        """Read the records of each trial of the search, as the library's own messages."""
        found = {}
        for place in sorted(Path(target).glob(f"wandb/*-run-*-store-{run_id}-*/run-*.wandb")):
            _, _, number, _ = place.stem.removeprefix("run-").split("-")
            records = wandb_records(place.read_bytes())
            if records[1].run.job_type == "trial":
                assert int(number) not in found, "nothing is there twice"
                found[int(number)] = records
        return found

    def told(self, target: str, run_id: int) -> Told:
        found = {}
        for number, records in self.runs(target, run_id).items():
            state = TrialState(records[1].run.tags[0])
            (summary,) = [one.summary.update for one in records if one.HasField("summary")]
            values = {one.nested_key[0]: json.loads(one.value_json) for one in summary}
            value = values.get("val_auc", values.get("objective"))
            found[number] = (state, value if state is TrialState.COMPLETE else None)
        return found

    def curve(self, target: str, run_id: int, number: int, metric: str) -> list[tuple[int, float]]:
        return [
            (one.history.step.num, json.loads(item.value_json))
            for one in self.runs(target, run_id)[number]
            for item in one.history.item
            if item.nested_key[:] == [metric]
        ]

    def no_target(self, tmp_path: Path) -> str:
        (tmp_path / "file").touch()
        return str(tmp_path / "file")

    @pytest.fixture
    def server(self) -> Iterator[WandbServer]:
        with wandb_server() as found:
            yield found

    def test_the_library_uploads_each_trial_once(
        self, target: str, server: WandbServer, tmp_path: Path
    ) -> None:
        """What reads the files here is the library's own program."""
        of = good_run(3, fail=0.0)
        for _ in range(2):
            self.export(target, of)
            server.sync(target, tmp_path / "home")
            assert len(server.runs) == 3
            for one in of.trials:
                (name,) = [name for name in server.runs if f"-12-{one.trial.number}-" in name]
                run, lines = server.runs[name], server.history[name]
                assert run["project"] == "wine-quality"
                assert run["groupName"] == "wine-quality/run-12"
                config = json.loads(run["config"])
                del config["_wandb"]
                assert config == {key: {"value": v} for key, v in one.trial.params.items()}
                assert run["summary"]["val_auc"] == pytest.approx(one.trial.value)
                took = (one.attempts[0].ended_at - one.attempts[0].started_at).total_seconds()
                assert run["summary"]["_runtime"] == pytest.approx(took)
                assert run["exitcode"] == 0
                assert [line["_step"] for line in lines] == list(range(1, 31))
                wanted = [seen.value for seen in one.observations]
                assert [line["val_auc"] for line in lines] == pytest.approx(wanted)

    def test_a_trial_that_goes_on_is_uploaded_when_it_has_ended(
        self, target: str, server: WandbServer, tmp_path: Path
    ) -> None:
        curve = [Observation("val_auc", 0.5, 1, time=2e9), Observation("val_auc", 0.75, 2)]
        going = view(trial(1), attempt(1, 0, None), observations=curve[:1])
        done = view(trial(2, 0.25), attempt(2, 0, 5))
        failed = view(trial(1, cause=Cause.TIMEOUT, reason="10m"), attempt(1, 0, 9))
        self.export(target, RunView(run(), [going, done]))
        server.sync(target, tmp_path / "home")
        assert [one["displayName"] for one in server.runs.values()] == ["trial 2"]
        self.export(target, RunView(run(), [replace(failed, observations=curve), done]))
        server.sync(target, tmp_path / "home")
        found = {one["displayName"]: one for one in server.runs.values()}
        assert found.keys() == {"trial 1", "trial 2"}
        assert (found["trial 1"]["exitcode"], found["trial 1"]["notes"]) == (1, "10m")
        assert found["trial 1"]["tags"] == ["failed", "sampler", "timeout"]
        assert len(list(Path(target).glob("wandb/*-run-*"))) == 2

    def test_records_longer_than_a_block_and_at_its_end(self) -> None:
        from wandb.proto.wandb_internal_pb2 import Record

        for size in (1, 32_700, *range(32_730, 32_770), 65_530, 100_000):
            notes = ["a" * size, "b", "c" * size]
            records = [Record(run={"notes": one}).SerializeToString() for one in notes]
            assert [one.run.notes for one in wandb_records(wandb.log(records))] == notes


def wandb_records(content: bytes) -> list[Any]:
    """Read a file, each checksum too: the library's release has no reader in Python any more."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert content[:7] == b":W&B\xe1\xbe\0"
    at, whole, found = 7, b"", []
    while at < len(content):
        if (left := 32_768 - at % 32_768) < 7:
            at += left
            continue
        crc, size, kind = struct.unpack_from("<IHB", content, at)
        part = content[at + 7 : at + 7 + size]
        assert crc == zlib.crc32(bytes([kind]) + part)
        whole, at = whole + part, at + 7 + size
        if kind in (1, 4):
            found.append(Record.FromString(whole))
            whole = b""
    assert [one.num for one in found] == list(range(1, len(found) + 1))
    return found


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    collector = TfeventsCollector(Metrics(collector="tfevents", path=folder.name))
    found = defaultdict(list)
    for one in collector.scalars(Source(folder / "log", folder.parent)):
        found[one.tag].append((one.step, one.value))
    return found


#: What the plugin's numbers for states stand for here.
_ROWS = {
    event_file.UNKNOWN: TrialState.STOPPED,
    event_file.SUCCESS: TrialState.COMPLETE,
    event_file.FAILURE: TrialState.FAILED,
    event_file.RUNNING: TrialState.RUNNING,
}


def _row(folder: Path) -> TrialState:
    """Read the state of a row: event, summary, value, metadata, plugin, data, end, status."""
    for content, _ in tfevents.records(folder / FILE):
        for summary in tfevents._read(content)[5]:
            for value in tfevents._read(summary)[1]:
                fields = tfevents._read(value)
                if fields[1] == [event_file.SESSION_END.encode()]:
                    found = fields[9][0]
                    for number in (1, 2, 4):
                        (found,) = tfevents._read(found)[number]
                    return _ROWS[tfevents._read(found)[1][0]]
    raise AssertionError(f"no end in {folder}")


class TestEventFile:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(
            st.tuples(st.text("a/é<", min_size=1), st.floats(width=32, allow_nan=False)), max_size=9
        )
    )
    def test_what_is_written_is_read(self, values: list[tuple[str, float]]) -> None:
        with TemporaryDirectory() as name:
            events = [
                event_file.event([event_file.scalar(tag, value)], time=1.5, step=step)
                for step, (tag, value) in enumerate(values)
            ]
            place = Path(name) / "tb" / FILE
            place.parent.mkdir()
            place.write_bytes(event_file.file(events, 1.5))
            found = _scalars(place.parent)
            told = [(s, tag, value) for tag, curve in found.items() for s, value in curve]
            assert sorted(told) == sorted((s, t, v) for s, (t, v) in enumerate(values))

    def test_what_no_float_has_room_for_is_infinite(self) -> None:
        assert event_file.scalar("x", 1e300)[-4:] == event_file.scalar("x", math.inf)[-4:]
        assert event_file.scalar("x", -1e300)[-4:] == event_file.scalar("x", -math.inf)[-4:]


def heads(kind: int, **domain: Any) -> dict[str, Any]:
    return {"kind": kind, "choices": [], "ends": []} | domain


def test_runs_of_other_ranges_have_the_widest() -> None:
    one = {"x": heads(3, ends=[0, 1]), "y": heads(1, choices=["a"])}
    other = {"x": heads(3, ends=[-1, 0.5]), "y": heads(1, choices=["b"])}
    found = union([one, other])
    assert found["x"]["ends"] == [-1, 1]
    assert found["y"]["choices"] == ["a", "b"]
    assert union([one, {"x": heads(1, choices=["auto"])}])["x"] == heads(1)


class TestSeries:
    def test_a_later_attempts_report_of_a_step_counts(self) -> None:
        seen = [Observation("a", 1.0, 1), Observation("a", 2.0, 2), Observation("a", 3.0, 2)]
        found = series([*seen, Observation("a", 4.0, 3), Observation("b", 5.0)])
        assert [(one.step, one.value) for one in found["a"]] == [(1, 1.0), (2, 3.0), (3, 4.0)]
        assert [(one.step, one.value) for one in found["b"]] == [(1, 5.0)]

    def test_trials_that_have_reported_nothing_are_there_too(self) -> None:
        of = RunView(run(), [view(trial(1)), view(trial(3)), view(trial(4))])
        reported = [(2, 1, Observation("a", 0.5, 1)), (3, 1, Observation("a", 1.5, 1))]
        found = list(Exported(of, lambda: reported).trials())
        assert [(one.trial.number, bool(told)) for one, told in found] == [
            (1, False), (3, True), (4, False)
        ]  # fmt: skip


def test_every_exporter_has_its_contract() -> None:
    tested = {one.name for one in ExporterContract.__subclasses__()}
    assert set(EXPORTERS) - tested == {"mlflow"}  # tests/integration/test_mlflow_deployer.py


class TestCommands:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HPO_HOME", str(tmp_path))
        monkeypatch.delenv("HPO_STORE", raising=False)
        upgrade(f"sqlite:///{tmp_path}/hpo.db")

    @pytest.fixture
    def night(self, tmp_path: Path) -> None:
        """Leave two runs of one trial each."""
        with Store.open(f"sqlite:///{tmp_path}/hpo.db") as store:
            searched(store, 1)
            searched(store, 2)

    def test_the_newest_run_comes_to_tensorboard(
        self, night: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["tensorboard"]) == 0
        board = tmp_path / "tensorboard"
        assert capsys.readouterr().out == (
            f"{board}/000002-nightly: tensorboard --logdir {board}\n"
        )
        assert (board / "000002-nightly" / "trial-0001" / FILE).exists()
        assert main(["tensorboard", "1", "2", "-o", str(tmp_path / "two"), "--json"]) == 0
        told = [json.loads(line)["run"] for line in capsys.readouterr().out.splitlines()]
        assert told == [1, 2]

    def test_a_run_is_exported_from_the_store_itself(self, night: None, tmp_path: Path) -> None:
        target = str(tmp_path / "nightly.journal")
        assert main(["export", "1", "--to", "optuna", "-o", target]) == 0
        assert set(TestOptuna().told(target, 1)) == {1}

    def test_what_cannot_be_exported_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["tensorboard"]) == 1
        assert capsys.readouterr().err == "there is no run yet\n"
        assert main(["export", "1", "--to", "optuna"]) == 2
        assert capsys.readouterr().err == "--to optuna: needs -o, which says where to\n"
