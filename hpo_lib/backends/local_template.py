"""A process that has imported what a run's trials import, and forks each of them: a template.

`python local_template.py` is told by its standard input what to import. Then whoever may ask is its
own user; a request names an attempt's folder, and how its guard is started. The template forks the
keeper, which forks the guard, which forks the trial: so each is the next one's parent, as without a
template. Keeper and guard then become `local_guard.py`, while the trial waits for the guard to say
what it is to run. It runs that as `__main__`, with variables, words and folder as if it were new.

Nothing is forked of a process that could not bear it (see `_Imports.unfit`). Why a run's trials
have no template is written to the file that was told, where the next who would ask finds it.

It needs nothing but Python 3.10, for it runs in the trials' own environment.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # modules beside this file must not shadow others of the same name

import atexit
import ctypes
import fcntl
import gc
import importlib.machinery
import json
import mmap
import os
import re
import runpy
import signal
import socket
import struct
import time
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

#: What was seen to bear a fork once it is imported; in this order, for the second needs the first.
LIGHT, FRAMEWORKS = ("numpy", "scipy", "pandas", "sklearn"), ("tensorflow", "keras")
#: How the names of variables begin that libraries read when they are imported.
_READ_BY_ALL = (
    *("PYTHON", "LC_", "LANG", "LD_", "HOME", "TMPDIR", "MALLOC_", "NPY_", "NUMPY_", "SCIPY_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "NUMEXPR", "NUMBA_"),
    *("PANDAS_", "ARROW_", "SKLEARN_", "JOBLIB_", "LOKY_"),
)
_READ_BY_FRAMEWORKS = (
    *("CUDA", "CUDNN", "NVIDIA", "NCCL_", "HIP_", "ROCR_", "TF_", "TF2_", "XLA_", "KERAS_"),
    *("TORCH", "PYTORCH_", "JAX_", "AUTOGRAPH_", "GRPC_", "ABSL_", "PROTOCOL_BUFFERS_"),
    *("TENSORBOARD_",),
)
_PR_SET_PDEATHSIG = 1
_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_PR_SET_CHILD_SUBREAPER = 36
_MADV_DONTNEED = 4
#: What is taken apart at a trial's end all the same: it holds what TensorFlow's runtime has open.
_RUNTIME = ("tensorflow.python.eager", "tensorflow.python.ops.summary_ops_v2")
_TAKEN_APART = (*_RUNTIME, "__main__", "__mp_main__", "builtins", "sys")
#: What types have that may have to be closed, and those that have it but need it not.
_CLOSING = ("__del__", "close", "flush")
_NEED_NOT = (*_RUNTIME, "mmap.mmap", "logging.StreamHandler")
#: How often the template looks whether it is still needed.
_LOOK_S = 2.0
#: A part of a file that is mapped to be read, and how much of it is this process's own.
_MAPPED = re.compile(
    r"^(\w+)-(\w+) r-[x-]p \S+ \S+ [1-9].*?^Anonymous: +(\d+).*?^Swap: +(\d+)", re.M | re.S
)
_LIBC = ctypes.CDLL(None, use_errno=True)


def reads(name: str, *, frameworks: bool) -> bool:
    """Say whether a library may read a variable when it is imported."""
    return name.startswith(_READ_BY_ALL + (_READ_BY_FRAMEWORKS if frameworks else ()))


def is_ours(name: str) -> bool:
    """Say whether a variable is one that tells trials apart; no template knows any of these."""
    return name.startswith("HPO_")


def main() -> _Trial | None:
    """Serve until nobody needs it; returns a trial in each process that is to become one."""
    asked = json.loads(sys.stdin.readline())
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind(b"\0" + asked["name"].encode())
    except OSError:
        return None  # another has the name
    server.listen(64)
    for name in filter(is_ours, list(os.environ)):
        del os.environ[name]
    imports = _Imports(Path(asked["refused"]))
    try:
        why = imports.prepare(asked)
        if not why:
            return _serve(server, imports, asked["idle_s"])
    except Exception as error:
        why = f"its template failed: {type(error).__name__}: {error}"
    imports.refuse(why)
    return None


def _serve(server: socket.socket, imports: _Imports, idle_s: float) -> _Trial | None:
    """Answer one request after the other."""
    server.settimeout(_LOOK_S)
    served = time.monotonic()
    while time.monotonic() - served < idle_s and imports.refused.parent.is_dir():
        try:
            asking, _ = server.accept()
        except TimeoutError:
            continue
        with asking:
            request = _request(asking)
            if request is None:
                continue
            why = imports.unfit({server.fileno(), asking.fileno()})
            if why:
                imports.refuse(why)
                return None
            trial = _begin(request, imports)
            if trial is not None:
                server.close()
                return trial
            with suppress(OSError):
                asking.sendall(b"begun\n")
        served = time.monotonic()
    return None


def _request(asking: socket.socket) -> dict[str, Any] | None:
    """Read a request of our own user; None if it is another's, or who asked is gone."""
    _, user, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if user != os.getuid():
        return None
    asking.settimeout(_LOOK_S)
    try:
        with asking.makefile("rb") as lines:
            said = lines.readline()
        asking.setblocking(False)
        gone = asking.recv(1) == b""
    except BlockingIOError:
        gone = False
    except OSError:
        return None
    return None if gone or not said.endswith(b"\n") else dict(json.loads(said))


# ------------------------------------------------------------------------------- imports


class _Imports:
    """What was imported, in two groups; a trial is shown one when it imports any module of it."""

    def __init__(self, refused: Path) -> None:
        self.refused = refused
        self._groups: list[_Group] = []
        self._files: dict[str, tuple[int, int]] = {}
        self._found: dict[str, types.ModuleType] = {}
        self._spared: dict[str, types.ModuleType] = {}

    def prepare(self, asked: Mapping[str, Any]) -> str:
        """Import what the program imports, as it would; say why nothing can be forked, if so."""
        if sys.version_info < (3, 10):  # noqa: UP036 - the trials' Python may be older than ours
            return "its Python is older than 3.10"
        why = _rename(_own_words("cmdline"), _own_words("environ"))
        if why:
            return why
        if not getattr(sys.flags, "safe_path", False):
            sys.path.insert(0, asked["path0"])
        for name, value, always in asked["variables"]:
            if always or name not in os.environ:
                os.environ[name] = value
        gc.disable()  # until a trial runs, for what is imported is no garbage
        atexit.register(self.leave)  # as the first, which runs last
        known = set(sys.modules)
        for roots in (LIGHT, FRAMEWORKS):
            group = _Group()
            try:
                group.load(
                    [one for one in asked["imports"] if one[0].split(".")[0] in roots], known
                )
            except BaseException as error:
                return f"importing beforehand failed: {type(error).__name__}: {error}"
            known.update(group.modules)
            self._groups.append(group)
        self._files = {path: _stamp(path) for path in self._paths()}
        self._spared = {n: m for n, m in sys.modules.items() if not n.startswith(_TAKEN_APART)}
        _try_fork()
        with suppress(OSError):  # on a kernel that does not tell what is in memory
            _let_go_of_files()
        gc.freeze()  # no trial looks through it again
        return ""

    def _paths(self) -> Iterator[str]:
        for group in self._groups:
            for module in group.modules.values():
                path = getattr(module, "__file__", None)
                if isinstance(path, str):
                    yield path

    def unfit(self, sockets: set[int]) -> str:
        """Say what keeps this process from being forked now; nothing if it may be."""
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            return f"what it imports has started threads ({threads - 1})"
        if Path("/proc/thread-self/children").read_text().strip():
            return "what it imports has started processes"
        for path in _open_files(sockets):
            return f"what it imports holds {path} open"
        for shared in _shared_memory():
            return f"what it imports shares memory: {shared}"
        if _has_run():
            return "what it imports has run operations"
        changed = (path for path, stamp in self._files.items() if _stamp(path) != stamp)
        return next((f"{path} has changed since it was imported" for path in changed), "")

    def refuse(self, why: str) -> None:
        """Write down why trials are to begin without a template."""
        with suppress(OSError):
            self.refused.write_text(f"{why}\n")

    def hide(self) -> None:
        """Take all groups away, until the trial imports something of them."""
        for group in self._groups:
            group.hide()
        sys.meta_path.insert(0, self)

    def leave(self) -> None:
        """Spare a trial's end the taking apart of what was imported before, most of its memory.

        What the program has made ends as ever. So does all else if anything is left that may have
        to be closed, for it may be held there.
        """
        if any(map(_may_be_open, {type(one) for one in gc.get_objects()})):
            return
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        for name in self._spared:
            sys.modules.pop(name, None)

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """Show what a module that is imported for the first time belongs to.

        That is its group, and those before it; of what libraries need, its own package.
        """
        at = next((i for i, one in enumerate(self._groups) if name in one.modules), None)
        if at is None or (self._groups[at].shown and name not in self._found):
            return None
        root = name.partition(".")[0]
        if root in LIGHT + FRAMEWORKS:
            for group in self._groups[: at + 1]:
                self._check(group, frameworks=group is self._groups[-1])
                group.show()
        else:
            self._check(self._groups[at], frameworks=False)
            self._groups[at].show_package(root)
        # The import system takes a module that is there for one of another's.
        sys.modules.pop(name, None)
        module = self._found[name] = self._groups[at].modules[name]
        own = module.__spec__
        spec = importlib.machinery.ModuleSpec(name, self)  # type: ignore[arg-type]
        if own is not None:
            spec.origin = own.origin
            spec.submodule_search_locations = own.submodule_search_locations
        spec.loader_state = own
        return spec

    def _check(self, group: _Group, *, frameworks: bool) -> None:
        """End the trial if its variables are not those with which a group was imported."""
        other = "" if group.shown else group.unlike(os.environ, frameworks=frameworks)
        if other:
            why = f"its program sets {other} in a way that is not seen beforehand"
            self.refuse(why)
            sys.stderr.write(f"[hpo] {why}: this attempt is ended, the next begins anew\n")
            os.kill(os.getpid(), signal.SIGKILL)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Give the module that is there, for the import system."""
        return self._found.pop(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Let the module keep what the import system has just replaced."""
        module.__spec__ = getattr(module.__spec__, "loader_state", None)


class _Group:
    """Modules that were imported together, with what the variables were before and what changed."""

    def __init__(self) -> None:
        self.modules: dict[str, types.ModuleType] = {}
        self.shown = False
        self._before: dict[str, str] = {}
        self._changes: dict[str, str] = {}

    def load(self, statements: Sequence[tuple[str, Sequence[str]]], known: set[str]) -> None:
        """Import as `import NAME` and `from NAME import …` do."""
        self._before = dict(os.environ)
        for name, parts in statements:
            with suppress(ModuleNotFoundError):  # which may be the program's way to ask for it
                __import__(name, {}, {}, list(parts), 0)
        self._changes = {n: v for n, v in os.environ.items() if self._before.get(n) != v}
        new = {name: one for name, one in sys.modules.items() if name not in known}
        own = {n: m for n, m in new.items() if n.split(".")[0] not in sys.stdlib_module_names}
        self.modules = {name: one for name, one in own.items() if name != "__mp_main__"}

    def unlike(self, variables: Mapping[str, str], *, frameworks: bool) -> str:
        """Name a variable that these modules may have read and that is another now."""
        names = {*variables, *self._before}
        return next(
            (
                name
                for name in sorted(names)
                if variables.get(name) != self._before.get(name)
                and reads(name, frameworks=frameworks)
            ),
            "",
        )

    def hide(self) -> None:
        """Take the modules away."""
        for name in self.modules:
            sys.modules.pop(name, None)

    def show_package(self, root: str) -> None:
        """Put the modules of one package there, which others need too."""
        found = {n: one for n, one in self.modules.items() if n.partition(".")[0] == root}
        sys.modules.update(found)

    def show(self) -> None:
        """Put the modules where imports find them."""
        if not self.shown:
            sys.modules.update(self.modules)
            os.environ.update(self._changes)
            self.shown = True


def _may_be_open(kind: type) -> bool:
    """Say whether what is of a type, and was made since the fork, may have to be closed."""
    closes = any(name in vars(base) for base in kind.__mro__ for name in _CLOSING)
    return closes and not f"{kind.__module__}.{kind.__qualname__}".startswith(_NEED_NOT)


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - of thousands of files, for each trial
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _try_fork() -> None:
    """Fork once for nothing: threads that know how to bear a fork, as OpenBLAS's, end before it."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def _let_go_of_files() -> None:
    """Unmap the pages that are as in their files: what is needed of them is mapped again."""
    for begin, end, *own in _MAPPED.findall(Path("/proc/self/smaps").read_text()):
        if own == ["0", "0"]:
            begins, size = int(begin, 16), int(end, 16) - int(begin, 16)
            _LIBC.madvise(ctypes.c_void_p(begins), ctypes.c_size_t(size), _MADV_DONTNEED)


def _open_files(sockets: set[int]) -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the folder is closed again
        if int(number) not in {0, 1, 2, *sockets}:
            with suppress(OSError):  # the one by which the folder was read
                yield str(Path(f"/proc/self/fd/{number}").readlink())


def _shared_memory() -> Iterator[str]:
    """Give what this process and its children would both write to, devices included."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        _, modes, *_, name = line.split(None, 5) if line.count(" ") > 4 else (*line.split(), "")
        if modes.startswith("rw-s") or name.startswith("/dev/"):
            yield name or "without a name"


def _has_run() -> bool:
    """Say whether TensorFlow has run an operation, or PyTorch holds a GPU."""
    eager = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(eager, "_context", None)
    gpu = sys.modules.get("torch.cuda")
    tensorflow = context is not None and bool(getattr(context, "_initialized", True))
    return tensorflow or (gpu is not None and bool(gpu.is_initialized()))


# --------------------------------------------------------------------------------- forks


def _begin(request: Mapping[str, Any], imports: _Imports) -> _Trial | None:
    """Fork an attempt's keeper, by a helper whose end leaves it alone; a trial in its process.

    Does nothing if another guard has begun the attempt.
    """
    helper = os.fork()
    if helper:
        os.waitpid(helper, 0)
        return None
    try:
        return _helper(request, imports)
    except BaseException:  # this is a copy of the template: it must not go on as one
        os._exit(1)


def _helper(request: Mapping[str, Any], imports: _Imports) -> _Trial:
    folder = request["folder"]
    lock = os.open(f"{folder}/guard.lock", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if Path(folder, "started").exists() or os.fork():
        os._exit(0)
    os.setsid()
    with Path(folder, "guard.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.set_inheritable(lock, True)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper, guard = os.getpid(), os.fork()
    if guard:
        _become_guard(request, "--keep", guard)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard, (told, telling) = os.getpid(), socket.socketpair()
    child = os.fork()
    if child:
        telling.set_inheritable(True)
        _become_guard(request, "--guard", keeper, child, telling.fileno())
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)
    telling.close()
    os.close(lock)
    return _Trial(folder, told, imports)


def _become_guard(request: Mapping[str, Any], *words: object) -> NoReturn:
    command = [*request["guard"], *map(str, words), request["folder"]]
    os.execve(command[0], command, request["env"])  # noqa: S606 - what its own user asks for


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


# --------------------------------------------------------------------------------- trial


class _Trial:
    """A process that was forked to run a trial's program."""

    def __init__(self, folder: str, told: socket.socket, imports: _Imports) -> None:
        self._folder, self._told, self._imports = folder, told, imports
        self._words: list[str] = []

    def run(self) -> None:
        """Wait for the guard's word, then run the program as if it had just been started."""
        self._wait(self._told)
        del self._told
        self._imports.hide()
        gc.enable()
        _run(self._words)

    def _wait(self, told: socket.socket) -> None:
        with told, told.makefile("rb") as lines:
            said = lines.readline()
            if not said.endswith(b"\n"):
                os._exit(1)
            try:
                self._become(json.loads(said))
            except OSError as error:
                told.sendall(json.dumps([error.errno, error.filename]).encode())
                os._exit(127)
            told.sendall(b"null")

    def _become(self, said: Mapping[str, Any]) -> None:
        """Take on a trial's session, cgroup, standard streams, folder, variables and words."""
        os.setsid()
        if said["cgroup"] is not None:
            with suppress(OSError):
                Path(said["cgroup"], "cgroup.procs").write_text("0")
        printed = os.open(f"{self._folder}/printed", os.O_WRONLY)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.close(printed)
        os.chdir(said["cwd"])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.environ.clear()
        _LIBC.clearenv()
        os.environ.update(said["env"])
        self._words = said["command"]
        variables = [os.fsencode(f"{name}={value}") for name, value in said["env"].items()]
        _rename(list(map(os.fsencode, self._words)), variables)
        random = sys.modules.get("numpy.random")
        if random is not None:
            random.seed()


def _run(words: Sequence[str]) -> None:
    """Run `python SCRIPT …` or `python -m MODULE …`; a traceback begins where the program does."""
    sys.orig_argv = list(words)
    sys.argv = list(words[1:])
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if "__mp_main__" in sys.modules:
        sys.modules["__mp_main__"] = main
    try:
        if words[1] == "-m":
            sys.argv = ["-m", *words[3:]]
            runpy._run_module_as_main(words[2])  # type: ignore[attr-defined]
        else:
            _run_script(os.path.abspath(words[1]), main)  # noqa: PTH100 - as Python does
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(1)


def _run_script(path: str, main: types.ModuleType) -> None:
    source = Path(path).read_bytes()
    main.__file__, main.__loader__ = path, importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__.update(__builtins__=__builtins__, __cached__=None, __annotations__={})
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)  # noqa: S102


def _own_words(name: str) -> list[bytes]:
    """Read words or variables of this process, as others see them."""
    return Path(f"/proc/self/{name}").read_bytes().split(b"\0")[:-1]


def _rename(words: Iterable[bytes], variables: Iterable[bytes]) -> str:
    """Show others these words and variables, by which a trial's processes are known.

    Says why that cannot be done; then nothing has changed.
    """
    texts = [b"".join(one + b"\0" for one in part) for part in (words, variables)]
    room = mmap.mmap(-1, sum(map(len, texts)) + 1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    room.write(b"".join(texts))
    begin = ctypes.addressof(ctypes.c_char.from_buffer(room))
    ends = [begin + len(texts[0]), begin + sum(map(len, texts))]
    facts = list(map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[1:]))
    code, data, brk = facts[22:24], facts[41:43], facts[43]
    _LIBC.sbrk.restype = ctypes.c_void_p
    fields = [*code, *data, brk, _LIBC.sbrk(0), facts[24], begin, ends[0], *ends, 0]
    table = ctypes.create_string_buffer(struct.pack("=12QIi", *fields, 0, -1))
    size = ctypes.c_ulong(struct.calcsize("=12QIi"))
    if _LIBC.prctl(_PR_SET_MM, _PR_SET_MM_MAP, ctypes.byref(table), size, 0):
        return f"its kernel gives no process another's words: {os.strerror(ctypes.get_errno())}"
    _ROOM.append(room)
    return ""


#: Keeps the memory that the kernel reads words and variables from.
_ROOM: list[mmap.mmap] = []

if __name__ == "__main__":
    forked = main()
    if forked is None:
        os._exit(0)  # there is nothing that it would have to take apart
    forked.run()
