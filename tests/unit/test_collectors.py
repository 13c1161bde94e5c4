"""Collectors read what trials leave behind, however odd it is."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_lib.collectors import Source, format_guard, own_format, to_float
from hpo_lib.collectors.stdout import LineRules
from hpo_lib.collectors.summary import MAX_PER_METRIC, summary
from hpo_lib.core.trial import Direction, Observation
from hpo_lib.errors import TrialFailed
from hpo_lib.files.lines import numbered
from hpo_lib.registry import load
from hpo_lib.spec.sections import Metrics, Objective


def thinned(found: Iterable[Observation], objectives: list[Objective]) -> list[Observation]:
    """Give what is kept."""
    return summary(found, objectives)[0]


def reduce(found: Iterable[Observation], objectives: list[Objective]) -> dict[str, float]:
    """Give one value per metric."""
    return summary(found, objectives)[1]


LOSS = Objective(metric="loss", direction=Direction.MINIMIZE)


def collect(tmp_path: Path, log: bytes | str = b"", name: str = "stdout", **settings: str):
    """Run a collector over a log (stdout) or a metrics file (jsonl)."""
    content = log if isinstance(log, bytes) else log.encode()
    source = Source(log=tmp_path / "log.txt", output=tmp_path)
    (tmp_path / ("log.txt" if name == "stdout" else "metrics.jsonl")).write_bytes(content)
    found = load("collector", name)(Metrics(collector=name, **settings))
    return list(found.collect(source, frozenset({"loss", "val_loss"})))


def values(found: list[Observation], metric: str = "loss") -> list[float]:
    """List the values of one metric."""
    return [o.value for o in found if o.metric == metric]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss=0.5", [0.5]),
        ("loss = 0.5", [0.5]),
        ("epoch 3, loss=1e-3, val_loss=2", [1e-3]),
        ("loss=.5 loss=5.", [0.5, 5.0]),
        ("loss=-1.5E+2;", [-150.0]),
        ("train_loss=0.5", []),  # another metric that ends alike
        ("loss=0.5.1", []),  # a version number, not a value
        ("loss=abc", []),
        ("loss=", []),
        ("loss=1e400", [math.inf]),
        ('{"loss": 0.25, "step": 2}', [0.25]),
        ('{"metrics": {"loss": "inf"}}', [math.inf]),
        ('{"loss": true}', []),
        ('{"loss": 0.25', []),
        ("[2026-01-01] INFO loss=0.1 (lr=3)", [0.1]),
        ("\x1b[32mloss=0.1\x1b[0m", [0.1]),
        ("10%|#| loss=0.9\r20%|##| loss=0.8\r", [0.9, 0.8]),  # progress bars
    ],
)
def test_stdout_reads_what_a_person_would(tmp_path: Path, line: str, expected: list[float]) -> None:
    assert values(collect(tmp_path, line)) == expected


def test_stdout_reads_nan_as_a_value(tmp_path: Path) -> None:
    assert math.isnan(values(collect(tmp_path, "loss=NaN"))[0])


def test_step_comes_from_the_same_line(tmp_path: Path) -> None:
    found = collect(tmp_path, "step=3 loss=0.5\nepoch=4 loss=0.4\nloss=0.3\n")
    assert [o.step for o in found] == [3, 4, None]


def test_a_format_of_the_users_replaces_the_default(tmp_path: Path) -> None:
    log = "loss=9\n{metricName: loss, metricValue: 0.5}\n"
    pattern = r"metricName: (?P<name>\w+), metricValue: (?P<value>[\d.]+)"
    assert values(collect(tmp_path, log, format=pattern)) == [0.5]


#: Expressions that no line stops in a life's time, or that take all memory, and such a line.
ENDLESS = [
    (r"(?P<name>(a+)+)=(?P<value>b)", "loss " + "a" * 4_000),
    (r"(?P<name>(x+x+)+y)(?P<value>b)", "loss " + "x" * 4_000),
    (r"(?P<name>(?=(\w+ ?)+$)l)=(?P<value>b)", "loss " * 20 + "!"),
    (r"(?P<name>(?:(?:(?:a?){60000}){60000}){60000}b)=(?P<value>b)", "loss aaaa"),
]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_format, "LINE_S", 0.1)


def ends(work: Callable[[], None]) -> None:
    """Run it in a thread, and fail unless it comes to an end; nothing depends on how soon."""
    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(120)
    assert not thread.is_alive()


@pytest.mark.parametrize(("form", "line"), ENDLESS)
@pytest.mark.parametrize("name", ["stdout", "file"])
def test_a_format_without_end_is_ended(
    tmp_path: Path, impatient: None, form: str, line: str, name: str
) -> None:
    for place in ("log.txt", "metrics.log"):
        (tmp_path / place).write_text(f"{line}\n" * format_guard.MOST_ENDLESS)
    source = Source(tmp_path / "log.txt", tmp_path)
    collector = load("collector", name)(Metrics(collector=name, format=form))

    def read() -> None:
        for reading in (
            collector.collect(source, frozenset({"loss"})),
            collector.sightings(source),
        ):
            with pytest.raises(TrialFailed, match=r"metrics.format: must match a line within 0.1"):
                list(reading)
            told.append(form)

    told: list[str] = []
    ends(read)
    assert told == [form] * 2


@pytest.mark.parametrize(("form", "line"), ENDLESS[:3])
def test_a_line_without_end_costs_that_line(
    tmp_path: Path, impatient: None, form: str, line: str
) -> None:
    bare = form.replace("?P<name>", "").replace("?P<value>", "")
    regex = rf"loss=(?P<value>[0-9.]+)|{bare}"
    rules = LineRules(Metrics(metric_definitions=[{"name": "loss", "regex": regex}]))
    (tmp_path / "log.txt").write_text(f"loss=1\n{line}\nloss=2\n")
    assert [one.value for one in rules.read(tmp_path / "log.txt", frozenset({"loss"}))] == [1, 2]
    (remark,) = rules.remarks
    assert remark.startswith("line 2 was left out: metrics.format: must match a line within 0.1 s")


def test_a_slow_format_is_told_and_reads_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_format, "FORMAT_S", 0)
    monkeypatch.setattr(own_format, "FORMAT_CHARS_A_S", 1)
    rules = LineRules(Metrics(format=r"(?P<name>loss)=(?P<value>\S+)"))
    (tmp_path / "log.txt").write_text("loss=2\n" * 600)
    assert len(list(rules.read(tmp_path / "log.txt", frozenset({"loss"})))) == 600
    (remark,) = rules.remarks
    assert remark.startswith("metrics.format is slow: ")


def test_a_format_that_takes_too_long_in_all_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_format, "FORMAT_S", 1)
    rules = LineRules(Metrics(format=r"(?P<name>(?:x+x+)+y|loss)=(?P<value>\S+)"))
    (tmp_path / "log.txt").write_text(f"loss {'x' * 20}\nloss=2\n" * 100)
    with pytest.raises(TrialFailed, match=r"must match a log within 1 s of CPU time, and one more"):
        list(rules.read(tmp_path / "log.txt", frozenset({"loss"})))


def test_what_is_quick_is_read_however_much_it_is(tmp_path: Path, impatient: None) -> None:
    log = "".join(f"step=1 loss: {number}\n" for number in range(2_000))
    found = collect(tmp_path, log, format=r"(?P<name>\w+): (?P<value>\S+)")
    assert values(found) == list(range(2_000))


@given(
    st.text(), st.sampled_from([r"(?P<name>\w+)(?P<value>\W)?", r"(?P<name>.)\s*(?P<value>\d+)"])
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_guard_matches_as_re_does(tmp_path: Path, text: str, form: str) -> None:
    rules, line = LineRules(Metrics(format=form)), f"loss {text} 3 loss 4"
    (tmp_path / "log.txt").write_bytes(line.encode(errors="replace"))
    texts = [one.text.strip() for one in numbered(tmp_path / "log.txt")]
    matches = [found for one in texts for found in re.finditer(form, one)]
    expected = [one["name"] for one in matches if to_float(one["value"]) is not None]
    assert {s.name for s in rules.sightings(tmp_path / "log.txt") if s.read} == set(expected)


@pytest.mark.parametrize("line", ["loss=" + "1" * 4_000 + "a", "a" * 4_000, "loss=" * 800])
def test_the_default_format_is_quick_with_every_line(tmp_path: Path, line: str) -> None:
    ends(lambda: values(collect(tmp_path, f"loss {line}\n" * 500)))


def test_binary_garbage_between_metrics_is_passed_over(tmp_path: Path) -> None:
    garbage = os.urandom(200_000).replace(b"=", b"-") + b"\n"
    found = collect(tmp_path, b"loss=2\n" + garbage + b"\0\xff\xfe\n" + garbage + b"loss=1\n")
    assert values(found) == [2.0, 1.0]


def test_the_end_of_an_endless_line_is_read(tmp_path: Path) -> None:
    assert values(collect(tmp_path, b"x" * 5_000_000 + b" loss=1")) == [1.0]


def test_100_mb_of_log_are_read_to_the_end(tmp_path: Path) -> None:
    block = b"".join(b"epoch %d: nothing to see here, just words\n" % i for i in range(20_000))
    with (tmp_path / "big.txt").open("wb") as file:
        for _ in range(100_000_000 // len(block) + 1):
            file.write(block)
        file.write(b"loss=0.125\n")
    collector = load("collector", "stdout")(Metrics())
    source = Source(log=tmp_path / "big.txt", output=tmp_path)
    found = list(collector.collect(source, frozenset({"loss"})))
    (tmp_path / "big.txt").unlink()
    assert values(found) == [0.125]


def test_jsonl_reads_what_the_runtime_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hpo_lib import runtime

    monkeypatch.setenv("HPO_OUTPUT", str(tmp_path))
    runtime.report(step=1, loss=0.5, val_loss=math.inf)
    runtime.report(loss=0.25)
    written = (tmp_path / "metrics.jsonl").read_bytes()
    from_file = collect(tmp_path, written, name="jsonl")
    from_log = collect(tmp_path, capsys.readouterr().out)
    told = [(o.metric, o.value, o.step) for o in from_file]
    assert told == [("loss", 0.5, 1), ("val_loss", math.inf, 1), ("loss", 0.25, None)]
    assert [(o.metric, o.value, o.step) for o in from_log] == told


@given(st.floats(), st.integers(0, 10**9))
def test_any_value_survives_a_json_line(value: float, step: int) -> None:
    from hpo_lib.collectors import from_json

    text = value if math.isfinite(value) else str(value)
    read = from_json(json.dumps({"step": step, "metrics": {"loss": text}}))
    assert read["step"] == step
    assert read["loss"] == value or math.isnan(read["loss"]) == math.isnan(value)


def series(*found: float) -> list[Observation]:
    """Make a series of loss with steps."""
    return [Observation("loss", value, step) for step, value in enumerate(found)]


@pytest.mark.parametrize(
    ("how", "found", "expected"),
    [
        ("last", [3.0, 1.0, 2.0], 2.0),  # printed several times: the last one counts
        ("best", [3.0, 1.0, 2.0], 1.0),
        ("best", [math.nan, 5.0, math.inf], 5.0),
        ("last", [1.0, math.nan], math.nan),
        ("best", [math.nan, math.nan], math.nan),
    ],
)
def test_reduce(how: str, found: list[float], expected: float) -> None:
    objective = Objective(metric="loss", direction=Direction.MINIMIZE, reduce=how)
    assert reduce(series(*found), [objective])["loss"] == pytest.approx(expected, nan_ok=True)


def test_best_takes_other_metrics_from_the_same_step() -> None:
    objective = Objective(metric="loss", direction=Direction.MINIMIZE, reduce="best")
    other = [Observation("val_loss", value, step) for step, value in enumerate([7.0, 8.0, 9.0])]
    assert reduce(series(3.0, 1.0, 2.0) + other, [objective]) == {"loss": 1.0, "val_loss": 8.0}


BEST = Objective(metric="val_loss", direction=Direction.MINIMIZE, reduce="best")


def of_log(tmp_path: Path, log: str, *others: str) -> dict[str, float]:
    """Read a log and reduce it to the best val_loss."""
    (tmp_path / "log.txt").write_text(log)
    collector = load("collector", "stdout")(Metrics())
    wanted = frozenset({"val_loss", "train_loss", *others})
    return reduce(collector.collect(Source(tmp_path / "log.txt", tmp_path), wanted), [BEST])


@pytest.mark.parametrize(
    ("log", "train_loss"),
    [
        (  # folds: steps go back
            "fold=1 epoch=1 val_loss=0.40 train_loss=0.45\n"
            "fold=1 epoch=2 val_loss=0.20 train_loss=0.22\n"
            "fold=2 epoch=1 val_loss=0.70 train_loss=0.15\n"
            "fold=2 epoch=2 val_loss=0.60 train_loss=0.05\n",
            0.22,
        ),
        ("val_loss=0.2 train_loss=0.22\nval_loss=0.6 train_loss=0.05\n", 0.22),  # without a step
        (  # a line each, without a step
            "train_loss=0.22\nval_loss=0.2\ntrain_loss=0.05\nval_loss=0.6\n",
            0.22,
        ),
        (  # a line each, folds
            "epoch=1 train_loss=0.4\nepoch=1 val_loss=0.5\nepoch=2 train_loss=0.22\n"
            "epoch=2 val_loss=0.2\nepoch=1 train_loss=0.1\nepoch=1 val_loss=0.7\n"
            "epoch=2 train_loss=0.05\nepoch=2 val_loss=0.6\n",
            0.22,
        ),
        (  # the best is in the second pass
            "epoch=1 train_loss=0.4\nepoch=1 val_loss=0.5\nepoch=2 train_loss=0.3\n"
            "epoch=2 val_loss=0.4\nepoch=1 train_loss=0.22\nepoch=1 val_loss=0.2\n"
            "epoch=2 train_loss=0.05\nepoch=2 val_loss=0.6\n",
            0.22,
        ),
        (  # a training that was resumed at an earlier step
            "epoch=1 val_loss=0.5 train_loss=0.5\nepoch=2 val_loss=0.2 train_loss=0.22\n"
            "epoch=3 val_loss=0.4 train_loss=0.1\nepoch=2 val_loss=0.3 train_loss=0.05\n",
            0.22,
        ),
        ("epoch=1 val_loss=0.2\nepoch=1 train_loss=0.22\nepoch=2 val_loss=0.6\n", 0.22),  # after
        (  # the objective first, without a step
            "val_loss=0.5\ntrain_loss=0.9\nval_loss=0.2\ntrain_loss=0.22\nval_loss=0.3\n"
            "train_loss=0.1\n",
            0.22,
        ),
        (  # folds of one epoch, the objective first
            "epoch=1 val_loss=0.6\nepoch=1 train_loss=0.05\nepoch=1 val_loss=0.2\n"
            "epoch=1 train_loss=0.22\n",
            0.22,
        ),
        (  # once after each fold
            "epoch=1 val_loss=0.2\nepoch=2 val_loss=0.3\ntrain_loss=0.22\n"
            "epoch=1 val_loss=0.6\nepoch=2 val_loss=0.55\ntrain_loss=0.05\n",
            0.22,
        ),
        (  # alone before, and then in the best's own line
            "train_loss=0.9\nval_loss=0.2 train_loss=0.22\nval_loss=0.6 train_loss=0.05\n",
            0.22,
        ),
        (  # the best has none of its own, and two others have
            "epoch=1 val_loss=0.5 train_loss=0.9\nepoch=1 val_loss=0.5 train_loss=0.05\n"
            "epoch=1 val_loss=0.2\n",
            None,
        ),
        (  # two counters
            "step=100 train_loss=0.9\nstep=200 train_loss=0.22\nepoch=1 val_loss=0.2\n"
            "step=300 train_loss=0.05\nepoch=2 val_loss=0.5\n",
            0.22,
        ),
        (  # a callback's own line before Keras' line
            "Epoch 1/2\ntrain_loss=0.22\n9/9 - 1s - 9ms/step - loss: 0.9 - val_loss: 0.2\n"
            "Epoch 2/2\ntrain_loss=0.05\n9/9 - 1s - 9ms/step - loss: 0.1 - val_loss: 0.5\n",
            0.22,
        ),
        (
            "Epoch 1/2\ntrain_loss: 0.22\n9/9 - 1s - 9ms/step - loss: 0.9 - val_loss: 0.2\n"
            "Epoch 2/2\ntrain_loss: 0.05\n9/9 - 1s - 9ms/step - loss: 0.1 - val_loss: 0.5\n",
            0.22,
        ),
        ("val_loss=0.2\nval_loss=0.6\ntrain_loss=0.05\n", 0.05),  # once, apart: of the whole run
        ("fold=1 epoch=2 val_loss=0.2\nfold=2 epoch=2 val_loss=0.6 train_loss=0.05\n", None),
        ("epoch=1 val_loss=0.2\nepoch=2 val_loss=0.6 train_loss=0.05\n", None),
    ],
)
def test_the_metrics_of_a_result_are_of_one_model(
    tmp_path: Path, log: str, train_loss: float | None
) -> None:
    values = of_log(tmp_path, log)
    assert values.pop("val_loss") == 0.2
    assert values == ({} if train_loss is None else {"train_loss": train_loss})


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 9), st.sets(st.sampled_from("abc"))),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_of_a_result_is_another_models(
    tmp_path: Path, rows: list[tuple[int, int, set[str]]], stepped: bool, last: bool
) -> None:
    """Each line is a model: it has the objective, and some of three other metrics."""
    lines = []
    for index, (step, loss, names) in enumerate(rows):
        words = [f"{name}={index}" for name in sorted(names)]
        words.insert(len(words) if last else 0, f"val_loss={loss}")
        lines.append(" ".join([f"epoch={step}", *words] if stepped else words))
    values = of_log(tmp_path, "\n".join(lines), *"abc")
    best = min(range(len(rows)), key=lambda index: rows[index][1])
    assert values.pop("val_loss") == rows[best][1]
    assert values == dict.fromkeys(rows[best][2], best)


def test_a_long_series_is_thinned_but_keeps_last_and_best() -> None:
    found = series(*[1.0 + i for i in range(5_003)])
    found[2_501] = Observation("loss", -7.0, 2_501)
    kept = thinned(found, [LOSS])
    assert len(kept) <= MAX_PER_METRIC
    assert found[-1] in kept
    assert found[2_501] in kept
    assert [o.step for o in kept] == sorted(o.step for o in kept)


def _objective(metric: str, how: str = "last", direction: str = "minimize") -> Objective:
    return Objective(metric=metric, direction=Direction(direction), reduce=how)


def _logged(**series_by_name: list[float]) -> list[Observation]:
    """Make series that are printed together, line by line."""
    lines = zip(*series_by_name.values(), strict=True)
    return [
        Observation(name, value, step)
        for step, line in enumerate(lines)
        for name, value in zip(series_by_name, line, strict=True)
    ]


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        # Each objective by its own rule; what is none goes with the first.
        ([_objective("loss", "best"), _objective("auc")], {"loss": 1, "auc": 6, "other": 8}),
        ([_objective("loss"), _objective("auc", "best")], {"loss": 2, "auc": 4, "other": 9}),
        (
            [_objective("auc", "best", "maximize"), _objective("loss", "best")],
            {"loss": 1, "auc": 6, "other": 9},
        ),
        ([_objective("gone", "best"), _objective("loss")], {"loss": 2, "auc": 6, "other": 9}),
    ],
)
def test_each_objective_is_reduced_by_its_own_rule(
    objectives: list[Objective], expected: dict[str, float]
) -> None:
    found = _logged(loss=[3, 1, 2], auc=[4, 5, 6], other=[7, 8, 9])
    assert reduce(found, objectives) == expected
    assert reduce(thinned(found, objectives), objectives) == expected


@given(
    st.lists(st.tuples(*[st.integers(-5, 5)] * 3), min_size=1, max_size=60),
    st.sampled_from([["loss", "auc", "other"], ["other", "auc", "loss"]]),
    st.tuples(st.sampled_from(["last", "best"]), st.sampled_from(["last", "best"])),
    st.sampled_from([4, 5, 9]),
)
def test_thinning_never_changes_what_a_series_is_reduced_to(
    rows: list[tuple[int, int, int]], order: list[str], how: tuple[str, str], limit: int
) -> None:
    objectives = [_objective("loss", how[0]), _objective("auc", how[1], "maximize")]
    columns = [[float(value) for value in column] for column in zip(*rows, strict=True)]
    found = _logged(**dict(zip(order, columns, strict=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpo_lib.collectors.summary.MAX_PER_METRIC", limit)
        kept = thinned(found, objectives)
    assert reduce(kept, objectives) == reduce(found, objectives)
    assert max(Counter(o.metric for o in kept).values()) <= limit


def test_the_clock_and_the_counter_of_a_record_are_no_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 3, "time": 1.7e9, "metrics": {"val_loss": 0.5}}\n'
        '{"step": null, "time": 1.7e9, "metrics": {"step": 0.25, "time": 12.5, "PR AUC": 0.75}}\n'
    )
    found = load("collector", "jsonl")(Metrics(collector="jsonl")).collect(
        Source(tmp_path / "log.txt", tmp_path), frozenset({"step", "time", "val_loss", "PR_AUC"})
    )
    told = {(one.metric, one.value, one.step) for one in found}
    assert told == {
        ("val_loss", 0.5, 3),
        ("step", 0.25, None),
        ("time", 12.5, None),
        ("PR_AUC", 0.75, None),
    }


@pytest.mark.parametrize("titles", [(), (b"poch",)])
def test_of_a_log_only_lines_with_a_needle_or_a_title_are_looked_at(
    tmp_path: Path, titles: tuple[bytes, ...]
) -> None:
    (tmp_path / "log.txt").write_text("short\nEpoch 1/2\nval_loss=1\n")
    found = [one.number for one in numbered(tmp_path / "log.txt", (b"loss",), titles)]
    assert found == ([2, 3] if titles else [3])
    assert [one.number for one in numbered(tmp_path / "log.txt")] == [1, 2, 3]
