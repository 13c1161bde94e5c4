"""CONTRIBUTING.md, followed to the letter: one file, one row, one class of tests."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collector_contract import CollectorContract, Row, put
from sampler_contract import Recipe, SamplerContract
from scheduler_contract import SchedulerContract
from test_examples import NEEDS, example

import hpo_lib.samplers
import hpo_lib.schedulers
from hpo_lib import registry
from hpo_lib.collectors import Source
from hpo_lib.files.places import Place

ROOT = Path(__file__).parents[2]
_ROW = re.compile(
    r"^\| (\w+) \| `([\w/.]+)` \| `([A-Z]+)` in `([\w/.]+)`.* \| `([\w/.]+)` \|$", re.MULTILINE
)


KINDS = ("sampler", "scheduler", "collector", "backend", "deployer", "exporter")

CSV = """
from hpo_lib.collectors import plain
from hpo_lib.core.trial import Observation
from hpo_lib.files.lines import lines


class CsvCollector:
    def __init__(self, settings):
        self.path = settings.path or "metrics.csv"

    def collect(self, source, wanted):
        for line in lines(source.output / self.path):
            parts = line.split(",")
            if len(parts) == 4 and parts[1] in wanted:
                yield Observation(parts[1], float(parts[2]), step=int(parts[0]))
"""


def table() -> dict[str, tuple[str, str, str, str]]:
    """Give protocol, table, its file and contract by kind of part."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return {row[0]: row[1:] for row in _ROW.findall(text)}


def test_the_table_has_every_kind() -> None:
    assert set(table()) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_table_says_is_there(kind: str) -> None:
    protocol, rows, file, contract = table()[kind]
    tree = ast.parse((ROOT / protocol).read_text(encoding="utf-8"))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert kind.capitalize() in classes
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    assert getattr(module, rows)
    assert f"class {kind.capitalize()}Contract" in (ROOT / contract).read_text(encoding="utf-8")


@pytest.fixture
def added(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Put a file into a package's folder, as far as imports can tell."""
    package = importlib.import_module(request.cls.package)
    place = tmp_path_factory.mktemp("added")
    package.__path__.append(str(place))
    yield place
    package.__path__.remove(str(place))
    for name in [one for one in sys.modules if one.startswith(f"{request.cls.package}.added_")]:
        del sys.modules[name]


class TestAddedSampler(SamplerContract):
    package = "hpo_lib.samplers"
    name = "added"

    @pytest.fixture
    def recipe(self, added: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
        (added / "added_walk.py").write_text(NEEDS + example(hpo_lib.samplers))
        row = "hpo_lib.samplers.added_walk:StepSampler"
        monkeypatch.setitem(registry.SAMPLERS, self.name, row)
        return Recipe(self.name)


class TestAddedScheduler(SchedulerContract):
    package = "hpo_lib.schedulers"

    @pytest.fixture
    def section(self, added: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        (added / "added_twice.py").write_text(NEEDS + example(hpo_lib.schedulers))
        row = "hpo_lib.schedulers.added_twice:TwiceScheduler"
        monkeypatch.setitem(registry.SCHEDULERS, "added", row)
        return {"name": "added"}


class TestAddedCollector(CollectorContract):
    package = "hpo_lib.collectors"
    name = "added"

    @pytest.fixture(autouse=True)
    def row(self, added: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (added / "added_csv.py").write_text(CSV)
        row = "hpo_lib.collectors.added_csv:CsvCollector"
        monkeypatch.setitem(registry.COLLECTORS, self.name, row)

    def leave(self, source: Source, rows: list[Row]) -> Place:
        lines = [f"{step},{name},{value},end" for step, row in rows for name, value in row.items()]
        return put(source.output / "metrics.csv", "\n".join(lines).encode())
