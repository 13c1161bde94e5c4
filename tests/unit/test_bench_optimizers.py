"""The optimizer benchmark: its problems, its scores and its file of results. No peer is needed."""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from benchmarks.optimizers import harness, peer, session, table
from benchmarks.optimizers.harness import Plan, Results
from benchmarks.optimizers.problems import PROBLEMS, REPORT, TUNE
from benchmarks.optimizers.score import Scale, expected_best, scale_of, score
from benchmarks.optimizers.session import Protocol
from hpo_lib.core.space import Space

MAY_FAIL = {"boosting_friedman", "sgd_line", "mlp_diabetes"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small matrices are slower on several threads, much so where others use the machine."""
    with threadpool_limits(1):
        yield


def points(name: str, count: int) -> list[dict[str, object]]:
    space, draw = Space.parse(PROBLEMS[name].space), random.Random(name)
    return [space.from_unit([draw.random() for _ in range(len(space))]) for _ in range(count)]


def test_halves_are_disjoint_and_complete() -> None:
    assert not set(TUNE) & set(REPORT)
    assert {*TUNE, *REPORT} == set(PROBLEMS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem_gives_the_same_number_again(name: str) -> None:
    problem = PROBLEMS[name]
    for params in points(name, 2):
        true, observed = problem.true(params), problem.evaluate(params, 0)
        assert math.isfinite(true) or name in MAY_FAIL
        assert repr(problem.evaluate(params, 0)) == repr(observed)
        assert (repr(true) == repr(observed)) != bool(problem.noise)


def test_noise_depends_on_seed_and_params_alone() -> None:
    problem = PROBLEMS["noisy_friedman"]
    one, other = points("noisy_friedman", 2)
    draws = [problem.evaluate(one, 0) - problem.true(one) for _ in range(2)]
    draws += [problem.evaluate(one, 1) - problem.true(one)]
    draws += [problem.evaluate(other, 0) - problem.true(other)]
    assert len(set(draws)) == 3


@pytest.mark.parametrize("name", PROBLEMS)
def test_axes_of_peers_give_values_of_the_space(name: str) -> None:
    space, draw = Space.parse(PROBLEMS[name].space), random.Random(1)
    axes = [peer.Axis.of(parameter, spec) for parameter, spec in PROBLEMS[name].space.items()]
    for end in (0.0, 1.0, draw.random()):
        raw = {axis.name: axis.low + end * (axis.high - axis.low) for axis in axes}
        flat = {axis.name: axis.value(raw[axis.name]) for axis in axes}
        assert space.canonical(json.loads(json.dumps(flat)))


@pytest.mark.parametrize(
    ("spec", "raw", "value"),
    [
        ({"type": "float", "low": 0.3, "high": 1.0, "step": 0.05}, 3, 0.45),
        ({"type": "float", "low": 0.5, "high": 0.99, "scale": "reverse_log"}, 0.25, 0.75),
        ({"type": "int", "low": 10, "high": 50, "step": 20}, 2.0, 50),
        ({"type": "int", "low": 1, "high": 60, "scale": "log"}, 7.4, 7),
        ({"type": "ordinal", "choices": [8, 16, 32]}, 1, 16),
        ({"type": "categorical", "choices": [True, False]}, "1", False),
    ],
)
def test_axis_decodes(spec: dict[str, object], raw: object, value: object) -> None:
    decoded = peer.Axis.of("x", spec).value(raw)
    assert decoded == value
    assert type(decoded) is type(value)


def test_desk_finds_the_handle_of_each_suggestion() -> None:
    class Twice:
        """Suggests the same point twice, as finite spaces make peers do."""

        def __init__(self) -> None:
            self.axes = [peer.Axis.of("x", {"type": "int", "low": 0, "high": 9})]
            self.told: list[object] = []

        def ask(self, count: int) -> list[tuple[object, dict[str, object]]]:
            return [(f"handle {index}", {"x": 3.0}) for index in range(count)]

        def tell(self, results: list[object]) -> None:
            self.told += results

    twice = Twice()
    desk = peer.Desk(twice)
    found = desk.answer([], 2)
    assert found == [{"x": 3}, {"x": 3}]
    desk.answer([(found[0], 1.0), (found[1], None)], 0)
    assert twice.told == [("handle 0", 1.0), ("handle 1", None)]


def test_failures_are_told_as_the_worst_so_far() -> None:
    class Quiet(peer.Peer):
        def start(self) -> None:
            pass

    quiet = Quiet([], 0, 8, 8)
    assert quiet.finite([("a", None)]) == []
    assert quiet.finite([("b", 1.0), ("c", 3.0)]) == [("a", 3.0), ("b", 1.0), ("c", 3.0)]
    assert quiet.finite([("d", 2.0), ("e", None)]) == [("d", 2.0), ("e", 3.0)]


# -------------------------------------------------------------------------------- scores


def test_expected_best_is_that_of_all_draws() -> None:
    pairs = [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]
    assert expected_best(pairs, 1) == pytest.approx(20.0)
    assert expected_best(pairs, 2) == pytest.approx((10 + 10 + 20) / 3)
    assert expected_best(pairs, 3) == pytest.approx(10.0)


def test_expected_best_takes_the_true_value_of_the_best_observed() -> None:
    assert expected_best([(1.0, 30.0), (2.0, 20.0)], 2) == 30.0


def test_failed_random_evaluations_lose() -> None:
    assert expected_best([(None, None), (2.0, 20.0)], 2) == 20.0
    assert expected_best([(None, None), (2.0, 20.0)], 1) == 20.0
    assert math.isnan(expected_best([(None, None)], 1))


def test_score_of_a_trajectory() -> None:
    line = {"true": [None, 10.0, 6.0, 2.0], "cpu_s": [0.5, 0.25]}
    found = score(line, Scale(reference=6.0, best=2.0), 4)
    assert found.gap == 100.0
    assert found.any == pytest.approx((-100 - 100 + 0 + 100) / 4)
    assert found.cpu_s == 0.75


def test_a_run_that_broke_off_keeps_what_it_had() -> None:
    scale = Scale(reference=6.0, best=2.0)
    assert score({"true": [4.0], "cpu_s": [1.0]}, scale, 4).gap == 50.0
    assert score({"true": [], "cpu_s": []}, scale, 4).gap == -100.0


def test_best_is_the_lowest_of_anyone() -> None:
    pairs = [(float(value), float(value)) for value in range(10, 30)]
    assert scale_of(pairs, 8, [None, 4.0]).best == 4.0
    assert scale_of(pairs, 1, []) == scale_of(pairs, 8, [])


# ------------------------------------------------------------------------------- results


def run(problem: str, of: str, seed: int, true: list[float | None], **more: object) -> harness.Line:
    return {
        "kind": "run",
        "problem": problem,
        "peer": of,
        "protocol": "8x2",
        "seed": seed,
        "print": harness.print_of(problem),
        "best": true,
        "true": true,
        "cpu_s": [0.1] * len(true),
        "lowest": min((v for v in true if v is not None), default=None),
        "wall_s": 1.0,
        "version": harness.source_of(of) or "1.0",
        "error": None,
        "at": "2026-01-02T03:04:05Z",
        "machine": "a machine",
        **more,
    }


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Two made-up problems, so that nothing is trained."""
    monkeypatch.setattr(harness, "print_of", lambda name: f"print of {name}")
    return "one", "other"


def test_a_torn_line_is_skipped_and_its_run_missing(tmp_path, two) -> None:
    file = tmp_path / "sub" / "results.jsonl"
    results = Results.read(file, two)
    results.add(run("one", "smac", 0, [1.0, 0.5]))
    results.add(run("one", "smac", 1, [1.0, 0.5]))
    file.write_bytes(file.read_bytes()[:-20])

    again = Results.read(file, two)
    plan = Plan(("smac",), two, (Protocol(8, 2),), 2)
    missing = [key for key in plan.runs() if harness.to_do(again.runs.get(key), retry=False)]
    assert ("one", "smac", "8x2", 0) not in missing
    assert len(missing) == 3

    again.add(run("one", "smac", 1, [1.0, 0.25]))
    assert Results.read(file, two).runs["one", "smac", "8x2", 1]["true"] == [1.0, 0.25]


def test_what_another_version_did_is_not_mixed_in(tmp_path, two) -> None:
    results = Results.read(tmp_path / "results.jsonl", two)
    results.add(run("one", "ours:random", 0, [0.5], version="another"))
    results.add(run("one", "smac", 0, [0.7], print="another problem of that name"))
    again = Results.read(results.path, two)
    assert not again.runs
    assert again.lowest == {"one": [0.5]}


def test_a_run_that_broke_off_is_done_again_only_if_asked_for() -> None:
    broken = {"error": "no"}
    assert not harness.to_do(broken, retry=False)
    assert harness.to_do(broken, retry=True)


def test_tables(tmp_path, two) -> None:
    results = Results.read(tmp_path / "results.jsonl", two)
    for problem in two:
        pairs = [[value / 100, value / 100] for value in range(50, 150)]
        results.take({"kind": "random", "problem": problem, "pairs": pairs})
        for seed in (0, 1):
            results.take(run(problem, "ours:bayesian", seed, [0.5, 0.2 if seed else 0.3]))
            results.take(run(problem, "hebo", seed, [0.5, 0.0 if problem == "one" else 0.4]))
    results.take(run("one", "smac", 0, [], error="it said: no"))
    peers = ("ours:bayesian", "hebo", "smac")
    text = table.tables(Plan(peers, two, (Protocol(8, 2),), 2), results)
    assert "## 8x2: 2 rounds of 8, 16 evaluations" in text
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines()]
    cells = {row[0]: row for row in reversed(rows) if row}  # those of the first table
    assert cells["ours:bayesian"][4] == "4 of 4"
    assert cells["smac"][1] == "-100.0 ± ?"
    assert "broke off on one, seed 0: it said: no" in text
    assert "behind the best peer by most: one" in text
    assert "other" in text.partition("Where")[0]
    assert "a machine" in text


def test_protocol_is_read_and_refused() -> None:
    assert Protocol.of("8x16") == Protocol(8, 16)
    assert str(Protocol(8, 16)) == "8x16"
    for wrong in ("8", "0x4", "ax4", "8x", "8x-1"):
        with pytest.raises(ValueError, match="BATCHxROUNDS"):
            Protocol.of(wrong)


def test_source_of_a_sampler_covers_what_it_imports() -> None:
    assert session.source_of("ours:random") != session.source_of("ours:sobol")
    assert session.source_of("smac") == ""
    assert session.imported(
        "from hpo_lib.samplers import (a,\n  b)\nx = 'hpo_lib.samplers.c:D'"
    ) == [
        "hpo_lib.samplers.c",
        "hpo_lib.samplers.a",
        "hpo_lib.samplers.b",
    ]


def test_source_of_a_sampler_covers_what_lies_in_packages_below() -> None:
    found = session.imported(
        "from hpo_lib.samplers.surrogate import outputs\n"
        "from hpo_lib.samplers.surrogate.cube import Cube\n"
    )
    assert {"hpo_lib.samplers.surrogate.outputs", "hpo_lib.samplers.surrogate.cube"} <= set(found)


def test_another_surrogate_is_another_bayesian_sampler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = session.source_of("ours:bayesian")
    shutil.copytree(session.ROOT / "hpo_lib" / "samplers", tmp_path / "hpo_lib" / "samplers")
    monkeypatch.setattr(session, "ROOT", tmp_path)
    assert session.source_of("ours:bayesian") == before
    with (tmp_path / "hpo_lib/samplers/surrogate/gaussian.py").open("a") as file:
        file.write("# changed\n")
    assert session.source_of("ours:bayesian") != before


def test_our_own_sampler_runs_through_the_worker() -> None:
    outcome = session.run(PROBLEMS["noisy_friedman"], "ours:random", Protocol(2, 2), 0, 60.0)
    assert outcome.error is None
    assert len(outcome.true) == len(outcome.cpu_s) == 2
    assert outcome.lowest is not None
    assert outcome.lowest <= outcome.true[-1]


def test_a_peer_that_dies_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "python_of", lambda _: sys.executable)
    monkeypatch.setattr(session, "WORKER", session.WORKER.with_name("no_such_file.py"))
    outcome = session.run(PROBLEMS["noisy_friedman"], "smac", Protocol(2, 2), 0, 60.0)
    assert "No such file" in str(outcome.error)
    assert outcome.true == []
