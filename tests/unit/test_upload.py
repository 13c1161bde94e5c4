"""`hpo_lib.runtime.upload`: what reaches the store, in which order, and how it ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.runtime import checkpoints, upload

ROOT = Path(upload.__file__).parents[2]


class Flaky(MemoryFileSystem):
    """A store that refuses some names and remembers the order of the others."""

    protocol = "flaky"
    store: dict[str, object] = {}  # noqa: RUF012 - as in its base class
    refused: set[str] = set()  # noqa: RUF012
    order: list[str] = []  # noqa: RUF012

    def put_file(self, lpath: str, rpath: str, **kwargs: object) -> None:
        name = rpath.rpartition("/")[2]
        if name in self.refused:
            raise PermissionError(f"{name} is refused")
        super().put_file(lpath, rpath, **kwargs)
        self.order.append(name)


fsspec.register_implementation("flaky", Flaky, clobber=True)


@pytest.fixture
def flaky() -> type[Flaky]:
    Flaky.store.clear()
    Flaky.refused.clear()
    Flaky.order.clear()
    return Flaky


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as settled at once; the machine's clock is fine enough between tests."""
    monkeypatch.setattr(upload, "_SETTLED_S", -60.0)


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files; one in the making has another name when it is whole, and counts then."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def upload_of(
    command: list[str],
    uri: str,
    *options: str,
    give_up_s: float = 60.0,
    new_session: bool = False,
) -> subprocess.Popen[str]:
    script = (
        "import sys; from hpo_lib.runtime import checkpoints, upload; "
        f"upload.GIVE_UP_S = {give_up_s}; sys.exit(upload.main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *options, "--", *command],
        cwd=ROOT,
        env={**os.environ, "HPO_OUTPUT": uri},
        stdin=subprocess.PIPE,  # a command that reads it ends with the test
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=new_session,
        text=True,
    )


def shell(script: str, uri: str, *options: str, **settings: float) -> tuple[int, str, str]:
    process = upload_of(["sh", "-c", script], uri, *options, **settings)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ------------------------------------------------------------------------------ what is copied

NAMES = st.sampled_from(
    ["a", "b.json", "model/weights", "model/deep/er", "with space", "ü#?[x]*%41"]
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["write", "append", "delete", "copy"]), NAMES, st.binary(max_size=3)),
    max_size=30,
)


@pytest.mark.parametrize("scheme", ["memory", "file"])
@given(changes=CHANGES)
def test_the_last_copy_makes_every_file_equal(tmp_path_factory, scheme, changes) -> None:
    folder, place = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("place")
    mirror = upload.Mirror(folder, f"{scheme}://{place}/")
    for change, name, content in changes:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if change == "copy":
            mirror.copy()
        elif change == "delete":
            path.unlink(missing_ok=True)
        else:
            with path.open("wb" if change == "write" else "ab") as file:
                file.write(content)
    mirror.copy()
    store, _ = fsspec.core.url_to_fs(f"{scheme}://")
    for name, content in contents(folder).items():
        assert store.cat_file(f"{place}/{name}") == content
    assert not list(place.rglob("*.part"))


@pytest.mark.usefixtures("settled")
def test_only_what_has_changed_is_copied_again(tmp_path: Path, flaky: type[Flaky]) -> None:
    mirror = upload.Mirror(tmp_path, "flaky://place")
    for name in ("a", "b"):
        (tmp_path / name).write_text("1")
    mirror.copy()
    mirror.copy()
    assert sorted(flaky.order) == ["a", "b"]
    (tmp_path / "a").write_text("22")
    mirror.copy()
    assert flaky.order[2:] == ["a"]


def test_a_file_written_a_moment_ago_is_copied_again(tmp_path: Path, flaky: type[Flaky]) -> None:
    mirror = upload.Mirror(tmp_path, "flaky://place")
    (tmp_path / "a").write_text("1")
    mirror.copy()
    mirror.copy()
    assert flaky.order == ["a", "a"]


def test_files_go_in_the_order_in_which_they_were_written(tmp_path, flaky: type[Flaky]) -> None:
    for age, name in enumerate(["checkpoint", "b.data", "a.data"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_000 - age, 1_000 - age))
    upload.Mirror(tmp_path, "flaky://place").copy()
    assert flaky.order == ["a.data", "b.data", "checkpoint"]


def test_checkpoints_that_are_rotated_away_leave_the_store_too(
    tmp_path: Path, flaky: type[Flaky], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_OUTPUT", str(tmp_path))
    mirror = upload.Mirror(tmp_path, "flaky://place")
    (tmp_path / "log").touch()
    for step in (1, 2, 3):
        with checkpoints.saving(step) as folder:
            (folder / "state").touch()
            mirror.copy()
        mirror.copy()
    (tmp_path / "log").unlink()
    mirror.copy()
    steps = [f"flaky://place/checkpoint/training/0000000{step}" for step in (2, 3)]
    kept = [f"{step}/{name}" for step in steps for name in ("checkpoint.json", "state")]
    assert sorted(flaky.store) == [*kept, "flaky://place/log"]


def test_links_to_files_are_followed_and_other_things_are_left_out(tmp_path: Path) -> None:
    folder, place = tmp_path / "folder", tmp_path / "place"
    folder.mkdir()
    (folder / "model-5").write_text("five")
    (folder / "latest").symlink_to("model-5")
    (folder / "nowhere").symlink_to("gone")
    os.mkfifo(folder / "pipe")
    upload.Mirror(folder, f"file://{place}").copy()
    assert contents(place) == {"model-5": b"five", "latest": b"five"}


@pytest.mark.usefixtures("settled")
def test_a_file_that_fails_does_not_keep_the_others(tmp_path, flaky: type[Flaky]) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_000, 1_000))
    flaky.refused.add("a")
    mirror = upload.Mirror(tmp_path, "flaky://place")
    for _ in range(2):
        with pytest.raises(PermissionError, match="a is refused"):
            mirror.copy()
    assert flaky.order == ["b", "c"]
    flaky.refused.clear()
    mirror.copy()
    assert flaky.order == ["b", "c", "a"]


def test_a_file_deleted_while_it_is_copied_is_no_failure(tmp_path, monkeypatch, flaky) -> None:
    (tmp_path / "a").touch()
    mirror = upload.Mirror(tmp_path, "flaky://place")
    put = mirror._put

    def delete_first(name: str) -> None:
        (tmp_path / name).unlink()
        put(name)

    monkeypatch.setattr(mirror, "_put", delete_first)
    mirror.copy()
    assert flaky.order == []


@contextmanager
def meanwhile(task: Callable[[], None]) -> Iterator[None]:
    """Run something again and again in another thread, until the block ends."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.is_set():
            task()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_reader_never_sees_fewer_lines_than_before(tmp_path: Path) -> None:
    folder, place = tmp_path / "folder", tmp_path / "place"
    folder.mkdir()
    metrics, seen = folder / "metrics.jsonl", place / "metrics.jsonl"
    metrics.write_text('{"step": 0}\n' * 20_000)
    mirror = upload.Mirror(folder, f"file://{place}")
    mirror.copy()
    counts = [20_000]

    def append() -> None:
        with metrics.open("a") as file:
            file.write('{"step": 1}\n')

    end = time.monotonic() + 1.0
    with meanwhile(append), meanwhile(mirror.copy):
        while time.monotonic() < end:
            counts.append(seen.read_text().count("\n"))
    assert counts == sorted(counts)
    assert counts[-1] > 20_000


# ----------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_the_output_arrives_and_the_code_is_the_commands_own(tmp_path, script, code) -> None:
    place = tmp_path / "deep" / "place"
    wrote = 'mkdir "$HPO_OUTPUT/model"; echo 1 > "$HPO_OUTPUT/model/m"; echo loss=1; '
    ended, out, err = shell(wrote + script, f"file://{place}")
    assert (ended, out, err) == (code, "loss=1\n", "")
    assert contents(place) == {"model/m": b"1\n"}


def test_the_local_folder_is_gone_afterwards(tmp_path: Path) -> None:
    _, out, _ = shell('ls -d "$HPO_OUTPUT"', f"file://{tmp_path}")
    assert out.startswith(os.sep)
    assert not Path(out.strip()).exists()


def test_what_is_already_there_is_neither_fetched_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "before").write_text("kept")
    _, out, _ = shell('ls "$HPO_OUTPUT"; touch "$HPO_OUTPUT/new"', f"file://{tmp_path}")
    assert out == ""
    assert contents(tmp_path) == {"before": b"kept", "new": b""}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_passed_on_and_the_last_copy_follows(tmp_path: Path, number: int) -> None:
    script = """
import os, pathlib, signal, sys, time
output = pathlib.Path(os.environ["HPO_OUTPUT"])
def stop(number, _):
    (output / "last").write_text(str(number))
    sys.exit(7)
signal.signal(int(sys.argv[1]), stop)
print("ready", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(int(number))]
    process = upload_of(command, f"file://{tmp_path}")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert contents(tmp_path) == {"last": str(int(number)).encode()}


def test_a_signal_to_the_whole_group_reaches_the_command_once(tmp_path: Path) -> None:
    script = """
import os, pathlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
sender = signal.sigwaitinfo([signal.SIGTERM]).si_pid
(pathlib.Path(os.environ["HPO_OUTPUT"]) / "sender").write_text(str(sender))
"""
    process = upload_of([sys.executable, "-c", script], f"file://{tmp_path}", new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)
    assert contents(tmp_path) == {"sender": str(process.pid).encode()}


def test_what_changes_is_copied_while_the_command_runs(tmp_path: Path) -> None:
    script = 'echo 1 > "$HPO_OUTPUT/a"; read line; exit 0'
    process = upload_of(["sh", "-c", script], f"file://{tmp_path}", "--every", "0.05")
    wait_for(lambda: contents(tmp_path) == {"a": b"1\n"})
    assert process.poll() is None
    process.kill()
    process.wait()


def test_killed_at_any_moment_every_file_in_the_store_is_whole(tmp_path: Path) -> None:
    script = """
import os, pathlib
output = pathlib.Path(os.environ["HPO_OUTPUT"])
for generation in range(10**6):
    part = output.parent / (output.name + ".new")
    part.write_bytes(bytes([generation % 256]) * 4_000_000)
    part.replace(output / "weights")
    if os.getppid() == 1:
        break
"""
    rng = random.Random(0)
    for _ in range(5):
        process = upload_of([sys.executable, "-c", script], f"file://{tmp_path}", "--every", "1e-3")
        wait_for((tmp_path / "weights").exists)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        content = (tmp_path / "weights").read_bytes()
        assert content == content[:1] * 4_000_000


def test_a_copy_that_fails_is_said_and_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.touch()  # no folder can be made there as long as this file exists
    script = 'echo 1 > "$HPO_OUTPUT/a"; read line; exit 0'
    process = upload_of(["sh", "-c", script], f"file://{place}", "--every", "0.05")
    assert process.stderr is not None
    assert "copying failed, trying again in 0.05 s: " in process.stderr.readline()
    place.unlink()
    wait_for(lambda: contents(place) == {"a": b"1\n"})
    process.kill()
    process.wait()


def test_the_last_copy_is_tried_again_too(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.touch()
    process = upload_of(["sh", "-c", 'echo 1 > "$HPO_OUTPUT/a"'], f"file://{place}")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("upload: copying failed, trying again: ")
    place.unlink()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert contents(place) == {"a": b"1\n"}


@pytest.mark.parametrize(("own", "code"), [(0, 74), (3, 3)])
def test_output_that_cannot_be_copied_fails_a_command_that_did_not(tmp_path, own, code) -> None:
    place = tmp_path / "place"
    place.touch()
    script = f'echo 1 > "$HPO_OUTPUT/a"; exit {own}'
    ended, _, err = shell(script, f"file://{place}", give_up_s=0.5)
    assert ended == code
    assert "copying failed, given up: " in err


# ------------------------------------------------------------------- when there is nothing to do


@pytest.mark.parametrize("output", ["", "folder"])
def test_without_a_uri_the_command_takes_the_place(tmp_path: Path, output: str) -> None:
    uri = str(tmp_path / output) if output else ""
    process = upload_of(["sh", "-c", 'echo $$ "$HPO_OUTPUT"; exit 5'], uri)
    out, _ = process.communicate(timeout=30)
    assert out.split() == [str(process.pid), *([uri] if uri else [])]
    assert process.returncode == 5


def test_without_a_uri_fsspec_is_not_needed() -> None:
    script = """
import sys
sys.modules["fsspec"] = None
from hpo_lib.runtime import checkpoints, upload
upload.main(["--", "true"])
"""
    env = {name: value for name, value in os.environ.items() if name != "HPO_OUTPUT"}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, check=True)


@pytest.mark.parametrize("uri", ["", "file:///tmp/nothing-is-written-there"])
def test_a_pipe_ends_the_command_as_without_us(uri: str) -> None:
    code, _, _ = shell("kill -PIPE $$", uri)
    assert code == (-signal.SIGPIPE if not uri else 128 + signal.SIGPIPE)


@pytest.mark.parametrize("uri", ["", "memory://place"])
def test_a_command_that_is_not_there_is_named(uri: str) -> None:
    process = upload_of(["no-such-program"], uri)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 127
    assert err == "upload: no-such-program cannot be started: No such file or directory\n"


def test_a_uri_that_nothing_carries_is_refused_before_the_command_starts(tmp_path: Path) -> None:
    code, out, err = shell("echo started", "nosuch://user:secret@place")
    assert (code, out) == (2, "")
    assert "nosuch" in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a command must follow --"),
        (["--"], "a command must follow --"),
        (["--every", "0", "--", "true"], "--every must be > 0 and finite, got 0"),
        (["--every", "nan", "--", "true"], "--every must be > 0 and finite, got nan"),
        (["--every", "inf", "--", "true"], "--every must be > 0 and finite, got inf"),
        (["true"], "unrecognized arguments: true"),
    ],
)
def test_a_wrong_use_is_explained(capsys, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        upload.main(arguments)
    assert message in capsys.readouterr().err


def test_the_commands_own_double_dash_is_left_alone() -> None:
    assert upload._parse(["--", "git", "log", "--", "file"])[1] == ["git", "log", "--", "file"]
