"""A disk that fills up, has no names left, becomes read-only or vanishes while a trial runs."""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends import AttemptName, Request, local_guard
from hpo_lib.backends.local import LocalBackend
from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause
from hpo_lib.errors import StoreError, TransientError
from hpo_lib.files import artifacts
from hpo_lib.records import Attempt, Run
from hpo_lib.runs import lifecycle
from hpo_lib.store import Store, upgrade
from hpo_lib.trials import runner
from hpo_lib.trials.outcome import outcome
from tests.integration.loop import Loop, quietly
from tests.integration.test_local_backend import alive, end, guard_of, until
from tests.integration.test_runs import CONF, KEY, Bench

STORE = "0123456789ab"
#: A trial that goes on when a test says so, by files on another disk.
PROGRAM = """
import os, pathlib, sys, time
def told(word):
    (there / f"{word}.waits").touch()
    while not (there / word).exists():
        time.sleep(0.02)
there = pathlib.Path(sys.argv[1])
"""


def _until_full(take: Callable[[], object]) -> None:
    """Take more until there is no more."""
    try:
        while True:
            take()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


class Disk:
    """A small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self) -> None:
        """Take all its room."""
        with self._ballast.open("ab", buffering=0) as file:
            _until_full(lambda: file.write(bytes(4096)))

    def take_names(self) -> None:
        """Take all its inodes."""
        (self.folder / "names").mkdir()
        numbers = itertools.count()
        _until_full(lambda: (self.folder / "names" / str(next(numbers))).touch())

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    yield from _mounted(folder, "-t", "tmpfs", "-o", "size=4m,nr_inodes=300", "tmpfs")


def _mounted(folder: Path, *words: str) -> Iterator[Disk]:
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def backend(disk: Disk, tmp_path: Path) -> Iterator[LocalBackend]:
    made = LocalBackend(home=disk.folder, workdir=tmp_path, grace_s=60.0)
    yield made
    made.stop(made.handle(AttemptName(STORE, "000001-test", 1, 1)))


@pytest.fixture
def handle(backend: LocalBackend) -> dict[str, Any]:
    return backend.handle(AttemptName(STORE, "000001-test", 1, 1))


def program(there: Path, code: str, **changes: Any) -> Request:
    command = [sys.executable, "-c", PROGRAM + code, str(there)]
    return Request(**({"command": command, "env": {}, "timeout_s": 120.0} | changes))


def waits(there: Path, word: str) -> None:
    until((there / f"{word}.waits").exists)


def say(there: Path, word: str) -> None:
    (there / word).touch()


@pytest.mark.parametrize("want", [Disk.fill, Disk.take_names])
@pytest.mark.parametrize("code", [0, 3])
def test_the_end_of_an_attempt_is_known_without_any_room(
    disk: Disk, backend: LocalBackend, handle: dict[str, Any], tmp_path: Path, want: Any, code: int
) -> None:
    backend.submit(handle, program(tmp_path, f"told('go'); sys.exit({code})"))
    waits(tmp_path, "go")
    want(disk)
    say(tmp_path, "go")
    assert end(backend, handle)[1] == Exit(Ending.EXITED, code)


@pytest.mark.parametrize("want", [Disk.fill, Disk.take_names])
def test_an_attempt_can_be_stopped_without_any_room(
    disk: Disk, backend: LocalBackend, handle: dict[str, Any], tmp_path: Path, want: Any
) -> None:
    backend.submit(handle, program(tmp_path, "told('never')"))
    waits(tmp_path, "never")
    want(disk)
    backend.end(handle)
    until(lambda: backend.poll(handle) is not None)
    assert backend.poll(handle) == Exit(Ending.STOPPED, None, "asked to stop")


PRINTER = """
print("loss=0.75", flush=True)
print("loss=0.5", end="", flush=True)
told("full")
print("625", flush=True)
for number in range(20_000):
    print(f"step={number} loss=0.125")
sys.stdout.flush()
told("room")
print("whole again", flush=True)
print("loss=0.25", flush=True)
"""


def test_a_log_without_room_neither_ends_the_trial_nor_tells_half_a_number(
    disk: Disk, backend: LocalBackend, handle: dict[str, Any], tmp_path: Path
) -> None:
    backend.submit(handle, program(tmp_path, PRINTER))
    waits(tmp_path, "full")
    disk.fill()
    say(tmp_path, "full")
    waits(tmp_path, "room")
    disk.empty()
    say(tmp_path, "room")
    _, found = end(backend, handle)
    assert (found.ending, found.code) == (Ending.EXITED, 0)
    gap = r"the disk of its log was full: [\d,]+ bytes of it are missing"
    assert re.fullmatch(gap, found.detail)
    first, *kept, whole, last = backend.log(handle).read_text().splitlines()
    assert (first, whole, last) == ("loss=0.75", "whole again", "loss=0.25")
    (missing,) = (line for line in kept if line.startswith("[hpo] lines are missing here, "))
    assert missing.endswith(" bytes: No space left on device")
    assert {*kept} <= {missing, "loss=0.5625", *(f"step={n} loss=0.125" for n in range(20_000))}
    judged = outcome(_spec(), found, Source(backend.log(handle), backend.output(handle)))
    assert judged.reason.startswith("loss = 0.25; ")
    assert "; the disk of its log was full: " in judged.reason


def _spec() -> Any:
    from hpo_lib.spec import load

    return load(
        CONF | {"objective": {"metric": "loss", "direction": "minimize"}, "constraints": []}
    )


def test_a_log_that_ends_without_room_says_so_in_the_outcome(
    disk: Disk, backend: LocalBackend, handle: dict[str, Any], tmp_path: Path
) -> None:
    backend.submit(handle, program(tmp_path, "told('full')\nprint('x' * 300_000)\nsys.exit(1)"))
    waits(tmp_path, "full")
    disk.fill()
    say(tmp_path, "full")
    found = end(backend, handle)[1]
    lost = "the disk of its log was full: 300,001 bytes of it are missing"
    assert found == Exit(Ending.EXITED, 1, lost, lost)


def test_a_log_has_one_note_for_each_gap_that_has_ended(
    disk: Disk, backend: LocalBackend, handle: dict[str, Any], tmp_path: Path
) -> None:
    code = (
        "print(f'{0:0600}', flush=True); told('full')\n"
        "for n in range(1, 200):\n    print(f'{n:0600}', flush=True); time.sleep(0.001)\n"
        "told('room'); print('last')"
    )
    backend.submit(handle, program(tmp_path, code))
    waits(tmp_path, "full")
    disk.fill()
    say(tmp_path, "full")
    waits(tmp_path, "room")
    time.sleep(0.2)
    disk.empty()
    say(tmp_path, "room")
    end(backend, handle)
    *kept, note, last = backend.log(handle).read_text().splitlines()
    assert [int(line) for line in kept] == list(range(len(kept)))
    missing = (200 - len(kept)) * 601
    assert note == f"[hpo] lines are missing here, {missing:,} bytes: No space left on device"
    assert last == "last"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_log_has_no_room_for_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Pieces of lines come while room comes and goes: the log has whole lines, and notes."""
    chance, log, file = random.Random(seed), local_guard._Log(tmp_path), tmp_path / "log.txt"
    write, most = os.write, 0

    def limited(to: int, data: bytes) -> int:
        if (room := most - file.stat().st_size) <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(to, data[:room])

    monkeypatch.setattr(os, "write", limited)
    lines = [b"%d" % n * chance.randint(1, 90) + b"\n" for n in range(1_000, 1_100)]
    rest = b"".join(lines)
    while rest:
        most += chance.choice([0, 0, 50, 400])
        size = chance.randint(1, 300)
        log._keep(rest[:size])
        rest = rest[size:]
    most += 1_000
    log._keep(b"end\n")
    said, kept = log.close(), file.read_bytes().splitlines(keepends=True)
    notes = [line for line in kept if line.startswith(b"[hpo]")]
    whole = [line for line in kept if line not in notes]
    told = [int(line.split()[5].replace(b",", b"")) for line in notes]
    assert set(whole) <= {*lines, b"end\n"}
    assert not any(one in notes and other in notes for one, other in itertools.pairwise(kept))
    assert sum(told) == sum(map(len, [*lines, b"end\n"])) - sum(map(len, whole))
    assert f"{sum(told):,} bytes" in said


def test_a_metric_that_the_disk_had_no_room_for_is_no_fault_of_the_trial(
    disk: Disk, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    there = tmp_path / "there"
    there.mkdir()
    told = "print('loss=2', flush=True); told('go'); print('val_loss=1 size_mb=1 ' * 4_000)"
    code = PROGRAM.replace("sys.argv[1]", repr(str(there))) + told
    with Store.open(url) as store:
        bench = Bench(store, disk.folder)
        run = _run(bench, code)
        number = lifecycle.next_wave(store, KEY, 1, bench.installation).assignments[0].trial

        def full(attempt: Attempt, request: Request) -> Exit:
            bench.backend.submit(attempt.handle, request)
            waits(there, "go")
            disk.fill()
            say(there, "go")
            return end(bench.backend, attempt.handle)[1]

        def follow(attempt: Attempt, request: Request) -> Exit:
            return runner.follow(bench.backend, attempt, request, quietly)

        said = "lost: the disk of its log was full: 84,001 bytes of it are missing; there is"
        with pytest.raises(TransientError, match=f"attempt 1 failed: {said} another$"):
            runner.perform(store, run, number, bench.backend, quietly, full)
        disk.empty()
        runner.perform(store, run, number, bench.backend, quietly, follow)
        assert [one.cause for one in store.attempts(run.id, number)] == [Cause.LOST, None]


@pytest.mark.parametrize("want", [Disk.fill, Disk.take_names])
def test_an_attempt_that_finds_no_room_does_not_begin_and_says_why(
    disk: Disk, backend: LocalBackend, handle: dict[str, Any], tmp_path: Path, want: Any
) -> None:
    want(disk)
    request = program(tmp_path, "print(1)")
    with pytest.raises(TransientError, match="No space left on device"):
        backend.submit(handle, request)
    shutil.rmtree(disk.folder / "names", ignore_errors=True)
    (disk.folder / "ballast").unlink(missing_ok=True)
    backend.submit(handle, request)
    assert end(backend, handle) == (["1"], Exit(Ending.EXITED, 0))


def test_a_guard_that_is_lost_on_a_full_disk_is_told_with_the_disk(
    disk: Disk, backend: LocalBackend, handle: dict[str, Any], tmp_path: Path
) -> None:
    backend.submit(handle, program(tmp_path, "told('never')"))
    waits(tmp_path, "never")
    disk.fill()
    os.kill(guard_of(handle), signal.SIGKILL)
    found = end(backend, handle)[1]
    assert found.ending is Ending.LOST
    assert found.detail.startswith(
        "its guard process is gone, and its disk says: No space left on device"
    )


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that can be made read-only while files are open, as the kernel does after errors."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    made = shutil.which("mkfs.ext4") or shutil.which("mkfs.ext4", path="/sbin:/usr/sbin")
    if made is None:
        pytest.skip("there is no mkfs.ext4 here")
    subprocess.run([made, "-q", "-F", str(image)], check=True)
    yield from _mounted(folder, "-o", "loop", str(image))


def test_a_disk_that_becomes_read_only_costs_an_attempt_in_words(
    failing_disk: Disk, tmp_path: Path
) -> None:
    backend = LocalBackend(home=failing_disk.folder, workdir=tmp_path)
    handle = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    backend.submit(handle, program(tmp_path, "told('go'); print('loss=1', flush=True)"))
    waits(tmp_path, "go")
    read_only = ["mount", "-o", "remount,abort", str(failing_disk.folder)]
    if subprocess.run(read_only, check=False).returncode != 0:
        pytest.skip("no disk can be made read-only here")
    say(tmp_path, "go")
    found = end(backend, handle)[1]
    assert found.ending is Ending.LOST
    assert "its disk says: Read-only file system" in found.detail


def test_a_disk_that_keeps_its_names_does_not_keep_the_end_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard insists for a while on telling the end; so what it does before must not fail."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    os.mkfifo(tmp_path / "printed")
    log = local_guard._Log(tmp_path)
    monkeypatch.setattr(Path, "unlink", refused)
    assert log.close() == ""


# ------------------------------------------------------------------ a folder of results vanishes


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        yield Bench(store, tmp_path / "home")


def test_a_folder_that_vanishes_under_a_trial_ends_it_as_lost(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    backend = LocalBackend(home=tmp_path / "home", workdir=tmp_path)
    handle = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    backend.submit(handle, program(tmp_path, "print(os.getpid(), flush=True); told('never')"))
    waits(tmp_path, "never")
    pid, guard = int(backend.log(handle).read_text()), guard_of(handle)
    shutil.rmtree(tmp_path / "home")
    found = end(backend, handle)[1]
    assert found == Exit(Ending.LOST, detail=f"its folder is gone: there is no {handle['folder']}")
    until(lambda: not alive(pid) and not alive(guard))


def test_what_vanished_is_a_counted_attempt_and_is_not_begun_again_unseen(
    bench: Bench, tmp_path: Path
) -> None:
    bench.home.mkdir()
    code = (
        f"open({str(tmp_path / 'count')!r}, 'a').write('x'); print('val_loss=1 size_mb=1 loss=1')"
    )
    run = _run(bench, code)
    number = lifecycle.next_wave(bench.store, KEY, 1, bench.installation).assignments[0].trial

    def killed(attempt: Attempt, request: Request) -> Exit:
        bench.backend.submit(attempt.handle, request)
        until(lambda: bench.backend.poll(attempt.handle) is not None)
        shutil.rmtree(attempt.handle["folder"])
        raise KeyboardInterrupt

    def follow(attempt: Attempt, request: Request) -> Exit:
        return runner.follow(bench.backend, attempt, request, quietly)

    with pytest.raises(KeyboardInterrupt):
        runner.perform(bench.store, run, number, bench.backend, quietly, killed)
    with pytest.raises(TransientError, match="attempt 1 failed: lost: its folder is gone"):
        runner.perform(bench.store, run, number, bench.backend, quietly, follow)
    assert (tmp_path / "count").read_text() == "x"
    runner.perform(bench.store, run, number, bench.backend, quietly, follow)
    assert (tmp_path / "count").read_text() == "xx"
    tried = bench.store.attempts(run.id, number)
    assert [one.cause for one in tried] == [Cause.LOST, None]


def _run(bench: Loop, code: str) -> Run:
    from hpo_lib.records import Provenance
    from hpo_lib.runs import admission

    trial = {"command": [sys.executable, "-c", code], "timeout": "1m"}
    return admission.begin(
        bench.store,
        KEY,
        CONF | {"trial": trial},
        bench.installation,
        backend="local",
        triggered_by="ada",
        provenance=Provenance(),
    )


# ------------------------------------------------------------------------------- our own writing


def _no_room(folder: Path) -> str:
    return rf"; its disk (may be full, or fail|needs room): {folder} has 0 of 4 MiB free$"


def test_a_store_without_room_says_so_and_goes_on_when_there_is(disk: Disk) -> None:
    url = f"sqlite:///{disk.folder}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        bench = Bench(store, disk.folder)
        _run(bench, "")
        disk.fill()
        with pytest.raises(StoreError, match=_no_room(disk.folder)):
            lifecycle.next_wave(store, KEY, 1, bench.installation)
        disk.empty()
        assert len(lifecycle.next_wave(store, KEY, 1, bench.installation).assignments) == 4


def test_a_file_that_finds_no_room_leaves_the_old_one_and_no_rest(disk: Disk) -> None:
    report = disk.folder / "report.html"
    artifacts.write(report, b"old")
    disk.fill()
    before = sorted(disk.folder.iterdir())
    for place in (report, disk.folder / "new" / "trials.csv"):
        with pytest.raises(OSError, match="No space left on device"):
            artifacts.write(place, bytes(100_000))
    assert report.read_bytes() == b"old"
    assert [one for one in sorted(disk.folder.iterdir()) if one.name != "new"] == before
    disk.empty()
    artifacts.write(report, b"new")
    assert report.read_bytes() == b"new"
