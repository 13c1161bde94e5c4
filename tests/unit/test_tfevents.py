"""Event files are read without TensorFlow: real ones, every kind of scalar, and broken ones."""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path

import pytest
import trial_environment
from hypothesis import given
from hypothesis import strategies as st
from tfevents_writer import TYPES, counted, event, record, simple, tensor, typed, varint, written

from hpo_lib.collectors import Source, tfevents
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


# ---------------------------------------------------------------------------- one order, by time

WRITERS = ["events.out.tfevents.1700000000.h.999.0", "events.out.tfevents.1700000000.h.1000.0"]


@pytest.mark.parametrize(
    ("tag", "folder", "name"),
    [
        ("val_loss", "", "val_loss"),
        ("val_loss", "version_0/", "val_loss"),  # as PyTorch Lightning has it
        ("loss", "loss_val/", "loss_val/loss"),  # as add_scalars has it
        ("epoch_loss", "validation/", "val_loss"),
        ("epoch_loss", "train/", "loss"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".v2", ".4040.v2"])
def test_the_last_by_time_counts_whatever_the_names_of_the_files(
    tmp_path: Path, tag: str, folder: str, name: str, suffix: str
) -> None:
    for writer, value, time in zip(
        WRITERS, (0.75, 0.25), (1700000000.1, 1700000000.6), strict=True
    ):
        put(tmp_path, written(event(simple(tag, value), time=time)), folder + writer + suffix)
    assert [value for _, value, _ in read(tmp_path, name)] == [0.75, 0.25]


def test_of_one_time_the_writers_number_decides(tmp_path: Path) -> None:
    for writer, value in zip(WRITERS, (0.75, 0.25), strict=True):
        put(tmp_path, written(event(simple("loss", value), time=1700000000.0)), writer)
    assert [value for _, value, _ in read(tmp_path, "loss")] == [0.75, 0.25]


def test_a_restart_that_goes_back_to_an_earlier_step_counts_by_time(tmp_path: Path) -> None:
    first = [event(simple("loss", 9 - n), step=n, time=100.0 + n) for n in range(4)]
    again = [event(simple("loss", n), step=n, time=200.0 + n) for n in range(2)]
    put(tmp_path, written(*again), "events.out.tfevents.1.h.1.0")
    put(tmp_path, written(*first), "events.out.tfevents.2.h.1.0")
    found = [(value, step) for _, value, step in read(tmp_path, "loss")]
    assert found == [(9, 0), (8, 1), (7, 2), (6, 3), (0, 0), (1, 1)]


def test_a_clock_that_goes_back_does_not_change_the_order_within_a_file(tmp_path: Path) -> None:
    times = [100.0, 200.0, 50.0, 60.0]
    jumps = [event(simple("loss", n), time=time) for n, time in enumerate(times)]
    put(tmp_path, written(*jumps), "events.out.tfevents.1")
    put(tmp_path, written(event(simple("loss", 9), time=150.0)), "events.out.tfevents.2")
    assert [value for _, value, _ in read(tmp_path, "loss")] == [0, 9, 1, 2, 3]


def test_the_metrics_of_a_literal_name_and_of_keras_are_one_series(tmp_path: Path) -> None:
    for n in range(3):
        train = written(event(simple("epoch_loss", n), step=n, time=10.0 * n))
        held_out = written(event(simple("epoch_loss", n + 0.5), step=n, time=10.0 * n + 1))
        put(tmp_path, train, f"train/events.out.tfevents.{n}")
        put(tmp_path, held_out, f"validation/events.out.tfevents.{n}")
        mine = written(event(simple("f1", n / 4), step=n, time=10.0 * n + 2))
        put(tmp_path, mine, f"events.out.tfevents.{n}")
    found = read(tmp_path, "loss", "val_loss", "f1")
    assert found == [
        one
        for n in range(3)
        for one in (("loss", n, n), ("val_loss", n + 0.5, n), ("f1", n / 4, n))
    ]


@given(st.data(), st.lists(st.floats(0, 1e9), min_size=1, max_size=20))
def test_any_number_of_writers_give_one_series_by_time(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, times: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("tb")
    files: dict[int, list[bytes]] = {}
    for number, time in enumerate(sorted(set(times))):
        writer = data.draw(st.integers(990, 1010))
        files.setdefault(writer, []).append(event(simple("loss", number), time=time))
    for writer, events in files.items():
        put(folder, written(*events), f"events.out.tfevents.1700000000.h.{writer}.0")
    assert [value for _, value, _ in read(folder, "loss")] == list(range(len(set(times))))


def test_a_writer_an_epoch_leaves_no_more_files_open_than_write_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_now, most, original = 0, 0, tfevents.records

    def counted_records(place: Path):
        nonlocal open_now, most
        open_now, most = open_now + 1, max(most, open_now + 1)
        yield from original(place)
        open_now -= 1

    for n in range(50):
        content = written(*[event(simple("loss", n), time=10.0 * n + k) for k in range(3)])
        put(tmp_path, content, f"events.out.tfevents.{n}")
    collector = TfeventsCollector(Metrics(collector="tfevents"))
    found = collector.collect(Source(tmp_path, tmp_path), frozenset({"loss"}))
    first = [next(found)]  # All files have been looked at, and one is being read.
    open_now = most = 0
    monkeypatch.setattr(tfevents, "records", counted_records)
    assert len(first + list(found)) == 150
    assert most <= 2


@given(st.text(max_size=9), st.text(max_size=9), st.sampled_from(["", "a", "validation", "b/c"]))
def test_a_tag_is_looked_for_by_just_the_names_it_has(tag: str, name: str, folder: str) -> None:
    known = names(Scalar(folder, tag, 0.0, 0, 0.0))
    for one in {*known, name, f"{folder}/{name}", f"val_{name}"}:
        looked_for = {found for found, _ in tfevents._meanings(folder, [one]).get(tag, [])}
        assert (one in looked_for) == (one in known)


# ---------------------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[(kind, 1) for kind in TYPES],
        *[(kind, 0) for kind in TYPES],
        *[(kind, 0.75) for kind in ("float", "double", "half", "bfloat16")],
        *[(kind, -5) for kind in TYPES if kind[0] in "ifdh"],
        ("int8", -128),
        ("uint8", 255),
        ("int16", -(2**15)),
        ("uint16", 2**16 - 1),
        ("int32", -(2**31)),
        ("uint32", 2**32 - 1),
        ("int64", -(2**53)),
        ("uint64", 2**63),
        ("half", math.inf),
        ("bfloat16", 2.0**100),
    ],
)
def test_a_tensor_of_one_number_of_any_type_is_read(
    tmp_path: Path, kind: str, value: float
) -> None:
    every = [
        typed("loss", kind, value, shape=shape, how=how)
        for shape in [(), (1,), (1, 1, 1)]
        for how in ("content", "packed", "listed")
    ]
    put(tmp_path, written(*[event(one, step=7) for one in every]))
    assert read(tmp_path, "loss") == [("loss", value, 7)] * len(every)


@pytest.mark.parametrize("kind", TYPES)
def test_a_tensor_that_is_not_of_one_number_is_passed_over(tmp_path: Path, kind: str) -> None:
    odd = [
        one
        for how in ("content", "packed", "listed")
        for one in (
            typed("loss", kind, 1, 1, shape=(2,), how=how),
            typed("loss", kind, 1, shape=(3,), how=how),  # three times the same, written once
            typed("loss", kind, 1, shape=(1, 0), how=how),
            typed("loss", kind, shape=(0,), how=how),
            typed("loss", kind, how=how),
        )
    ]
    put(tmp_path, written(event(*odd)))
    assert read(tmp_path, "loss") == []


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_what_a_type_can_hold_is_read_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    _, form, _ = TYPES[kind]
    packed = data.draw(st.binary(min_size=struct.calcsize(form), max_size=struct.calcsize(form)))
    if kind == "bfloat16":
        packed = bytes(2) + packed[2:]
    (value,) = struct.unpack(form, packed)
    folder = tmp_path_factory.mktemp("tb")
    for how in ("content", "packed", "listed"):
        put(folder, written(event(typed("loss", kind, value, how=how))))
        ((_, found, _),) = read(folder, "loss")
        assert found == float(value) or math.isnan(found) == math.isnan(value)


# ------------------------------------------------------------------------- TensorFlow and Keras

ALL_TYPES = """
import numpy, tensorflow as tf

NAMES = "float32 float64 int32 uint8 int16 int8 int64 bool bfloat16 uint16 half uint32 uint64"
with tf.summary.create_file_writer("tensorboard").as_default():
    for name in NAMES.split():
        for rank in range(3):
            value = tf.reshape(tf.cast(tf.constant(1.0), tf.as_dtype(name)), [1] * rank)
            tf.summary.write(f"{name}/{rank}", value, step=3)
    tf.summary.write("several", tf.constant([1.0, 2.0]), step=3)
with tf.Graph().as_default():
    writer = tf.compat.v1.summary.FileWriter("tensorboard/listed")
    for name in NAMES.split():
        summary = tf.compat.v1.Summary()
        zero = numpy.zeros(1, tf.as_dtype(name).as_numpy_dtype)
        summary.value.add(tag=name, tensor=tf.make_tensor_proto(zero))
        writer.add_summary(summary, 4)
    writer.close()
"""


def test_tensors_that_tensorflow_writes_are_read_whatever_their_type(tmp_path: Path) -> None:
    trial_environment.run(ALL_TYPES, tmp_path)
    collector = TfeventsCollector(Metrics(collector="tfevents"))
    found = list(collector.scalars(Source(tmp_path, tmp_path)))
    kinds = [*("float32", "float64", "int32", "uint8", "int16", "int8", "int64", "bool")]
    kinds += ["bfloat16", "uint16", "half", "uint32", "uint64"]
    content = {(f"{kind}/{rank}", 1.0, 3) for kind, rank in itertools.product(kinds, range(3))}
    assert {(one.tag, one.value, one.step) for one in found if not one.folder} == content
    listed = {(one.tag, one.value, one.step) for one in found if one.folder == "listed"}
    assert listed == {(kind, 0.0, 4) for kind in kinds}


#: The tags are those of Keras's TensorBoard callback, which needs the package tensorboard.
TWO_FITS = """
import keras, numpy, tensorflow as tf

class Told(keras.callbacks.Callback):
    def __init__(self):
        folders = {"": "train", "val_": "validation"}
        self.writers = {
            prefix: tf.summary.create_file_writer(f"tensorboard/{folder}")
            for prefix, folder in folders.items()
        }

    def on_epoch_end(self, epoch, logs=None):
        for prefix, writer in self.writers.items():
            with writer.as_default():
                tf.summary.write("epoch_loss", tf.constant(logs[prefix + "loss"]), step=epoch)
            writer.flush()

keras.utils.set_random_seed(1)
x, y = numpy.random.rand(32, 3), numpy.random.rand(32)
for rate in (0.1, 0.01):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    past = model.fit(x, y, epochs=2, validation_split=0.5, callbacks=[Told()], verbose=0)
    for name in ("loss", "val_loss"):
        print(name, *past.history[name])
"""


def test_two_trainings_of_keras_in_one_folder_follow_each_other(tmp_path: Path) -> None:
    printed = [line.split() for line in trial_environment.run(TWO_FITS, tmp_path).splitlines()]
    for folder in (tmp_path / "tensorboard").iterdir():
        first, second = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        first.rename(folder / "events.out.tfevents.1700000000.h.999.0.v2")
        second.rename(folder / "events.out.tfevents.1700000000.h.1000.0.v2")
    for name in ("loss", "val_loss"):
        values = [float(word) for first, *words in printed if first == name for word in words]
        found = read(tmp_path, name)
        assert [value for _, value, _ in found] == pytest.approx(values)
        assert [step for _, _, step in found] == [0, 1, 0, 1]


# ------------------------------------------------------------------------------- what is broken


def test_a_file_that_is_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    content = written(*[event(simple("loss", step), step=step) for step in range(4)])
    size = (len(content) - len(written())) // 4
    for end in range(len(written()), len(content)):
        put(tmp_path, content[:end])
        assert len(read(tmp_path, "loss")) == (end - len(written())) // size


def test_a_torn_file_gives_what_is_whole_and_the_files_after_it_all(tmp_path: Path) -> None:
    for writer, start in ((999, 0), (1000, 2), (1001, 4)):
        values = [event(simple("loss", n), step=n, time=10.0 + n) for n in (start, start + 1)]
        content = written(*values)
        put(tmp_path, content[:-5] if writer != 1001 else content, f"tfevents.1.h.{writer}.0")
    put(tmp_path, b"", "events.out.tfevents.2.h.1.0.profile-empty")
    assert [value for _, value, _ in read(tmp_path, "loss")] == [0, 2, 4, 5]


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
