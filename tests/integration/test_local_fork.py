"""Attempts that a template forks: as those that start by themselves, and as safe."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_lib.backends import AttemptName, Request, local_template
from hpo_lib.backends.inherited import LocalRules
from hpo_lib.backends.local import LocalBackend
from hpo_lib.cli.embedded import Embedded
from hpo_lib.core.ending import Ending, Exit
from tests.integration.backend_contract import LABELS, BackendContract, LocalVanishing
from tests.integration.test_leftovers import HIDES, Hidden
from tests.leftovers import bearing, leftovers, none_left, until

STORE = "0123456789ab"
#: A Python that has Keras.
KERAS = Path(__file__).resolve().parents[2] / ".venv-trial" / "bin" / "python"
#: Runs a shell script as its child, and ends as that does.
SHELL = """
import numpy, subprocess, sys
code = subprocess.call(["sh", "-c", sys.argv[1]])
sys.exit(code)
"""


@pytest.fixture(autouse=True)
def none_waits(tmp_path: Path) -> Iterator[None]:
    """Leave no template that waits for more."""
    yield
    _kill(running(tmp_path))


def _kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def running(folder: Path) -> list[psutil.Process]:
    found = []
    for one in bearing(local_template.__file__):
        with suppress(psutil.Error):
            found += [one] if one.cwd().startswith(str(folder)) else []
    return found


class TestForked(LocalVanishing, BackendContract):
    """What it has in common with all others."""

    no_program = Ending.EXITED

    def request(self, script: str, **changes: Any) -> Request:
        known: dict[str, Any] = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 60.0, "labels": LABELS}
        known["options"] = {"fork": True}
        command = [sys.executable, "shell.py", script]
        return Request(**({"command": command} | known | changes))

    @pytest.fixture
    def backend(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[LocalBackend]:
        caplog.set_level(logging.INFO, "hpo_lib")
        (tmp_path / "shell.py").write_text(SHELL)
        yield LocalBackend(home=tmp_path, workdir=tmp_path, grace_s=60.0)
        assert "imports its libraries itself" not in caplog.text


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """A backend of which nothing is left."""
    yield LocalBackend(home=tmp_path, workdir=tmp_path, grace_s=60.0)
    _kill(leftovers(tmp_path))


def handle_of(backend: LocalBackend, number: int) -> dict[str, Any]:
    return backend.handle(AttemptName(STORE, "000001-test", number, 1))


def begin(
    backend: LocalBackend, text: str, *words: str, number: int = 1, **changes: Any
) -> dict[str, Any]:
    (backend.workdir / "train.py").write_text(text)
    handle = handle_of(backend, number)
    known: dict[str, Any] = {"env": {"HPO_TRIAL": str(number)}, "timeout_s": 60.0}
    known["options"] = {"fork": True}
    backend.submit(handle, Request([sys.executable, "train.py", *words], **(known | changes)))
    return handle


def end(backend: LocalBackend, handle: dict[str, Any]) -> tuple[list[str], Exit]:
    *lines, last = backend.follow(handle)
    return lines, last


#: All that a program can see of how it was started.
FACTS = """
import gc, json, os, re, signal, sys, threading, time, logging, multiprocessing
def read(name):
    with open(f"/proc/self/{name}") as file:
        return file.read()
facts = {
    "argv": [sys.argv, sys.orig_argv, sys.executable, sys.flags, sys.path, sys.prefix],
    "main": [__name__, __file__, __spec__, __doc__, __package__, sorted(globals())],
    "known": "numpy" in sys.modules,
    "variables": [dict(os.environ), read("environ"), read("cmdline"), read("comm")],
    "handlers": [str(signal.getsignal(n)) for n in signal.valid_signals()],
    "root": [str(one) for one in logging.root.handlers],
    "status": re.findall("^(?:Cap|SigBlk|SigIgn|Uid|Umask).*", read("status"), re.MULTILINE),
    "limits": read("limits"),
    "fds": {f: os.readlink(f"/proc/self/fd/{f}") for f in ("0", "1", "2")},
    "open": len(os.listdir("/proc/self/fd")),
    "own": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getcwd()],
    "garbage": [gc.isenabled(), gc.get_threshold()],
    "threads": threading.active_count(), "children": multiprocessing.active_children(),
    "out": [sys.stdout.encoding, sys.stdout.line_buffering, sys.stdin.read(), time.tzname],
}
os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np
facts["numpy"] = [np.__spec__.name, np.__spec__.origin, np.__path__, np.__name__]
said = json.dumps(facts, sort_keys=True)
print(re.sub("trial-000.|HPO_TRIAL.{5}", "", said))
print(np.random.random(), np.dot(np.full((300, 300), 0.1), np.full((300, 300), 0.1)).sum())
"""


def test_a_program_sees_what_it_would_see_without_a_template(backend: LocalBackend) -> None:
    env = {"X": "y", "LC_ALL": "C.UTF-8"}
    found = []
    for number, forks in ((1, True), (2, True), (3, False)):
        options = {"fork": forks}
        handle = begin(backend, FACTS, "--a=b", number=number, env=env, options=options)
        lines, last = end(backend, handle)
        assert last == Exit(Ending.EXITED, 0), lines
        assert is_forked(handle) == forks
        found.append(lines)
    assert json.loads(found[0][0]) == json.loads(found[1][0]) == json.loads(found[2][0])
    drawn, computed = zip(*(one[1].split() for one in found), strict=True)
    assert (len(set(drawn)), len(set(computed))) == (3, 1)


def started(handle: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads((Path(handle["folder"]) / "started").read_text()))


def is_forked(handle: dict[str, Any]) -> bool:
    return bool(started(handle)["forked"])


@pytest.mark.parametrize("who", ["guard", "keeper", "trial"])
def test_a_kill_leaves_nothing(backend: LocalBackend, tmp_path: Path, who: str) -> None:
    hidden = Hidden(tmp_path)
    text = f"""
import os, signal, time
import numpy
WORD = {hidden.word!r}
os.set_inheritable(os.open({str(hidden.fifo)!r}, os.O_WRONLY), True)
{HIDES}
print("begun", flush=True)
time.sleep(600)
"""
    handle = begin(backend, text)
    log = backend.log(handle)
    until(lambda: log.exists() and "begun" in log.read_text(), log.read_text)
    until(lambda: bearing(hidden.word))
    guard = psutil.Process(started(handle)["pid"])
    trial = next(one for one in guard.children() if one.cmdline()[1:2] == ["train.py"])
    {"guard": guard, "keeper": guard.parent(), "trial": trial}[who].kill()
    until(hidden.gone, lambda: str(bearing(hidden.word)))
    until(lambda: backend.poll(handle) is not None)
    found = backend.poll(handle)
    assert found is not None
    assert (found.ending, found.code) == (
        (Ending.EXITED, -9) if who == "trial" else (Ending.LOST, None)
    )
    none_left(tmp_path)
    hidden.close()


def test_the_end_of_its_template_does_not_touch_a_trial(
    backend: LocalBackend, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    text = f"import numpy, os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.01)"
    handle = begin(backend, text)
    until(lambda: len(running(tmp_path)) == 1)  # what it has forked has its own names by now
    (template,) = running(tmp_path)
    template.kill()
    template.wait()
    go.touch()
    assert end(backend, handle)[1] == Exit(Ending.EXITED, 0)
    another = begin(backend, text, number=2)
    assert end(backend, another)[1] == Exit(Ending.EXITED, 0)
    assert (is_forked(handle), is_forked(another)) == (True, True)


def test_a_template_ends_with_the_folder_of_its_run(backend: LocalBackend, tmp_path: Path) -> None:
    end(backend, begin(backend, "import numpy"))
    assert running(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    until(lambda: not running(tmp_path))


#: What a library may do when it is imported, and what is said of it. They stand for real ones.
FAKES = {
    "threads": "import concurrent.futures as f\np = f.ThreadPoolExecutor()\np.submit(len, '')",
    "processes": "import subprocess\nsubprocess.Popen(['sleep', '600'])",
    "holds": "import socket\nopened = socket.socket()",
    "shares memory": "import mmap\nshared = mmap.mmap(-1, 4096)",
    "failed: ZeroDivisionError": "1 / 0",
    "its template has ended": "import os, sys\nif sys.argv[0] != 'train.py':\n    os._exit(1)",
}


@pytest.mark.parametrize("what", FAKES)
def test_what_cannot_survive_a_fork_is_not_forked(
    backend: LocalBackend, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hpo_lib")
    (tmp_path / "numpy.py").write_text(FAKES[what])
    text = "try:\n    import numpy\nexcept ZeroDivisionError:\n    pass\nprint('done')"
    for number in (1, 2):
        handle = begin(backend, text, number=number)
        assert end(backend, handle) == (["done"], Exit(Ending.EXITED, 0))
        assert not is_forked(handle)
    assert caplog.text.count(what) == 2
    assert not running(tmp_path)


def test_a_library_that_has_changed_is_imported_again(
    backend: LocalBackend, tmp_path: Path
) -> None:
    text = "import numpy\nprint(numpy.version)"
    (tmp_path / "numpy.py").write_text("version = 1")
    assert end(backend, begin(backend, text))[0] == ["1"]
    (tmp_path / "numpy.py").write_text("version = 22")
    assert end(backend, begin(backend, text, number=2))[0] == ["22"]


def test_what_a_library_needs_may_be_imported_before_a_variable_is_set(
    backend: LocalBackend, tmp_path: Path
) -> None:
    (tmp_path / "needed.py").touch()
    (tmp_path / "keras.py").write_text("import needed, os\nseen = os.environ.get('TF_X')")
    text = "import needed, os, sys\nassert 'keras' not in sys.modules\n"
    handle = begin(backend, f"{text}os.environ['TF_X'] = '1'\nimport keras\nprint(keras.seen)")
    assert end(backend, handle) == (["1"], Exit(Ending.EXITED, 0))
    assert is_forked(handle)


def test_a_variable_that_was_not_foreseen_is_not_ignored(
    backend: LocalBackend, tmp_path: Path
) -> None:
    """The attempt ends as one that was killed from outside, which is tried again."""
    (tmp_path / "numpy.py").write_text("import os\nthreads = os.environ.get('OMP_X')")
    text = "import os\nhidden = os.environ\nhidden['OMP_X'] = '3'\n"
    text += "import numpy\nprint(numpy.threads)"
    lines, found = end(backend, begin(backend, text))
    assert (len(lines), found.code) == (1, -signal.SIGKILL)
    assert "sets OMP_X in a way that is not seen beforehand" in lines[0]
    assert end(backend, begin(backend, text, number=2)) == (["3"], Exit(Ending.EXITED, 0))


#: A library of which one sees that it is taken apart at the end.
ENDS = """
class End:
    def __del__(self, say=print):
        say("taken apart", flush=True)
end = End()
"""


def test_a_library_is_not_taken_apart_at_the_end(backend: LocalBackend, tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text(ENDS)
    for number, forks, lines in ((1, True, ["done"]), (2, False, ["done", "taken apart"])):
        handle = begin(
            backend, "import keras\nprint('done')", number=number, options={"fork": forks}
        )
        assert end(backend, handle) == (lines, Exit(Ending.EXITED, 0))
        assert is_forked(handle) == forks


@pytest.mark.parametrize(
    "opened",
    [
        "keras.kept = open('kept', 'w')\nkeras.kept.write('all')",
        "mine = open('kept', 'w')\nmine.write('all')",
        "keras.kept = Closing()",
        "import atexit\natexit.register(lambda: keras.keep(Closing()))",
    ],
)
def test_what_a_program_leaves_open_is_closed_at_its_end(
    backend: LocalBackend, tmp_path: Path, opened: str
) -> None:
    """Also where a library that it has imported holds it."""
    (tmp_path / "keras.py").write_text("held = []\nkeep = held.append")
    text = f"""
import keras
class Closing:
    def __del__(self, opened=open):
        with opened("kept", "w") as file:
            file.write("all")
{opened}
"""
    handle = begin(backend, text)
    assert end(backend, handle) == ([], Exit(Ending.EXITED, 0))
    assert is_forked(handle)
    assert (tmp_path / "kept").read_text() == "all"


#: Trains, and leaves a writer open that TensorFlow's runtime alone would close.
TRAINS = """
import sys
import numpy as np
import keras
import tensorflow as tf

keras.utils.set_random_seed(7)
x, y = np.random.random((256, 8)), np.random.random((256, 1))
model = keras.Sequential([keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.2),
                          keras.layers.Dense(1)])
model.compile("adam", "mse")
for epoch in range(3):
    print(model.fit(x, y, verbose=0).history["loss"][0].hex())
tf.summary.create_file_writer(sys.argv[1]).set_as_default(step=1)
tf.summary.write("x", tf.constant(1.0))
keras.backend.kept = tf.summary.create_file_writer(sys.argv[1] + "-kept")
with keras.backend.kept.as_default(step=1):
    tf.summary.write("x", tf.constant(1.0))
"""


@pytest.mark.skipif(not KERAS.exists(), reason="needs the environment of trials")
def test_keras_trains_bit_by_bit_as_without_a_template(
    backend: LocalBackend, tmp_path: Path
) -> None:
    found = []
    for number, forks in ((1, True), (2, False)):
        events = tmp_path / f"events-{number}"
        (tmp_path / "train.py").write_text(TRAINS)
        handle = handle_of(backend, number)
        command = [str(KERAS), "train.py", str(events)]
        options, env = {"fork": forks}, {"TF_CPP_MIN_LOG_LEVEL": "3"}
        backend.submit(handle, Request(command, env, 600.0, options=options))
        lines, last = end(backend, handle)
        assert last == Exit(Ending.EXITED, 0), lines
        assert is_forked(handle) == forks
        losses = [line for line in lines if line.startswith("0x")]
        sizes = [one.stat().st_size for one in sorted(tmp_path.glob(f"{events.name}*/*"))]
        found.append((losses, sizes))
    assert found[0] == found[1]
    assert (len(found[0][0]), len(found[0][1])) == (3, 2)


@pytest.mark.parametrize(
    ("rules", "options", "forks"),
    [
        (LocalRules(), {}, True),
        (LocalRules(), {"fork": False}, False),
        (LocalRules(fork=False), {"fork": True}, False),
    ],
)
def test_one_word_turns_it_off(
    tmp_path: Path, rules: LocalRules, options: dict[str, Any], *, forks: bool
) -> None:
    """For a spec, or for all of them."""
    backend = LocalBackend(home=tmp_path, workdir=tmp_path, grace_s=60.0, rules=rules)
    handle = begin(backend, "import numpy", options=options)
    assert end(backend, handle)[1] == Exit(Ending.EXITED, 0)
    assert (is_forked(handle), len(running(tmp_path))) == (forks, int(forks))


def test_a_template_lets_go_of_what_is_in_files(backend: LocalBackend, tmp_path: Path) -> None:
    assert end(backend, begin(backend, "import numpy"))[1].code == 0
    (template,) = running(tmp_path)
    found = template.memory_full_info()
    assert found.shared < found.rss / 2, found


def test_a_template_serves_one_run_and_one_set_of_variables(
    backend: LocalBackend, tmp_path: Path
) -> None:
    text = "import numpy, os\nprint(os.environ['SECRET'], os.environ['HPO_TRIAL'])"
    for number, secret in enumerate(("a", "a", "b"), start=1):
        env = {"SECRET": secret, "HPO_TRIAL": str(number)}
        assert end(backend, begin(backend, text, number=number, env=env))[0] == [
            f"{secret} {number}"
        ]
    assert len(running(tmp_path)) == 2
    told = [one.environ() for one in running(tmp_path)]
    assert not any(name.startswith("HPO_TRIAL") for env in told for name in env)
    assert os.environ.get("SECRET") is None


def test_down_ends_templates_which_are_no_part_of_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = Embedded(tmp_path, tmp_path / "home", {})
    monkeypatch.setenv("HPO_EMBEDDED", str(airflow.home))
    backend = LocalBackend(home=airflow.results, workdir=tmp_path)
    handle = begin(backend, "import numpy, time\ntime.sleep(600)")
    assert is_forked(handle)
    assert not airflow.running()
    assert running(tmp_path)
    airflow.down()
    none_left(airflow.results)
    assert not running(tmp_path)
