"""A process that starts guards (see `local_guard`): it has imported what they need, and forks each.

Run as `python -P local_starter.py` by a task that begins attempts, with a socket as its standard
input. A message there is an attempt's folder, and comes with another socket: to that goes the exit
code of the attempt's keeper, once it has ended. When nobody holds the other end of its input any
more, it ends; the guards that it has started go on.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import psutil  # noqa: F401 - guards need it where something is left of an attempt

_NAME = "local_guard"
_LONGEST = 1 << 13


def main() -> NoReturn:
    """Serve until there is nobody to serve."""
    guard, asked = _module(), socket.socket(fileno=0)
    woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking)
    gc.collect()
    gc.freeze()
    keepers: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([asked.fileno(), woken], [], [])
        with suppress(BlockingIOError):
            os.read(woken, _LONGEST)
        _tell_ends(keepers)
        if asked.fileno() in ready:
            said, sockets, *_ = socket.recv_fds(asked, _LONGEST, 1)
            if not said:
                sys.exit()
            listening = socket.socket(fileno=sockets[0])
            try:
                keeper = os.fork()
            except OSError as error:  # the machine has no room for another process
                _tell(listening, error.errno or 1)
                continue
            if not keeper:
                _become_guard(guard, Path(os.fsdecode(said)))
            keepers[keeper] = listening


def _module() -> ModuleType:
    """Import the guard as a file: modules beside it have names of others, such as `resource`."""
    found = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name(f"{_NAME}.py"))
    if found is None or found.loader is None:
        raise SystemExit(f"there is no {_NAME}.py beside {__file__}")
    module = sys.modules[_NAME] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _tell_ends(keepers: dict[int, socket.socket]) -> None:
    """Collect the keepers that have ended, and tell whoever still listens."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(keepers.pop(ended[0]), os.waitstatus_to_exitcode(ended[1]))


def _tell(listening: socket.socket, code: int) -> None:
    with suppress(OSError), listening:
        listening.sendall(b"%d\n" % code)


def _become_guard(guard: ModuleType, folder: Path) -> NoReturn:
    """Let this process, a copy, go on as an attempt's keeper, and its child as the guard."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for number, path, how in ((0, os.devnull, os.O_RDONLY), (1, folder / "guard.log", _LOG)):
            opened = os.open(path, how, 0o666)
            os.dup2(opened, number)
            os.close(opened)
        os.dup2(1, 2)
        code = guard.main(folder)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        traceback.print_exc()
        code = (error.errno if isinstance(error, OSError) else None) or 1
    finally:
        os._exit(code)


_LOG = os.O_WRONLY | os.O_CREAT | os.O_APPEND

if __name__ == "__main__":
    main()
