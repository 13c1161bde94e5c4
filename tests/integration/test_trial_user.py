"""Local trials as a user of their own, really: what they can do, and what they cannot read."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends.inherited import LocalRules
from hpo_lib.backends.local import LocalBackend
from hpo_lib.backends.local_guard import write
from hpo_lib.backends.trial_user import TrialUser
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.deployers import Release
from hpo_lib.deployers.package import PackageDeployer
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.validation import parse
from tests.integration.backend_contract import (
    LABELS,
    STORE,
    WAIT,
    BackendContract,
    LocalVanishing,
)
from tests.integration.test_local_backend import alive, guard_of, until

USER = "nobody"


def _can_become() -> bool:
    words = ["setpriv"] if os.geteuid() == 0 else ["sudo", "-n", "-u", USER, "true"]
    if shutil.which(words[0]) is None:
        return False
    return os.geteuid() == 0 or subprocess.run(words, check=False).returncode == 0


needs_user = pytest.mark.skipif(
    not _can_become(), reason=f"this user can become {USER} neither by setpriv nor by sudo"
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that is the worker's alone, in a folder that others may pass: pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        made = Path(folder) / "home"
        made.mkdir(mode=0o700)
        yield made


@pytest.fixture
def backend(home: Path) -> LocalBackend:
    rules = LocalRules(user=USER, environment=("WANDB_API_KEY",))
    return LocalBackend(home=home, workdir=Path("/"), grace_s=60.0, rules=rules)


@pytest.fixture
def handle(backend: LocalBackend) -> Iterator[Any]:
    made = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    yield made
    backend.stop(made)


def request(script: str, **changes: Any) -> Request:
    known = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 60.0, "labels": LABELS}
    return Request(**({"command": ["sh", "-c", script]} | known | changes))


def end(backend: LocalBackend, handle: Any) -> tuple[list[str], Exit]:
    *lines, last = backend.follow(handle)
    return lines, last


@needs_user
class TestAsAUser(LocalVanishing, BackendContract):
    """The contract holds for trials of another user."""

    no_program = Ending.EXITED

    @pytest.fixture
    def backend(self, backend: LocalBackend) -> LocalBackend:
        return backend

    def request(self, script: str, **changes: Any) -> Request:
        return request(script, **changes)


@needs_user
def test_it_is_that_user_and_has_its_home(backend: LocalBackend, handle: Any) -> None:
    told = 'id -un; echo "$HOME $USER $LOGNAME"; pwd; echo "$HPO_TRIAL $0 $1 $NOTE"'
    words = {"command": ["sh", "-c", told, "it's"], "args": ["$(a) 'b'"]}
    backend.submit(handle, request("", **words, env={"HPO_TRIAL": "7", "NOTE": "two\n'lines'"}))
    entry = pwd.getpwnam(USER)
    lines, last = end(backend, handle)
    assert last == Exit(Ending.EXITED, 0)
    assert lines == [USER, f"{entry.pw_dir} {USER} {USER}", "/", "7 it's $(a) 'b' two", "'lines'"]


@needs_user
def test_it_has_no_other_variables_than_trials_have(
    backend: LocalBackend, handle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_VAR_db_password", "hush")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    backend.submit(handle, Request(["env"], {"HPO_TRIAL": "1"}, 60.0))
    lines, _ = end(backend, handle)
    names = {line.partition("=")[0] for line in lines}
    assert "CUDA_VISIBLE_DEVICES=0" in lines
    assert names >= {"HOME", "HPO_TRIAL", "PATH", "USER", "PYTHONUNBUFFERED"}
    assert names.isdisjoint({"PWD", "OLDPWD", "TMPDIR", "SUDO_USER", "TF_VAR_db_password"})


@needs_user
def test_it_reads_no_secret_of_the_worker(
    backend: LocalBackend, handle: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in processes, the guard's and its own worker's, and not in files, also of known names."""
    monkeypatch.setenv("WANDB_API_KEY", "given-on")
    write(home / "passwords.json", {"admin": "hush"})
    (home / "hpo.db").touch(mode=0o600)
    folder = handle["folder"]
    script = f"""
        for file in /proc/$PPID/environ /proc/{os.getpid()}/environ {home}/passwords.json \\
            {home}/hpo.db {folder}/request.json; do
          cat "$file" > /dev/null 2>&1 && echo "read $file"
        done
        ls {home} {folder} 2>/dev/null && echo listed
        touch {folder}/exit.json 2>/dev/null && echo "its own end"
        for file in /proc/[0-9]*/cmdline; do
          {{ tr '\\0' ' ' < $file; }} 2>/dev/null | grep -q given-o[n] && echo "on a command line"
        done
        echo "key $WANDB_API_KEY"
    """
    backend.submit(handle, request(script))
    assert end(backend, handle)[0] == ["key given-on"]


@needs_user
def test_the_worker_reads_and_removes_what_it_leaves(
    backend: LocalBackend, handle: Any, home: Path
) -> None:
    output = backend.output(handle)
    script = """
        cd "$HPO_OUTPUT" && mkdir -p a/b && echo kept > a/b/file && chmod 600 a/b/file &&
        chmod 700 a/b && echo "to the log" > /dev/stderr
    """
    backend.submit(handle, request(script, env={"HPO_OUTPUT": str(output)}))
    lines, last = end(backend, handle)
    assert (lines, last) == (["to the log"], Exit(Ending.EXITED, 0))
    assert (output / "a/b/file").read_text() == "kept\n"
    modes = {one.name: one.stat().st_mode & 0o777 for one in output.rglob("*")}
    assert modes == {"a": 0o770, "b": 0o770, "file": 0o660}
    assert (output / "a").stat().st_gid == pwd.getpwnam(USER).pw_gid
    shutil.rmtree(output)


@needs_user
def test_nothing_of_it_is_left_when_its_guard_is_killed(backend: LocalBackend, handle: Any) -> None:
    backend.submit(handle, request("sleep 600 & setsid sleep 600 & echo $$; echo $!; wait"))
    log = backend.log(handle)
    until(lambda: len(log.read_text().splitlines()) == 2)
    pids = [int(line) for line in log.read_text().splitlines()]
    assert {psutil.Process(pid).username() for pid in pids} == {USER}
    os.kill(guard_of(handle), signal.SIGKILL)
    until(lambda: backend.poll(handle) is not None)
    assert backend.poll(handle).ending is Ending.LOST
    until(lambda: not any(alive(pid) for pid in pids))


@needs_user
def test_a_package_is_checked_as_that_user(home: Path) -> None:
    """A model is what a trial has made: its code must not run as the worker either."""
    tools, model = home.parent / "bin", home / "model"
    tools.mkdir()
    model.mkdir()
    python = tools / "python"
    told = 'test -r "$1" && : > made && echo "$(/usr/bin/id -un) $HOME $(umask)"; exit 1'
    python.write_text(f"#!/bin/sh\n{told}\n")
    python.chmod(0o755)
    for name in ("model.keras", "sample.json"):
        (model / name).write_text("{}")
    deployer = PackageDeployer("digits", home / "models", python=python, user=TrialUser(USER))
    release = Release("digits", 1, model, {})
    deployer.stage(release)
    name, folder, umask = str(deployer.try_out(release)).split()
    assert (name, umask) == (USER, "0007")
    assert not Path(folder).exists(), "with what the user has made in it"


@needs_user
def test_what_the_operator_has_to_set_up_is_told(home: Path) -> None:
    cases = {
        pwd.getpwuid(os.geteuid()).pw_name: "neither root nor who the worker runs as",
        "hpo-no-such-user": "this worker has no user hpo-no-such-user",
    }
    for name, why in cases.items():
        rules = LocalRules.model_construct(user=name)
        backend = LocalBackend(home=home, workdir=home, rules=rules)
        with pytest.raises(TransientError, match=rf"local\.user: .*{why}"):
            backend.submit(backend.handle(AttemptName(STORE, "000001-test", 1, 1)), request("true"))


@needs_user
def test_a_home_behind_a_closed_folder_is_told(home: Path) -> None:
    home.parent.chmod(0o700)
    backend = LocalBackend(home=home, workdir=home, rules=LocalRules(user=USER))
    handle = backend.handle(AttemptName(STORE, "000001-test", 1, 1))
    with pytest.raises(TransientError, match=r"nobody cannot write to .*/output: .*folder above"):
        backend.submit(handle, request(WAIT))
    assert backend.poll(handle).ending is Ending.LOST


@pytest.mark.parametrize("name", ["root", "", "a b", "-u", "Root/..", "x" * 40])
def test_root_and_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"local\.user: must be the name of a user other than root"):
        parse(LocalRules, {"user": name}, at="local")
