"""What every collector does: a class each, which says how a trial leaves its metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tfevents_writer import event, simple, tensor, written
from upath import UPath

from hpo_lib.collectors import Source
from hpo_lib.core.trial import Observation
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.files.places import Place, tail
from hpo_lib.registry import ALLOWED_COLLECTORS, COLLECTORS, check, load
from hpo_lib.spec.sections import Metrics

WANTED = frozenset({"loss", "val_loss"})
Row = tuple[int, Mapping[str, float]]
ROWS: list[Row] = [
    (0, {"loss": 0.5, "val_loss": 0.75, "other": 9.0}),
    (1, {"loss": math.inf, "lossy": 9.0}),
    (2, {"loss": 0.25, "val_loss": 0.125}),
]


class CollectorContract:
    """Inherit, name the collector, and say how rows of metrics are left behind."""

    name: str
    rows = ROWS

    def leave(self, source: Source, rows: list[Row]) -> Place:
        """Write the rows where the collector looks for them, and give the file."""
        raise NotImplementedError

    @pytest.fixture(params=["disk", "memory"])
    def folder(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
        place = tmp_path if request.param == "disk" else UPath(f"memory://{tmp_path}")
        yield place
        if request.param == "memory":
            place.fs.store.clear()

    @pytest.fixture
    def source(self, folder: Place) -> Source:
        return Source(log=folder / "log.txt", output=folder / "output")

    def collect(self, source: Source, **settings: str) -> list[Observation]:
        collector = load("collector", self.name)(Metrics(collector=self.name, **settings))
        return list(collector.collect(source, WANTED))

    def test_what_is_wanted_is_read_with_its_step(self, source: Source) -> None:
        self.leave(source, self.rows)
        found = self.collect(source)
        expected = {
            (name, step, value)
            for step, row in self.rows
            for name, value in row.items()
            if name in WANTED
        }
        assert {(one.metric, one.step, one.value) for one in found} == expected
        assert len(found) == len(expected)
        for name in WANTED:
            steps = [one.step or 0 for one in found if one.metric == name]
            assert steps == sorted(steps), "in the order in which they were written"

    def test_not_a_number_is_a_value(self, source: Source) -> None:
        self.leave(source, [(1, {"loss": math.nan})])
        (found,) = self.collect(source)
        assert (found.metric, found.step, math.isnan(found.value)) == ("loss", 1, True)

    def test_where_there_is_nothing_nothing_is_read(self, source: Source) -> None:
        assert self.collect(source) == []
        self.leave(source, [])
        assert self.collect(source) == []

    def test_an_unfinished_write_does_no_harm(self, source: Source) -> None:
        place = self.leave(source, self.rows)
        content = place.read_bytes()
        for end in range(len(content)):
            place.write_bytes(content[:end])
            self.collect(source)

    def test_a_store_that_does_not_answer_is_an_outage(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = UPath(f"memory://{tmp_path}")
        source = Source(log=folder / "log.txt", output=folder / "output")
        self.leave(source, self.rows)
        for name in ("open", "info", "ls"):
            monkeypatch.setattr(type(folder.fs), name, _outage)
        with pytest.raises(TransientError, match="cannot be reached: TimeoutError"):
            self.collect(source)


class OutputContract(CollectorContract):
    """The same for what reads a file of the output folder, which the trial may write."""

    def test_a_link_does_not_lead_out_of_the_output(self, tmp_path: Path) -> None:
        elsewhere = Source(tmp_path / "log.txt", tmp_path / "elsewhere")
        place = self.leave(elsewhere, self.rows)
        link = tmp_path / "output" / place.relative_to(elsewhere.output)
        link.parent.mkdir(parents=True)
        link.symlink_to(place)
        assert self.collect(Source(tmp_path / "log.txt", tmp_path / "output")) == []


def _outage(*_: Any, **__: Any) -> Any:
    raise TimeoutError


def _put(place: Place, content: bytes) -> Place:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def _printed(rows: list[Row]) -> bytes:
    lines = (
        f"epoch={step}: " + " ".join(f"{name}={value}" for name, value in row.items())
        for step, row in rows
    )
    return "\n".join(lines).encode()


class TestStdout(CollectorContract):
    name = "stdout"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        return _put(source.log, _printed(rows))


class TestFile(OutputContract):
    name = "file"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        return _put(source.output / "metrics.log", _printed(rows))

    def test_path_and_format_may_be_ones_own(self, source: Source) -> None:
        _put(source.output / "logs" / "all.txt", b"loss: 1\nloss: 2\n")
        form = r"(?P<name>\w+): (?P<value>\d+)"
        found = self.collect(source, path="logs/all.txt", format=form)
        assert [one.value for one in found] == [1.0, 2.0]


class TestJsonl(OutputContract):
    name = "jsonl"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        lines = (
            json.dumps({"step": step} | {n: _text(v) for n, v in r.items()}) for step, r in rows
        )
        return _put(source.output / "metrics.jsonl", "\n".join(lines).encode())


class TestTfevents(OutputContract):
    name = "tfevents"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        events = [
            event(*(make(name, value) for name, value in row.items()), step=step, time=step)
            for step, row in rows
            for make in ((simple, tensor)[step % 2],)
        ]
        place = source.output / "tensorboard" / "events.out.tfevents.1"
        return _put(place, written(*events))


class TestXcom(OutputContract):
    name = "xcom"
    rows = ROWS[:1]

    def leave(self, source: Source, rows: list[Row]) -> Place:
        returned: Any = [{"step": step, "metrics": _texts(row)} for step, row in rows]
        content = json.dumps(returned[0] if returned else None)
        return _put(source.output / "return.json", content.encode())


def _text(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _texts(row: Mapping[str, float]) -> dict[str, float | str]:
    return {name: _text(value) for name, value in row.items()}


class OwnCollector:
    """A collector of one's own: `step name value` in lines of `own.txt`."""

    def __init__(self, settings: Metrics) -> None:
        self.path = settings.path or "own.txt"

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        for line in tail(source.output / self.path, 1_000).decode().splitlines():
            step, name, value = [*line.split(), "", "", ""][:3]
            if name in wanted and value:
                yield Observation(name, float(value), int(step))


class TestOwn(CollectorContract):
    name = f"{__name__}:OwnCollector"

    @pytest.fixture(autouse=True)
    def _allow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(ALLOWED_COLLECTORS, f"somebody.else, {__name__}")

    def leave(self, source: Source, rows: list[Row]) -> Place:
        lines = [f"{step} {name} {value}" for step, row in rows for name, value in row.items()]
        return _put(source.output / "own.txt", "\n".join(lines).encode())

    def test_an_unfinished_write_does_no_harm(self, source: Source) -> None:
        """Leave this to whoever writes a collector."""


def test_every_collector_keeps_the_contract() -> None:
    heirs = {*CollectorContract.__subclasses__(), *OutputContract.__subclasses__()}
    tested = {heir.name for heir in heirs - {OutputContract}}
    assert tested == {*COLLECTORS, TestOwn.name}


OWN = "acme.metrics.readers:Reader"


@pytest.mark.parametrize("allowed", ["acme", "acme.metrics", " other , acme.metrics.readers ,"])
def test_a_deployment_allows_collectors_by_package(
    monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    monkeypatch.setenv(ALLOWED_COLLECTORS, allowed)
    assert check("collector", OWN) == OWN


@pytest.mark.parametrize("allowed", [None, "", ",", "acm", "acme.metric", "metrics.readers", "os"])
def test_what_is_not_allowed_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None
) -> None:
    monkeypatch.delenv(ALLOWED_COLLECTORS, raising=False)
    if allowed is not None:
        monkeypatch.setenv(ALLOWED_COLLECTORS, allowed)
    with pytest.raises(SpecError, match=r"operator can add acme\.metrics\.readers to HPO_COLL"):
        check("collector", OWN)
    with pytest.raises(SpecError):
        load("collector", OWN)


@pytest.mark.parametrize(
    "name", ["acme.readers", "acme:", ":Reader", "acme..b:C", "acme.b:C.d", "a b:C", "acmé:C"]
)
def test_a_dotted_path_has_one_form(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(ALLOWED_COLLECTORS, "acme")
    with pytest.raises(SpecError, match=r"must be package\.module:Class"):
        check("collector", name)


@pytest.mark.parametrize("name", ["acme_nowhere:Reader", "json:Nothing"])
def test_what_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(ALLOWED_COLLECTORS, "acme_nowhere,json")
    with pytest.raises(SpecError, match=f"collector '{name}' cannot be loaded: "):
        load("collector", name)
