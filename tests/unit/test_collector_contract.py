"""Every collector keeps the contract: a class each, which says how a trial leaves its metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from collector_contract import ROWS, CollectorContract, OutputContract, Row, printed, put
from tfevents_writer import event, simple, tensor, written

from hpo_lib.collectors import Source
from hpo_lib.core.trial import Observation
from hpo_lib.errors import SpecError
from hpo_lib.files.places import Place, tail
from hpo_lib.registry import ALLOWED_COLLECTORS, COLLECTORS, check, load
from hpo_lib.spec.sections import Metrics


class TestStdout(CollectorContract):
    name = "stdout"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        return put(source.log, printed(rows))


class TestFile(OutputContract):
    name = "file"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        return put(source.output / "metrics.log", printed(rows))

    def test_path_and_format_may_be_ones_own(self, source: Source) -> None:
        put(source.output / "logs" / "all.txt", b"loss: 1\nloss: 2\n")
        form = r"(?P<name>\w+): (?P<value>\d+)"
        found = self.collect(source, path="logs/all.txt", format=form)
        assert [one.value for one in found] == [1.0, 2.0]


class TestJsonl(OutputContract):
    name = "jsonl"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        lines = (
            json.dumps({"step": step} | {n: _text(v) for n, v in r.items()}) for step, r in rows
        )
        return put(source.output / "metrics.jsonl", "\n".join(lines).encode())


class TestTfevents(OutputContract):
    name = "tfevents"

    def leave(self, source: Source, rows: list[Row]) -> Place:
        events = [
            event(*(make(name, value) for name, value in row.items()), step=step, time=step)
            for step, row in rows
            for make in ((simple, tensor)[step % 2],)
        ]
        place = source.output / "tensorboard" / "events.out.tfevents.1"
        return put(place, written(*events))


class TestXcom(OutputContract):
    name = "xcom"
    rows = ROWS[:1]

    def leave(self, source: Source, rows: list[Row]) -> Place:
        returned: Any = [{"step": step, "metrics": _texts(row)} for step, row in rows]
        content = json.dumps(returned[0] if returned else None)
        return put(source.output / "return.json", content.encode())


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
        return put(source.output / "own.txt", "\n".join(lines).encode())

    def test_an_unfinished_write_does_no_harm(self, source: Source) -> None:
        """Leave this to whoever writes a collector."""


def test_every_collector_keeps_the_contract() -> None:
    heirs = {*CollectorContract.__subclasses__(), *OutputContract.__subclasses__()}
    own = {heir for heir in heirs - {OutputContract} if heir.__module__ != "test_contributing"}
    tested = {heir.name for heir in own}
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
