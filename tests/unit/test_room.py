"""The one door: nothing outside of an output is read, copied or deleted, whatever a trial does.

Outside lies MARK. Each reader gives all that it has read, or where it has put that.
"""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import factories
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from hpo_lib.backends import bring
from hpo_lib.cli.models import _is_there
from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.deployers import Release, mlflow, package, packing, sagemaker_request
from hpo_lib.errors import HpoError
from hpo_lib.files import artifacts, lines, places
from hpo_lib.files.inside import Inside
from hpo_lib.promotion import holdout
from hpo_lib.registry import load
from hpo_lib.runs import fingerprint
from hpo_lib.runtime import upload
from hpo_lib.runtime.room import Refused, Room
from hpo_lib.spec.sections import Metrics
from hpo_lib.trials.outcome import outcome

MARK = b"MARK-OUTSIDE"
#: It is a line of metrics, JSON and an XCom at once, so each reader would take it for something.
SECRET = b'{"loss": 1, "secret": "%s"}\n' % MARK
NAMES = ("metrics.jsonl", "model", "holdout.json", "return.json", "tensorboard", "a", "b")


# --------------------------------------------------------------- what a name in a room leads to


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(SECRET)
    (tmp_path / "room/sub/deeper").mkdir(parents=True)
    (tmp_path / "room/file").write_bytes(b"file")
    (tmp_path / "room/sub/inner").write_bytes(b"inner")
    return tmp_path / "room"


def read(place: Path, path: str) -> bytes:
    return b"".join(places.chunks(places.below(place, path)))


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("file", b"file"),
        ("sub/inner", b"inner"),
        ("./sub/../file", b"file"),
        ("sub/deeper/../inner", b"inner"),
        ("{room}/sub/inner", b"inner"),
        ("{room}/../room/file", b"file"),
    ],
)
def test_a_link_that_stays_below_is_followed(room: Path, target: str, content: bytes) -> None:
    (room / "link").symlink_to(target.format(room=room))
    assert read(room, "link") == content
    assert "link" in [place.name for place in places.files(room)]
    assert places.left_alone(room) == []


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("../outside/secret", "is a link that leads out, to ../outside/secret"),
        ("{room}/../outside/secret", "is a link that leads out, to {room}/../outside/secret"),
        ("/proc/self/environ", "is a link that leads out, to /proc/self/environ"),
        ("/proc/self/cwd", "is a link that leads out, to /proc/self/cwd"),
        ("sub/../../outside/secret", "is a link that leads out, to sub/../../outside/secret"),
        ("../room/file", "is a link that leads out, to ../room/file"),
        ("link", "is one of links in a circle, to link"),
        ("other\x1b[2J", "is a link to nowhere"),
        ("sub", "is a link to a folder"),
    ],
)
def test_any_other_link_is_left_alone_in_words(room: Path, target: str, why: str) -> None:
    (room / "link").symlink_to(target.format(room=room))
    assert [str(one) for one in places.left_alone(room)] == [f"link {why.format(room=room)}"]
    assert "link" not in [place.name for place in places.files(room)]
    with suppress(HpoError):
        assert read(room, "link") == b""


def test_a_link_on_the_way_is_followed_within_only(room: Path) -> None:
    (room / "in").symlink_to("sub")
    (room / "out").symlink_to("../outside")
    assert read(room, "in/inner") == b"inner"
    with pytest.raises(HpoError, match=r"out/secret is a link that leads out, to \.\./outside"):
        read(room, "out/secret")
    with pytest.raises(HpoError, match="leads out"):
        read(room, "../outside/secret")


def test_a_room_that_is_a_link_itself_is_not_entered(room: Path) -> None:
    shutil.rmtree(room)
    room.symlink_to("outside")
    with pytest.raises(HpoError, match=r"room in .* leads to outside"):
        read(room, "secret")
    assert [str(one) for one in places.left_alone(room)] != []
    with pytest.raises(HpoError, match="leads to outside"):
        places.files(room)


def test_what_is_no_file_neither_hangs_nor_is_passed_over_in_silence(room: Path) -> None:
    os.mkfifo(room / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(room / "socket"))
        assert [str(one) for one in places.left_alone(room)] == [
            "pipe is a pipe",
            "socket is a socket",
        ]
        for name in ("pipe", "socket"):
            with pytest.raises(HpoError, match=f"{name} is a {name}"):
                read(room, name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_a_second_name_of_a_file_of_others_is_not_read(room: Path) -> None:
    os.chown(room, 1_234, 1_234)
    os.link(room.parent / "outside/secret", room / "theirs")
    os.link(room / "file", room / "another")
    os.chown(room / "file", 1_234, 1_234)
    words = "theirs is another name of a file of somebody else's"
    assert [str(one) for one in places.left_alone(room)] == [words]
    with pytest.raises(HpoError, match=words):
        read(room, "theirs")
    assert read(room, "another") == b"file"


def test_a_link_to_a_folder_without_the_file_is_told_where_json_is_read(room: Path) -> None:
    (room / "model").symlink_to("sub")
    place = places.below(places.below(room, "model"), "metadata.json")
    found, why = places.json_or_why(place, 1_000)
    assert found == {}
    assert "model" in why


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_in_an_output_lent_to_a_user_a_second_name_of_that_users_file_is_read(room: Path) -> None:
    os.chown(room, 0, 1_234)
    room.chmod(0o2770)
    os.link(room.parent / "outside/secret", room / "the worker's")
    os.link(room / "file", room / "another")
    os.chown(room / "file", 1_234, 1_234)
    words = "the worker's is another name of a file of somebody else's"
    assert [str(one) for one in places.left_alone(room)] == [words]
    assert read(room, "another") == b"file"


def test_folders_of_any_depth_can_be_listed_and_deleted(room: Path) -> None:
    here = os.open(room, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("d", dir_fd=here)
        here, before = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(before)
    os.close(here)
    assert [str(one)[-24:] for one in places.left_alone(room)] == ["lies in too many folders"]
    artifacts.delete(room)
    assert not room.exists()


def test_deleting_unlinks_and_never_descends(room: Path) -> None:
    (room / "sub/out").symlink_to(room.parent / "outside")
    (room.parent / "link").symlink_to("outside")
    artifacts.delete(room.parent / "link")
    artifacts.delete(room)
    assert sorted(one.name for one in room.parent.iterdir()) == ["outside"]
    assert (room.parent / "outside/secret").read_bytes() == SECRET


def test_writing_goes_through_no_link(room: Path) -> None:
    (room / "out").symlink_to("../outside")
    (room / "own").symlink_to("../outside/secret")
    with pytest.raises(HpoError, match=r"out in .* leads to"):
        artifacts.write(places.below(room, "out/secret"), b"changed")
    artifacts.write(places.below(room, "own"), b"changed")
    assert (room / "own").read_bytes() == b"changed"
    assert (room.parent / "outside/secret").read_bytes() == SECRET


def test_artifacts_on_a_disk_are_a_room_from_the_offered_place_on(tmp_path: Path) -> None:
    offers = artifacts.offers({f"file://{tmp_path}/srv": None}, lambda _: {})
    place = artifacts.kept_at(f"file://{tmp_path}/srv/iris/run-1/attempt-1", offers)
    assert place == Inside(Room(f"{tmp_path}/srv", "iris/run-1/attempt-1"))
    (tmp_path / "outside/run-1/attempt-1").mkdir(parents=True)
    (tmp_path / "outside/run-1/attempt-1/x").write_bytes(MARK)
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/iris").symlink_to("../outside")
    for touch in (places.files, artifacts.delete, lambda it: artifacts.write(it / "x", b"")):
        with pytest.raises(HpoError, match="leads to") as caught, places.reaching(place):
            touch(place)
        assert "iris in" in str(caught.value)
    assert (tmp_path / "outside/run-1/attempt-1/x").read_bytes() == MARK


# ------------------------------------------------------------------------ every reader there is


def _all(folder: Path) -> bytes:
    """Give all that a reader has put below a folder of ours."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return b"".join(path.read_bytes() for path in found)


def _files(output: Path, _: Path) -> bytes:
    return b"".join(chunk for place in places.files(output) for chunk in places.chunks(place))


def _parts(output: Path, _: Path) -> bytes:
    found = [places.below(output, name) for name in NAMES]
    return b"".join(
        bytes(places.sha256(one) or "", "ascii")
        + places.tail(one, 100)
        + "".join(lines.lines(one)).encode()
        + str(places.json_object(one, 1_000)).encode()
        for one in found
    )


def _growing(output: Path, _: Path) -> bytes:
    return "".join(lines.Growing(places.below(output, "a")).new(last=True)).encode()


def _uploaded(output: Path, scratch: Path) -> bytes:
    artifacts.upload(output, places.below(scratch, "kept"))
    return _all(scratch)


def _uploaded_to_a_store(output: Path, scratch: Path) -> bytes:
    folder = UPath(f"memory://{scratch}")
    artifacts.upload(output, folder)
    return b"".join(place.read_bytes() for place in places.files(folder))


def _carried(output: Path, scratch: Path) -> bytes:
    upload.Mirror(output, f"file://{scratch}").copy()
    return _all(scratch)


def _carried_to_a_store(output: Path, scratch: Path) -> bytes:
    upload.Mirror(output, f"memory://{scratch}").copy()
    return b"".join(place.read_bytes() for place in places.files(UPath(f"memory://{scratch}")))


def _release(output: Path) -> Release:
    return Release("iris", 3, places.below(output, "model"), {})


def _zipped(output: Path, scratch: Path) -> bytes:
    package.pack(_release(output), scratch / "x.zip")
    with zipfile.ZipFile(scratch / "x.zip") as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name[0] == "m")


def _tarred(output: Path, scratch: Path) -> bytes:
    sagemaker_request.pack(_release(output), scratch / "x.tar.gz")
    with tarfile.open(scratch / "x.tar.gz") as archive:
        found = [archive.extractfile(one) for one in archive.getmembers()]
        return b"".join(one.read() for one in found if one is not None)


def _packed(output: Path, _: Path) -> bytes:
    return b"".join(packing.packed(_release(output)).files.values())


def _registered(output: Path, _: Path) -> bytes:
    return b"".join(b"".join(content) for _, content in mlflow._contents(_release(output)))


def _collected(name: str, **settings: str) -> Callable[[Path, Path], bytes]:
    def collected(output: Path, _: Path) -> bytes:
        collector = load("collector", name)(Metrics(collector=name, **settings))
        source = Source(log=places.below(output, "a"), output=output)
        found = [*collector.collect(source, frozenset({"loss"}))]
        seen = [*collector.sightings(source)]
        return (MARK if found or seen else b"") + repr([found, seen]).encode()

    return collected


def _judged(output: Path, _: Path) -> bytes:
    spec = factories.run(factories.SPEC | {"metrics": {"collector": "jsonl"}}).spec
    found = outcome(spec, Exit(Ending.EXITED, 0), Source(places.below(output, "a"), output))
    return (MARK if found.metrics else b"") + found.log_tail.encode()


def _held_out(output: Path, _: Path) -> bytes:
    return repr(holdout.read(output, "secret")).encode()


def _fingerprinted(output: Path, _: Path) -> bytes:
    return repr([*fingerprint._of_disk(Inside(Room(str(output.parent)), "output"), "at")]).encode()


def _deleted(output: Path, _: Path) -> bytes:
    artifacts.delete(output)
    return b""


def _brought(output: Path, _: Path) -> bytes:
    bring(output, "{}")
    return b""


READERS: dict[str, Callable[[Path, Path], bytes]] = {
    "files": _files,
    "parts": _parts,
    "growing": _growing,
    "upload to a disk": _uploaded,
    "upload to a store": _uploaded_to_a_store,
    "runtime.upload to a disk": _carried,
    "runtime.upload to a store": _carried_to_a_store,
    "zip": _zipped,
    "tar": _tarred,
    "config map": _packed,
    "mlflow": _registered,
    **{
        name: _collected(name, **({"path": "model"} if name == "tfevents" else {}))
        for name in ("stdout", "file", "jsonl", "xcom", "tfevents")
    },
    "outcome": _judged,
    "holdout": _held_out,
    "reuse": _fingerprinted,
    "hpo models": lambda output, _: repr(_is_there(str(output / "model"))).encode(),
    "return": _brought,
    "delete": _deleted,
}
#: What a trial may do to a name in its output, or to the output itself.
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["file", "folder", "out", "out of a folder", "up", "in", "pipe", "hard"]),
        st.lists(st.sampled_from(NAMES), min_size=0, max_size=3),
    ),
    max_size=12,
)


def _do(output: Path, outside: Path, deed: str, names: list[str]) -> None:
    """Do it if it can be done there, and nothing has been done."""
    place = output.joinpath(*names)
    if str(outside) in os.path.realpath(place) or os.path.lexists(place):
        return
    deeds: dict[str, Callable[[], object]] = {
        "file": lambda: place.write_bytes(b"inside"),
        "folder": place.mkdir,
        "out": lambda: place.symlink_to(outside / "secret"),
        "out of a folder": lambda: place.symlink_to(outside),
        "up": lambda: place.symlink_to(f"{'../' * (len(names) + 1)}outside/model"),
        "in": lambda: place.symlink_to(output / "a"),
        "pipe": lambda: os.mkfifo(place),
        "hard": lambda: os.link(output / "a", place),
    }
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        deeds[deed]()


@contextmanager
def _outside(folder: Path) -> Iterator[Path]:
    """Give a folder full of what must not be read, and look whether it is as it was."""
    outside = folder / "outside"
    (outside / "model/model").mkdir(parents=True)
    for name in (*NAMES, "secret", "model/secret.tfevents"):
        place = outside / name
        if not place.is_dir():
            place.write_bytes(SECRET)
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in outside.rglob("*"))
    yield outside
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in outside.rglob("*")) == before


@pytest.mark.parametrize("reader", READERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(deeds=DEEDS)
def test_no_reader_leaves_the_output(
    tmp_path_factory: pytest.TempPathFactory, reader: str, deeds: list[tuple[str, list[str]]]
) -> None:
    folder = tmp_path_factory.mktemp("trial")
    with _outside(folder) as outside:
        for deed, names in deeds:
            _do(folder / "output", outside, deed, names)
        assert MARK not in _read_by(reader, folder)
    shutil.rmtree(folder)


def _read_by(reader: str, folder: Path) -> bytes:
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        return READERS[reader](folder / "output", scratch)
    except (HpoError, FileNotFoundError, NotADirectoryError, Refused) as why:
        return str(why).replace(str(folder), "").encode()


@pytest.mark.parametrize("reader", READERS)
def test_no_race_is_won(tmp_path: Path, reader: str) -> None:
    """Swap a file, a folder and the output itself for links, again and again, while it is read."""
    output, ended = tmp_path / "output", threading.Event()
    with _outside(tmp_path) as outside:
        swapping = threading.Thread(target=_swap, args=(output, outside, ended))
        swapping.start()
        try:
            found = [_read_by(reader, tmp_path) for _ in range(60)]
        except OSError as error:
            found = [str(error).encode()]  # a folder that is filled while it is deleted
        finally:
            ended.set()
            swapping.join()
    assert not any(MARK in one for one in found)


def _swap(output: Path, outside: Path, ended: threading.Event) -> None:
    model, file = output / "model", output / "metrics.jsonl"
    while not ended.is_set():
        with suppress(OSError):
            model.mkdir(parents=True)
            file.write_bytes(b"inside")
            (model / "model").write_bytes(b"inside")
        with suppress(OSError):
            (output / "link").symlink_to(outside / "secret")
            (output / "link").replace(file)
            model.rename(output.parent / "aside")
            model.symlink_to(outside)
            model.unlink()
            (output.parent / "aside").rename(model)
            output.rename(output.parent / "away")
            output.symlink_to(outside)
            output.unlink()
            (output.parent / "away").rename(output)
        for left in (output.parent / "aside", output.parent / "away"):
            shutil.rmtree(left, ignore_errors=True)
        for one in (output, model, file):
            if one.is_symlink():
                one.unlink(missing_ok=True)
