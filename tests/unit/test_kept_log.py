"""A log that is read again and again from a server that forgets: no line lost, none twice."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest  # noqa: TC002 - Hypothesis reads the annotations
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.backends.kept_log import MISSING, Heads, news, plain, taken_over, when

BEGAN = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def timed(number: int, text: bytes) -> bytes:
    """Write a line as the API server does: the number counts nanoseconds since the start."""
    second, nano = divmod(number, 10**9)
    moment = BEGAN + timedelta(seconds=second)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nano:09d}Z ".encode() + text + b"\n"


def in_chunks(log: bytes, size: int) -> Iterator[bytes]:
    return (log[at : at + size] for at in range(0, len(log), size))


def read(file: Path, log: bytes, size: int = 1 << 16, *, late: bool = False) -> None:
    """Read what the server has now, as far as it goes, and keep what is new of it."""
    mark = taken_over(file, alone=False)
    now = BEGAN + timedelta(days=int(late))
    with file.open("ab") as kept:
        kept.writelines(news(mark, Heads(in_chunks(log, size)), BEGAN, now))


def shown(file: Path) -> bytes:
    with file.open("rb") as kept:
        return b"".join(plain(kept))


TEXTS = st.lists(st.binary(max_size=60).map(lambda text: text.replace(b"\n", b"")), max_size=30)
SIZES = st.integers(1, 200)


@given(TEXTS, st.lists(st.tuples(st.floats(0, 1), SIZES), max_size=5), st.data())
def test_however_often_it_breaks_off_every_line_is_kept_once(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[bytes],
    readings: list[tuple[float, int]],
    data: st.DataObject,
) -> None:
    """Times of lines may be equal or a little out of order: two streams are written at once."""
    file = tmp_path_factory.mktemp("kept") / "p.log"
    apart = data.draw(st.lists(st.integers(-1, 2), min_size=len(texts), max_size=len(texts)))
    lines = [
        timed(1_000 + 3 * number + moved, b"%d " % number + text)
        for number, (text, moved) in enumerate(zip(texts, apart, strict=True))
    ]
    log = b"".join(lines)
    for share, size in readings:
        read(file, log[: int(len(log) * share)], size)
    read(file, log)
    assert file.read_bytes() == log
    assert shown(file) == b"".join(b"%d %b\n" % pair for pair in enumerate(texts))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), SIZES), min_size=1, max_size=6))
def test_what_may_be_missing_is_marked_where_it_may_be(
    tmp_path_factory: pytest.TempPathFactory, windows: list[tuple[int, int, int]]
) -> None:
    """At each reading the server has the lines from one number to another, both growing."""
    file = tmp_path_factory.mktemp("kept") / "p.log"
    lines = [timed(60 * 10**9 * number, b"line %d" % number) for number in range(41)]
    begin = end = 0
    for one, other, size in windows:
        begin, end = max(begin, min(one, other)), max(end, one, other)
        read(file, b"".join(lines[begin:end]), size, late=True)
    found = shown(file).splitlines(keepends=True)
    numbers = [int(line.split()[1]) for line in found if line != MISSING]
    assert numbers == sorted(set(numbers)), "none twice"
    if begin < end:
        assert numbers[-1] == end - 1, "up to the last"
    else:
        assert found[-1] == MISSING, "the server has nothing any more"
    expected = 0
    for before, line in zip([b"", *found], found, strict=False):
        if line == MISSING:
            continue
        number = int(line.split()[1])
        assert number == expected or before == MISSING
        expected = number + 1


def test_a_log_that_is_first_read_late_may_have_lost_its_beginning(tmp_path: Path) -> None:
    def kept(name: str, first_s: int, *, late: bool) -> bytes:
        read(tmp_path / name, timed(first_s * 10**9, b"loss=0.5"), late=late)
        return shown(tmp_path / name)

    assert kept("both", 60, late=True) == MISSING + b"loss=0.5\n"
    assert kept("silent", 60, late=False) == b"loss=0.5\n", "it was looked at before it spoke"
    assert kept("away", 3, late=True) == b"loss=0.5\n", "it has its beginning"


def test_an_empty_log_that_is_read_late_may_have_lost_all(tmp_path: Path) -> None:
    read(tmp_path / "p.log", b"", late=True)
    assert (tmp_path / "p.log").read_bytes() == MISSING
    read(tmp_path / "p.log", timed(10**9, b"a"), late=True)
    assert shown(tmp_path / "p.log") == b"a\n"


def test_a_line_that_was_kept_in_part_is_gone_on_with(tmp_path: Path) -> None:
    file, log = tmp_path / "p.log", timed(1, b"a") + timed(2, b"x" * 100_000) + timed(3, b"b")
    for end in (50, 5_000, 99_000, len(log)):
        read(file, log[:end])
        assert log.startswith(file.read_bytes())
    assert file.read_bytes() == log


def test_lines_of_one_moment_are_told_apart(tmp_path: Path) -> None:
    """The last that is kept is cut after its time, or is the same as the one before it."""
    file = tmp_path / "p.log"
    log = b"".join(timed(1, text) for text in (b"a", b"b", b"b", b"a"))
    for end in range(len(timed(1, b"")), len(log) + 1):
        read(file, log[:end])
        assert log.startswith(file.read_bytes())
    assert file.read_bytes() == log


def test_after_a_line_that_was_kept_in_part_and_then_lost_comes_the_gap(tmp_path: Path) -> None:
    read(tmp_path / "p.log", timed(1, b"a") + timed(2, b"bbbb")[:-3])
    read(tmp_path / "p.log", timed(9, b"c"))
    assert shown(tmp_path / "p.log") == b"a\nbb\n" + MISSING + b"c\n"


def test_whoever_was_believed_dead_and_writes_on_does_no_harm(tmp_path: Path) -> None:
    file, lines = tmp_path / "p.log", [timed(number, b"%d" % number) for number in range(4)]
    read(file, b"".join(lines[:2]))
    with file.open("ab") as zombie:
        read(file, b"".join(lines[:3]))
        zombie.write(b"".join(lines[2:]))
        zombie.flush()
        read(file, b"".join(lines))
    assert file.read_bytes() == b"".join(lines)


def test_a_server_that_says_no_times_is_known_by_how_its_log_begins(tmp_path: Path) -> None:
    file, lines = tmp_path / "p.log", [b"loss=0.%d\n" % number for number in range(9)]
    for end in (2, 4, 4):
        read(file, b"".join(lines[:end]))
    assert shown(file) == b"".join(lines[:4])
    read(file, b"".join(lines[2:4]))
    assert shown(file) == b"".join(lines[:4]), "nothing new"
    read(file, b"".join(lines[6:]))
    assert shown(file) == b"".join(lines[:4]) + MISSING + b"".join(lines[6:])


def _as_old_nodes_do(texts: Sequence[bytes], part: int) -> bytes:
    """Say the time before each part of a long line, as nodes do that write it in parts."""
    log = b""
    for number, text in enumerate(texts):
        begin = timed(number, b"")[:-1]
        parts = [text[at : at + part] for at in range(0, len(text), part)] or [b""]
        log += b"".join(begin + one for one in parts) + b"\n"
    return log


@given(st.lists(st.integers(0, 40_000), max_size=5), st.sampled_from([8_192, 16_384]))
def test_times_within_long_lines_are_taken_out(lengths: list[int], part: int) -> None:
    texts = [(b"step=%d loss=0.5 " % number) * (length // 15) for number, length in
             enumerate(lengths)]  # fmt: skip
    log = _as_old_nodes_do(texts, part)
    assert b"".join(plain(io.BytesIO(log))) == b"".join(text + b"\n" for text in texts)


def test_a_line_without_end_takes_no_memory_and_keeps_no_time() -> None:
    text = b"0123456789abcdef" * (3 << 16)
    log = _as_old_nodes_do([text, b"end"], 16_384)
    pieces = list(plain(io.BytesIO(log)))
    assert b"".join(pieces) == text + b"\nend\n"
    assert max(map(len, pieces)) <= 2 << 20


def test_times_of_several_zones_are_compared_as_times() -> None:
    early, late = b"2031-05-06T07:08:09.5Z a", b"2031-05-06T09:08:09.500000001+02:00 b"
    assert when(early) < when(late)  # type: ignore[operator]
    assert when(b"2031-05-06T25:08:09Z a") is None
    assert when(b"2031") is None
