"""What every format of a log has to do; a subclass names it and has a log of the real thing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from hpo_lib import registry
from hpo_lib.collectors import Source
from hpo_lib.core.trial import Observation
from hpo_lib.registry import load
from hpo_lib.spec.sections import Metrics

LOGS = Path(__file__).parent / "data" / "logs"
#: A value and the step that it belongs to.
Points = Sequence[tuple[int | None, float]]


def read(log: Path, wanted: Iterable[str], **settings: object) -> list[Observation]:
    """Read a log as a trial's."""
    collector = load("collector", "stdout")(Metrics(**settings))
    found = list(collector.collect(Source(log, log.parent), frozenset(wanted)))
    assert not collector.unreadable
    return found


def points(found: Iterable[Observation]) -> dict[str, Points]:
    """Give values with their steps by metric."""
    series: dict[str, list[tuple[int | None, float]]] = defaultdict(list)
    for one in found:
        series[one.metric].append((one.step, one.value))
    return dict(series)


class FormatContract:
    """Inherit, name the format, the log, and what it holds; `number` is one value as printed."""

    name: str
    log: Path
    holds: Mapping[str, Points]
    number: str

    def test_a_log_of_the_real_thing_is_read_as_what_it_is(self) -> None:
        assert points(read(self.log, self.holds)) == self.holds

    def test_it_is_read_so_by_name_too(self) -> None:
        assert points(read(self.log, self.holds, format=self.name)) == self.holds

    def test_it_is_found_in_the_log(self) -> None:
        tally = load("collector", "stdout")(Metrics()).tally(
            Source(self.log, self.log.parent), frozenset(self.holds)
        )
        assert tally.most_common(1)[0][0] == self.name

    def test_other_formats_do_not_read_it_for_theirs(self) -> None:
        loose = {"name: value", "name=value", self.name}
        for other in registry.FORMATS.keys() - loose:
            assert read(self.log, self.holds, format=other) == []

    @pytest.mark.parametrize("wrong", ["1,234.56", "0,532", "9332/13036", "1:30", "0.5.1", "12ms"])
    def test_what_is_not_wholly_a_number_is_never_a_value(self, tmp_path: Path, wrong: str) -> None:
        text = self.log.read_text()
        assert self.number in text
        log = tmp_path / "log.txt"
        log.write_text(text.replace(self.number, wrong))
        collector = load("collector", "stdout")(Metrics(format=self.name))
        found = list(collector.collect(Source(log, tmp_path), frozenset(self.holds)))
        right = {value for series in self.holds.values() for _, value in series}
        assert {one.value for one in found} <= right
        (reason,) = collector.unreadable.values()
        assert re.search(rf"must be wholly a number, got '.*{re.escape(wrong[:4])}", reason)

    def test_a_torn_log_gives_no_value_that_was_not_printed(self, tmp_path: Path) -> None:
        content = self.log.read_bytes()
        right = {(n, point) for n, series in self.holds.items() for point in series}
        log = tmp_path / "log.txt"
        for end in range(0, len(content), max(len(content) // 80, 1)):
            whole = content[:end].rpartition(b"\n")[0]
            log.write_bytes(whole)
            for one in read(log, self.holds, format=self.name):
                assert (one.metric, (one.step, one.value)) in right | self.passing(), end

    def passing(self) -> set[tuple[str, tuple[int | None, float]]]:
        """Give values that only a log shows that ends too early."""
        return set()
