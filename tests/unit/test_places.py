"""Places: a disk and an object store are read alike, and an outage is not taken for nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from hpo_lib.errors import TransientError, TrialFailed
from hpo_lib.files.places import Place, below, chunks, files, left_alone, opened, size, sizes, tail

READERS: list[Callable[[Place], Any]] = [
    lambda place: list(chunks(place)),
    lambda place: tail(place, 10),
    lambda place: files(place.parent),
]


class PlaceContract:
    """What reading means wherever a file lies: inherit and supply `folder`."""

    def test_a_file_is_read_from_any_place_on(self, folder: Place) -> None:
        place = folder / "log.txt"
        place.write_bytes(b"0123456789" * 20_000)
        assert b"".join(chunks(place)) == b"0123456789" * 20_000
        assert b"".join(chunks(place, 199_995)) == b"56789"
        assert b"".join(chunks(place, 300_000)) == b""

    def test_the_end_of_a_file_is_read(self, folder: Place) -> None:
        place = folder / "log.txt"
        place.write_bytes(b"0123456789")
        assert tail(place, 3) == b"789"
        assert tail(place, 99) == b"0123456789"

    def test_what_is_not_there_is_nothing(self, folder: Place) -> None:
        (folder / "x").write_bytes(b"")
        for place in (folder / "none", folder / "no" / "folder", folder):
            assert list(chunks(place)) == []
            assert tail(place, 10) == b""
            with opened(place) as file:
                assert file is None
        assert files(folder / "none") == []

    def test_files_are_listed_through_all_folders(self, folder: Place) -> None:
        for path in ("b", "a/c/d", "a/b"):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x")
        found = [str(place).removeprefix(f"{folder}/") for place in files(folder)]
        assert found == ["a/b", "a/c/d", "b"]

    def test_a_place_below_a_folder(self, folder: Place) -> None:
        assert str(below(folder, "a/b")) == str(folder / "a" / "b")
        assert below(below(folder, "a"), "b") == below(folder, "a/b")


class TestDisk(PlaceContract):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path

    def test_a_pipe_is_no_file(self, folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        with pytest.raises(TrialFailed, match="pipe is a pipe; nothing is read there"):
            list(chunks(folder / "pipe"))
        assert files(folder) == []

    def test_links_do_not_lead_out(self, folder: Path) -> None:
        (folder / "out").symlink_to("/etc")
        (folder / "circle").symlink_to("circle")
        leads = "out/passwd is a link that leads out, to /etc; nothing is read there"
        with pytest.raises(TrialFailed, match=leads):
            tail(below(folder, "out/passwd"), 10)
        with pytest.raises(TrialFailed, match="circle is one of links in a circle, to circle"):
            tail(below(folder, "circle"), 10)
        assert files(folder) == []
        assert [str(one) for one in left_alone(folder)] == [
            "circle is one of links in a circle, to circle",
            "out is a link that leads out, to /etc",
        ]

    def test_a_disk_that_fails_is_an_outage(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "x").write_bytes(b"x")
        monkeypatch.setattr(os, "open", _fail(OSError(5, "Input/output error")))
        with pytest.raises(TransientError, match=r"/x: cannot be reached: .*Input/output error"):
            list(chunks(folder / "x"))


class TestMemory(PlaceContract):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> UPath:
        folder = UPath(f"memory://{tmp_path}")
        folder.mkdir(parents=True)
        return folder

    @pytest.mark.parametrize("read", READERS)
    @pytest.mark.parametrize(
        "error", [TimeoutError(), PermissionError("Forbidden"), RuntimeError("no endpoint")]
    )
    def test_a_store_that_does_not_answer_is_an_outage(
        self,
        folder: UPath,
        read: Callable[[Place], Any],
        error: Exception,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("open", "info", "ls"):
            monkeypatch.setattr(type(folder.fs), name, _fail(error))
        with pytest.raises(TransientError, match=str(error) or "TimeoutError"):
            read(folder / "log.txt")


def _fail(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_sizes_are_those_of_the_files_below_a_folder(tmp_path: Path, kind: str) -> None:
    folder: Any = tmp_path if kind == "disk" else UPath(f"memory://{tmp_path}")
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "b").write_bytes(b"")
    (folder / "deep" / "a").write_bytes(b"123")
    assert sizes(folder) == [("b", 0), ("deep/a", 3)]
    assert [size(below(folder, name)) for name in ("b", "deep/a", "no")] == [0, 3, None]
    assert sizes(folder / "nowhere") == []
