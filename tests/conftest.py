"""Hypothesis profiles and MiniStack, for all tests.

The profile `dev` is quick, `ci` searches longer; HYPOTHESIS_PROFILE chooses.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("dev", max_examples=30, deadline=None)
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

#: Where the folders of tests are, if there is room for all of them: most tests wait for a disk.
_MEMORY, _ROOM = "/dev/shm", 8 * 2**30
#: What the folders begin with whose tests share an Airflow.
_SHARING = "tests/acceptance/"
if (
    os.access(_MEMORY, os.W_OK | os.X_OK)
    and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
    and shutil.disk_usage(_MEMORY).free > _ROOM
):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test of an engine or a cluster that no variable names."""
    missing = _missing(item)
    if missing:
        pytest.skip(f"not set: {', '.join(missing)}")


class _Failures:
    """Prints a failure as soon as there is one: a run that is ended from outside has no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        """Take what prints."""
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print which test failed, where, and how."""
        if report.failed:
            said = str(report.longrepr).strip().splitlines()[-12:]
            told = (f"FAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)", *said)
            self._terminal.write("\n" + "\n".join(told) + "\n")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have failures printed at once by the process that prints."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(_Failures(terminal))


def _missing(item: pytest.Item) -> list[str]:
    """Name the variables that an item needs and that are not set."""
    names = [name for mark in item.iter_markers("needs") for name in mark.args]
    return [name for name in dict.fromkeys(names) if not os.environ.get(name)]


def _scope(nodeid: str) -> str:
    """Name what one process runs as a whole: a file, or a folder below tests/acceptance."""
    file = nodeid.split("::", 1)[0]
    folder = file.rpartition("/")[0]
    return folder if folder.startswith(_SHARING) else file


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have processes that share the tests take turns at those that need an Airflow.

    An Airflow costs an eighth of a core while it waits. So those that need one are spread evenly
    among the others, which compute.
    """
    if not hasattr(config, "workerinput"):
        return
    scopes: dict[str, list[pytest.Item]] = {}
    for item in items:
        scopes.setdefault(_scope(item.nodeid), []).append(item)
    long = [
        name
        for name, held in scopes.items()
        if any(one.get_closest_marker("airflow") and not _missing(one) for one in held)
    ]
    short = [name for name in scopes if name not in long]
    ordered: list[str] = []
    for nth, name in enumerate(long):
        first, last = (len(short) * at // len(long) for at in (nth, nth + 1))
        ordered += [name, *short[first:last]]
    items[:] = [item for name in ordered or short for item in scopes[name]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, and whole folders below tests/acceptance.

    The tests of such a folder share an Airflow: a second one in the other process would take a
    fifth of a core while it waits.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByAirflow(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _scope(nodeid)

    return ByAirflow(config, log)


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no command say that it goes on because a machine is slow."""
    monkeypatch.setattr("hpo_lib.cli.console._SILENT_S", 600.0)


@pytest.fixture(scope="session", autouse=True)
def _aws_is_described_once() -> Iterator[None]:
    """Read what botocore describes services by once, not for each client: 0.3 s of CPU each."""
    from botocore.loaders import JSONFileLoader

    load = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: load(path))
        yield


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MiniStack, started once for a module."""
    from tests.ministack import ministack

    with ministack(tmp_path_factory.mktemp("ministack")) as address:
        yield address
