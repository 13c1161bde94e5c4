"""What every collector has to do; a subclass names it and says how a trial leaves its metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from hpo_lib.collectors import Source
from hpo_lib.core.trial import Observation
from hpo_lib.errors import TransientError, TrialFailed
from hpo_lib.files.places import Place
from hpo_lib.registry import load
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
        with suppress(TrialFailed):  # which says where it leads; or it is left alone in a folder
            assert self.collect(Source(tmp_path / "log.txt", tmp_path / "output")) == []


def _outage(*_: Any, **__: Any) -> Any:
    raise TimeoutError


def put(place: Place, content: bytes) -> Place:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def printed(rows: list[Row]) -> bytes:
    lines = (
        f"epoch={step}: " + " ".join(f"{name}={value}" for name, value in row.items())
        for step, row in rows
    )
    return "\n".join(lines).encode()
