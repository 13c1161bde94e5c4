"""Event files are read without TensorFlow: real ones, every kind of scalar, and broken ones."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfevents_writer import counted, event, record, simple, tensor, varint, written

from hpo_lib.collectors import Source
from hpo_lib.collectors.tfevents import Scalar, TfeventsCollector, checksum, names
from hpo_lib.spec.sections import Metrics

#: Written by TensorFlow 2.21 and Keras 3.14: model.fit of 3 epochs with the TensorBoard callback,
#: and tf.compat.v1.summary.FileWriter.
REAL = Path(__file__).parent / "data" / "tfevents"


def read(folder: Path, *wanted: str, path: str | None = None) -> list[tuple[str, float, int]]:
    collector = TfeventsCollector(Metrics(collector="tfevents", path=path))
    found = collector.collect(Source(folder / "none", folder), frozenset(wanted))
    return [(one.metric, one.value, one.step or 0) for one in found]


def put(folder: Path, content: bytes, name: str = "events.out.tfevents.1") -> Path:
    path = folder / "tensorboard" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_keras_writes_is_read_by_the_names_of_its_history() -> None:
    assert read(REAL, "loss", "val_loss", "val_mae", path="keras") == [
        ("loss", 1.6197048425674438, 0),
        ("val_loss", 1.8988699913024902, 0),
        ("val_mae", 1.2981986999511719, 0),
        ("loss", 1.4506467580795288, 1),
        ("val_loss", 1.712092399597168, 1),
        ("val_mae", 1.2273032665252686, 1),
        ("loss", 1.3006280660629272, 2),
        ("val_loss", 1.5454998016357422, 2),
        ("val_mae", 1.1605417728424072, 2),
    ]


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("evaluation_mae_vs_iterations", 1.1605417728424072),
        ("epoch_loss", 1.3006280660629272),  # in two folders: the first by name is train
        ("validation/epoch_loss", 1.5454998016357422),
        ("train/epoch_loss", 1.3006280660629272),
    ],
)
def test_what_keras_writes_is_read_by_its_tags(name: str, last: float) -> None:
    assert [value for _, value, _ in read(REAL, name, path="keras")][-1] == last


def test_what_tensorflow_1_writes_is_read() -> None:
    found = read(REAL, "loss", path="old")
    assert found == [("loss", 1.0, 0), ("loss", 0.5, 1), ("loss", 0.25, 2)]


@pytest.mark.parametrize(
    "value",
    [
        simple("loss", 0.5),
        tensor("loss", 0.5),
        tensor("loss", 0.5, listed=True),
        tensor("loss", 0.5, form="<d"),
        tensor("loss", 0.5, form="<d", listed=True),
    ],
)
def test_every_kind_of_scalar_is_read(tmp_path: Path, value: bytes) -> None:
    put(tmp_path, written(event(value, step=7)))
    assert read(tmp_path, "loss") == [("loss", 0.5, 7)]


def test_what_is_no_single_number_is_passed_over(tmp_path: Path) -> None:
    two = counted(8, varint(1 << 3) + varint(1) + counted(4, bytes(8)))
    text = counted(8, varint(1 << 3) + varint(7) + counted(8, b"loss"))
    histogram = counted(5, b"\x09" + bytes(8))
    tags = [counted(1, b"loss") + held for held in (two, text, histogram)]
    put(tmp_path, written(event(*tags), record(b"no event at all"), b"", event(b"loss")))
    assert read(tmp_path, "loss") == []


def test_the_literal_tag_goes_before_that_of_keras_and_the_upper_folder_first(
    tmp_path: Path,
) -> None:
    put(tmp_path, written(event(simple("epoch_loss", 1))), "a/train/tfevents")
    put(tmp_path, written(event(simple("epoch_acc", 2))), "a/train/tfevents.2")
    put(tmp_path, written(event(simple("loss", 3))), "loss_val/tfevents")
    put(tmp_path, written(event(simple("loss", 4))), "loss_train/tfevents")
    put(tmp_path, written(event(simple("loss", 5))), "notes.txt")
    assert read(tmp_path, "loss", "acc", "loss_val/loss") == [
        ("loss", 4, 0),
        ("loss_val/loss", 3, 0),
        ("acc", 2, 0),
    ]


def test_several_files_of_a_folder_are_one_series(tmp_path: Path) -> None:
    put(tmp_path, written(event(simple("loss", 2), step=2)), "events.out.tfevents.2")
    put(tmp_path, written(event(simple("loss", 1), step=1)), "events.out.tfevents.1")
    assert read(tmp_path, "loss") == [("loss", 1, 1), ("loss", 2, 2)]


def test_a_file_that_is_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    content = written(*[event(simple("loss", step), step=step) for step in range(4)])
    size = (len(content) - len(written())) // 4
    for end in range(len(written()), len(content)):
        put(tmp_path, content[:end])
        assert len(read(tmp_path, "loss")) == (end - len(written())) // size


def test_a_damaged_record_is_left_out_and_a_damaged_length_ends_the_file(tmp_path: Path) -> None:
    content = written(*[event(simple("loss", step), step=step) for step in range(3)])
    size = (len(content) - len(written())) // 3
    second = len(written()) + size
    for at, steps in ((second + size - 9, [0, 2]), (second, [0]), (second + 9, [0])):
        broken = bytearray(content)
        broken[at] ^= 1
        put(tmp_path, bytes(broken))
        assert [step for _, _, step in read(tmp_path, "loss")] == steps


def test_a_very_large_record_is_passed_over(tmp_path: Path) -> None:
    image = counted(4, bytes(1 << 21))
    put(tmp_path, written(event(image), event(simple("loss", 1))))
    assert read(tmp_path, "loss") == [("loss", 1, 0)]


def test_the_checksum_is_the_known_one() -> None:
    # RFC 3720, B.4: CRC-32C of 32 zero bytes is 0x8a9136aa; then masked.
    rotated = (0x8A9136AA >> 15 | 0x8A9136AA << 17) & 0xFFFFFFFF
    expected = (rotated + 0xA282EAD8) & 0xFFFFFFFF
    assert checksum(bytes(32)) == expected.to_bytes(4, "little")


@given(
    st.floats(width=32), st.integers(-(2**63), 2**63 - 1), st.floats(0, 1e10), st.text(max_size=20)
)
def test_any_scalar_survives(
    tmp_path_factory: pytest.TempPathFactory, value: float, step: int, time: float, tag: str
) -> None:
    folder = tmp_path_factory.mktemp("tb")
    for make in (simple, tensor):
        put(folder, written(event(make(tag, value), step=step, time=time)))
        (found,) = TfeventsCollector(Metrics(collector="tfevents")).scalars(Source(folder, folder))
        assert (found.tag, found.step, found.time, found.folder) == (tag, step, time, "")
        assert found.value == value or math.isnan(found.value) == math.isnan(value)


@given(st.binary(max_size=200))
def test_no_garbage_raises(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    folder = tmp_path_factory.mktemp("tb")
    for content in (garbage, written(garbage), written(event(garbage)), written() + garbage):
        put(folder, content)
        read(folder, "loss")


@pytest.mark.parametrize(
    ("folder", "tag", "expected"),
    [
        ("", "loss", {"loss", "/loss"}),
        ("train", "epoch_loss", {"epoch_loss", "train/epoch_loss", "loss"}),
        ("a/validation", "epoch_auc", {"epoch_auc", "a/validation/epoch_auc", "val_auc"}),
        ("validation", "loss", {"loss", "validation/loss"}),
    ],
)
def test_the_names_of_a_tag(folder: str, tag: str, expected: set[str]) -> None:
    assert names(Scalar(folder, tag, 0.0, 0, 0.0)) == expected
