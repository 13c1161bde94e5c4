"""The report: nothing breaks out of it, nothing is loaded by it, every kind of run has one."""

from __future__ import annotations

import csv as csv_module
import io
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import factories
import pytest
from factories import SPEC, START, attempt, good_run, run, trial, view

from hpo_lib import report, words
from hpo_lib.core.trial import (
    Action,
    Assignment,
    Cause,
    Direction,
    Observation,
    Origin,
    Trial,
    TrialState,
)
from hpo_lib.evaluation import drift
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import (
    Advice,
    AttemptState,
    Model,
    ModelStatus,
    Provenance,
    RunKey,
    RunStatus,
    RunView,
    Told,
    TrialDecision,
)
from hpo_lib.report import markup, overfitting, timeline
from hpo_lib.report.again import WITHOUT, command, folder, note
from hpo_lib.report.axes import Axis
from hpo_lib.report.choosing import sample
from hpo_lib.report.data import data_of, text_of
from hpo_lib.report.facts import Facts
from hpo_lib.spec import load
from hpo_lib.trials.runner import request

EVIL = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"onmouseover=alert(1) x='",
    "{{ 7*7 }} {% raw %} ${params.x} %{x}",
    "javascript:alert(1)",
    "<!-- ]]> &lt;b&gt; \u2028 \u202e \x00 \ud800 \x1b[31m",
    "<a href='https://example.invalid/'>x</a>",
)
TAGS = """
    html head meta title style body main header nav section footer noscript h1 h2 h3 p div span a
    b i small ul li dl dt dd pre button table thead tbody tr th td details summary figure figcaption
    script
""".split()  # noqa: SIM905
ATTRIBUTES = """
    lang charset http-equiv content name class id style role aria-label aria-hidden aria-pressed
    href type data-show data-copy data-state data-v data-chart data-options data-sorts title scope
    tabindex open
""".split()  # noqa: SIM905


class Page(HTMLParser):
    """What a browser would make of a report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.words: list[str] = []
        self._tag, self._type = "", None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._tag, self._type = tag, dict(attrs).get("type")
        if tag == "script":
            self.scripts.append((self._type, ""))

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "script":
            kind, code = self.scripts[-1]
            self.scripts[-1] = (kind, code + data)
        elif self._tag != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def having(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and attributes.items() <= a.items()]

    def data(self, identifier: str) -> Any:
        places = [a.get("id") for t, a in self.elements if t == "script"]
        return json.loads(self.scripts[places.index(identifier)][1])


@pytest.fixture(autouse=True)
def small_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that draws is looked at once, below."""
    monkeypatch.setattr("hpo_lib.report.assets.script", lambda: "/* charts */")


def page(of: RunView) -> Page:
    return Page(report.html(of))


def rows(of: RunView) -> list[dict[str, str]]:
    return list(csv_module.DictReader(io.StringIO(report.csv(of))))


def hostile(evil: str, *, several: bool = False) -> RunView:
    """A run that says `evil` wherever a run can say anything."""
    objective: Any = {"metric": evil, "direction": "minimize"}
    if several:
        objective = [objective, {"metric": f"{evil}2", "direction": "maximize", "target": 1}]
    spec = {
        "name": evil,
        "description": evil,
        "objective": objective,
        "constraints": ["loss <= 2", f"'{evil}' <= 2"] if _is_plain(evil) and several else [],
        "extra_metrics": [f"val_{evil}", evil],
        "space": {
            evil: {"type": "float", "low": 0.1, "high": 1.0, "scale": "log"},
            f"{evil}2": {"type": "categorical", "choices": [evil, "b"], "when": {evil: [evil]}},
        },
        "fixed": {evil: evil},
        "sampler": {"name": evil, "seed": evil},
        "limits": {"max_trials": evil, "parallel_trials": evil},
        evil: evil,
    }
    views = []
    for number in range(4):
        cause = Cause.USER_ERROR if number == 3 else None
        made = trial(
            number,
            None if cause else number + 0.5,
            params={evil: 0.1 + number / 10, f"{evil}2": evil},
            cause=cause,
            reason=evil,
            rungs={float(rung): number + 1.0 / rung for rung in range(1, number + 2)},
            metrics={
                evil: number + 0.5,
                f"{evil}2": number % 2,
                f"val_{evil}": 1.0 + number,
                "loss": 1.0 + number,
            },
        )
        tried = attempt(number, number, number + 9, log_tail=evil, reason=evil)
        seen = [Observation(evil, 1.0 / (step + 1), step) for step in range(3)]
        views.append(view(made, tried, slot=evil, observations=seen))
    made_run = run(
        spec,
        check=False,
        reason=evil,
        advice=Advice((Told(1, evil, 0.5, ()),), (evil,)),
        triggered_by=evil,
        provenance=Provenance(versions={evil: evil}),
        key=RunKey(evil, evil),
    )
    promoted = TrialDecision(1, Action.PROMOTE, evil, 2.0, factories.START)
    return RunView(
        made_run,
        tuple(views),
        champion=champion_with(check_of(made_run.id, evil)),
        decisions=[promoted, replace(promoted, action=Action.STOP)],
    )


def check_of(run_id: int, evil: str = "auc", **changes: Any) -> drift.ChampionCheck:
    """What a run has noted of a champion, with `evil` wherever a trial can say anything."""
    then = {"fingerprint": evil, "rows": 10, "features": {evil: {"mean": 1, "std": 1}, "a": {}}}
    now = then | {
        "fingerprint": f"{evil}2",
        "features": {evil: {"mean": 2, "std": 1, "missing": 1}},
    }
    made = drift.ChampionCheck(
        run=run_id,
        time=factories.START + timedelta(days=run_id),
        version=3,
        metric=evil,
        direction=Direction.MAXIMIZE,
        then=drift.Score(0.9, 0.01, 3),
        now=drift.Score(0.8, 0.02, 3),
        data=drift.compare(drift.Data.read(then), drift.Data.read(now)),
        program=[f"{evil} was {evil}, is 2"],
    )
    return replace(made, **changes)


def champion_with(*noted: Any) -> Model:
    now = factories.START
    made = Model("wine-quality", 3, 1, 1, {}, ModelStatus.CHAMPION, "", now, now)
    return replace(made, checks=noted)


def drifted() -> RunView:
    good = good_run(8)
    checks = [check_of(number) for number in range(1, good.run.id + 1)]
    return replace(good, champion=champion_with(*checks))


def _is_plain(evil: str) -> bool:
    """Say whether a constraint can name a metric like this."""
    return "'" not in evil and "\x00" not in evil


#: What no trial of `front_run` keeps, the second for want of a value.
IMPOSSIBLE = ["val_loss <= 0.001", "loss / 0 <= 1"]
TWO = factories.front_run().run


def unreadable() -> RunView:
    good = good_run(8)
    spec = dict(good.run.document) | {"mode": "of an older version", "retired_key": 1}
    return RunView(replace(good.run, document=spec), good.trials)


def odd_values() -> RunView:
    long = "a-very-long-name-" * 12
    metrics = {"val_auc": math.nan, "loss": math.inf, "métrique µ": -math.inf, long: 1e300}
    odd = [
        trial(0, 1e-300, params={"learning_rate": 1e-5, long: "x" * 250}, metrics=metrics),
        trial(1, math.nan, params={}, metrics={}),
        trial(2, math.inf, params={"optimizer": "gone", "units": True}),
        trial(3, cause=None),
        trial(4, cause=Cause.LOST, reason=None),
    ]
    views = [view(one, observations=[Observation("val_auc", math.nan, 1)]) for one in odd]
    return RunView(run(ended_at=None, status=RunStatus.RUNNING, reason=None), tuple(views))


RUNS = {
    "good": good_run(),
    "one trial": good_run(1, fail=0),
    "a thousand trials": good_run(1_000, parallel=8),
    "all failed": factories.failed_run(),
    "refused": factories.refused_run(),
    "no trial": RunView(run(reason=None)),
    "spec of another version": unreadable(),
    "odd values": odd_values(),
    "spec of nonsense": RunView(
        run({"space": 3, "objective": []}, check=False), good_run(5).trials
    ),
    "drift": drifted(),
    "rungs": factories.rungs_run(),
    "equal values": RunView(run(), tuple(view(trial(n, 0.5)) for n in range(12))),
    "a front": factories.front_run(),
    "a front of five": factories.front_run(objectives=5),
    "a front that is long": factories.front_run(700, objectives=5, constraints=[]),
    "an empty front": factories.front_run(constraints=IMPOSSIBLE),
    "nothing feasible": factories.front_run(objectives=1, constraints=IMPOSSIBLE),
    "a front of failures": RunView(TWO, factories.failed_run().trials),
    "a second objective that is missing": RunView(TWO, good_run(8).trials),
}


@pytest.fixture(params=RUNS.values(), ids=RUNS.keys())
def any_run(request: pytest.FixtureRequest) -> RunView:
    return request.param  # type: ignore[no-any-return]


class TestEveryRun:
    def test_has_a_page_of_known_elements_only(self, any_run: RunView) -> None:
        check_is_harmless(page(any_run))

    def test_has_a_line_per_trial_in_the_csv(self, any_run: RunView) -> None:
        assert [int(row["number"]) for row in rows(any_run)] == [
            one.trial.number for one in any_run.trials
        ]

    def test_places_each_chart_once(self, any_run: RunView) -> None:
        found = page(any_run)
        places = [a["id"] for _, a in found.elements if "id" in a]
        assert len(places) == len(set(places))
        for box in found.elements:
            if kind := box[1].get("data-chart"):
                assert box[1]["id"] == f"chart-{kind}"
                json.loads(box[1].get("data-options") or "{}")


def check_is_harmless(found: Page) -> None:
    for tag, attributes in found.elements:
        assert tag in TAGS
        assert set(attributes) <= set(ATTRIBUTES), (tag, attributes)
        assert re.fullmatch(r"#[a-z]+(-\d+)?", attributes.get("href") or "#ok")
        assert re.fullmatch(r"[a-z0-9:;%.()-]*", attributes.get("style") or "")
        assert re.fullmatch(r"[a-z0-9 -]*", attributes.get("class") or "")
    kinds = [kind for kind, _ in found.scripts]
    assert kinds in (["application/json", None, None], [])


class TestEscaping:
    @pytest.mark.parametrize("several", [False, True])
    @pytest.mark.parametrize("evil", EVIL)
    def test_nothing_breaks_out(self, evil: str, several: bool) -> None:
        text = report.html(hostile(evil, several=several))
        check_is_harmless(Page(text))
        text.encode()
        assert "<script>alert" not in text
        assert "<img" not in text

    def test_what_was_said_can_be_read(self) -> None:
        assert EVIL[0] in page(hostile(EVIL[0])).text

    def test_json_cannot_end_its_element(self) -> None:
        text = markup.data("x", {"a": "</script><!--&\u2028", "b": [math.nan, (math.inf, 1)]})
        assert not set(text[len('<script type="application/json" id="x">') : -9]) & set("<>&\u2028")

    def test_attributes_are_quoted(self) -> None:
        assert markup.el("p", title='"><b>') == '<p title="&quot;&gt;&lt;b&gt;"></p>'

    def test_a_log_keeps_the_last_state_of_a_line(self) -> None:
        made = trial(0, cause=Cause.USER_ERROR)
        log = "1/2\r2/2\r\n\x1b[1mdone\x1b[0m\n"
        found = page(RunView(run(), (view(made, attempt(0, 0, 1, log_tail=log)),)))
        assert "2/2 done" in found.text
        assert "1/2" not in found.text


class TestSelfContained:
    def test_only_our_scripts_may_run(self) -> None:
        found = page(good_run(4))
        policy = found.having("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
        assert policy is not None
        assert "default-src 'none'" in policy
        assert policy.count("'sha256-") == 2
        assert "script-src 'sha256-" in policy
        assert "unsafe-eval" not in policy

    def test_nothing_is_loaded(self) -> None:
        text = report.html(good_run())
        assert not re.search(r"https?:|//cdn|@import|url\(|\ssrc\s*=", text)

    def test_the_program_is_inlined_once_and_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        text = report.html(good_run(4))
        assert len(Page(text).scripts) == 3
        assert text.count("Parts of Apache ECharts") == 1
        assert len(text) < 1_000_000


class TestContent:
    def test_header_says_how_it_ended_and_why(self) -> None:
        text = page(good_run()).text
        assert "all 24 trials are done" in text
        assert "↑ maximize" in text
        assert "by admin" in text

    def test_the_best_trial_is_the_earliest_of_equals(self) -> None:
        facts = Facts.of(RUNS["equal values"])
        assert [one.trial.number for one in facts.front] == [0]

    def test_a_failed_trial_shows_its_reason_and_its_log(self) -> None:
        text = page(factories.failed_run()).text
        assert "ValueError: Input contains NaN" in text
        assert "loss=0.7121 val_loss=0.6933" in text

    def test_failures_come_first_when_nothing_succeeded(self) -> None:
        sections = [a["id"] for a in page(factories.failed_run()).having("section")]
        assert sections[0] == "failures"
        assert "best" not in sections

    def test_a_refused_run_says_why(self) -> None:
        found = page(factories.refused_run())
        assert "low must be < high" in found.text
        assert not found.scripts

    def test_what_advised_a_run_is_told_and_what_was_dropped(self) -> None:
        made = Trial(3, {"units": 64}, TrialState.COMPLETE, 0.9)
        told = (Told(7, "wine-quality", 0.5, [made]), Told(5, "wine-quality", 0.25, [made, made]))
        advice = Advice(told, ("run 4: not used, <b>it</b> was after something else",))
        text = page(good_run(advice=advice)).text
        assert "Advised by 2 earlier runs, 3 trials." in text
        assert "run 7 of wine-quality1 trial, weight 0.5" in text
        assert "run 4: not used, <b>it</b> was after something else" in text
        nobody = good_run(advice=Advice((), ("no run of wine-quality is complete yet",)))
        assert "No earlier run advised this one." in page(nobody).text
        assert not any(a.get("id") == "earlier" for a in page(good_run()).having("section"))
        assert page(good_run(advice=Advice.read({"runs": [{}]}))).text, "of another version"

    def test_a_spec_that_cannot_be_read_still_has_best_and_scales(self) -> None:
        found = page(unreadable())
        assert "cannot read the spec any more: " in found.text
        assert "Best trial" in found.text
        assert "log scale" in found.text

    def test_what_all_charts_and_the_table_are_made_of_is_there_once(self) -> None:
        made = good_run()
        assert page(made).data("data") == json.loads(text_of(data_of(made)))

    def test_a_thousand_trials_stay_below_half_a_megabyte(self) -> None:
        assert len(report.html(RUNS["a thousand trials"])) < 500_000

    def test_the_same_run_gives_the_same_page(self) -> None:
        assert report.html(good_run()) == report.html(good_run())


class TestFront:
    def test_stands_in_place_of_the_best_trial(self) -> None:
        found = page(RUNS["a front"])
        sections = [a["id"] for a in found.having("section")]
        assert sections[0] == "front"
        assert "best" not in sections
        size = len(RUNS["a front"].front)
        assert f"Pareto front: {size} trials" in found.text
        assert "↑ maximize val_auc · ↓ minimize size_mb" in found.text

    def test_its_table_shows_parameters_and_leads_to_each_trial(self) -> None:
        of = RUNS["a front"]
        found = page(of)
        links = [a["href"] for a in found.having("a") if "-" in (a["href"] or "")]
        assert sorted(links) == sorted(f"#trial-{number}" for number in of.front)
        for number in of.front:
            assert found.having("pre", id=f"command-{number}")

    def test_a_long_front_is_cut_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        of = RUNS["a front that is long"]
        monkeypatch.setattr("hpo_lib.report.front._MAX_ROWS", 7)
        found = page(of)
        assert f"{len(of.front) - 7} more trials in the table below" in found.text
        assert len([a for a in found.having("a") if "-" in (a["href"] or "")]) == 7

    def test_of_many_trials_the_whole_front_is_drawn(self) -> None:
        facts = Facts.of(RUNS["a front that is long"])
        assert facts.leading <= {v.trial.number for v in sample(facts, facts.complete, 500).views}

    @pytest.mark.parametrize("kind", ["an empty front", "nothing feasible"])
    def test_without_a_feasible_trial_the_nearest_is_shown(self, kind: str) -> None:
        found = page(RUNS[kind])
        assert found.having("section")[0]["id"] == "best"
        assert "No trial keeps the constraints" in found.text
        assert "comes nearest: val_loss <= 0.001 is exceeded by" in found.text
        assert "and loss / 0 <= 1 has no finite value." in found.text
        assert not found.data("data")["trials"]["leading"]

    def test_a_trial_says_which_constraint_it_breaks(self) -> None:
        of = RUNS["a front"]
        trials = page(of).data("data")["trials"]
        told, texts = trials["told"]["by_row"], trials["told"]["texts"]
        assert trials["infeasible"]
        for row in trials["infeasible"]:
            said = texts[told[str(row)]]
            assert re.search(r"val_loss - loss <= 0.08 is exceeded by [\d.]+", said)
        assert len(of.feasible) + len(trials["infeasible"]) == len(Facts.of(of).complete)


class TestSample:
    def test_a_sample_holds_the_best_and_has_the_size_asked_for(self) -> None:
        facts = Facts.of(RUNS["a thousand trials"])
        numbers = [one.trial.number for one in sample(facts, facts.complete, 50).views]
        assert len(numbers) == len(set(numbers)) == 50
        assert {one.trial.number for one in facts.ranked[:25]} <= set(numbers)


class TestAxes:
    def test_choices_have_places_and_true_is_not_the_number_1(self) -> None:
        facts = Facts.of(RunView(run()))
        assert Axis.of(facts, "optimizer").place("nadam") == 1
        assert Axis.of(facts, "nesterov").place(True) == 0
        assert Axis.of(facts, "nesterov").place(1) is None
        assert (Axis.of(facts, "decay").scale, Axis.of(facts, "decay").high) == (
            "reverse_log",
            0.9999,
        )

    def test_are_guessed_where_the_spec_is_silent(self) -> None:
        views = tuple(view(trial(n, 1.0, params={"x": n, "y": "ab"[n % 2]})) for n in range(4))
        facts = Facts.of(RunView(run({}, check=False), views))
        assert Axis.of(facts, "x").scale == "linear"
        assert Axis.of(facts, "y").choices == ("a", "b")


class TestOverfitting:
    def test_finds_pairs_and_guesses_which_way_they_improve(self) -> None:
        pairs = overfitting.pairs(Facts.of(good_run()))
        assert [(pair.train, pair.validation) for pair in pairs] == [("loss", "val_loss")]
        assert pairs[0].lower_is_better

    def test_a_score_improves_the_other_way(self) -> None:
        made = trial(0, 0.9, metrics={"train_auc": 0.99, "val_auc": 0.9})
        pairs = overfitting.pairs(Facts.of(RunView(run(), (view(made),))))
        assert [(pair.train, pair.validation) for pair in pairs] == [("train_auc", "val_auc")]
        assert not pairs[0].lower_is_better


class TestTimeline:
    def by_hand(self) -> RunView:
        """Two slots: 10 s and 4 s behind a barrier, 2 s later 8 s alone: 22 of 40 s were busy."""
        limits = {"max_trials": 3, "parallel_trials": 2}
        return RunView(
            run(SPEC | {"limits": limits}),
            (
                view(trial(0, 1.0), attempt(0, 5, 15)),
                view(trial(1, 1.0), attempt(1, 5, 9)),
                view(trial(2, 1.0), attempt(2, 17, 25), slot="wave-02"),
            ),
        )

    def test_idle_share_and_where_it_was_lost(self) -> None:
        found = timeline.idle(timeline.bars(Facts.of(self.by_hand())), 2)
        assert found is not None
        assert found.share == pytest.approx(18 / 40)
        assert found.behind_slowest == pytest.approx(14 / 40)
        assert found.between_waves == pytest.approx(4 / 40)
        assert "Idle 45 %" in page(self.by_hand()).text

    def test_the_time_in_which_a_run_had_ended_is_left_out(self) -> None:
        closed = ((START + timedelta(seconds=16), START + timedelta(hours=5, seconds=16)),)
        made = self.by_hand()
        last = view(trial(2, 1.0), attempt(2, 5 * 3_600 + 17, 5 * 3_600 + 25), slot="wave-02")
        ended = START + timedelta(hours=5, minutes=10)
        extended = RunView(
            replace(made.run, closed=closed, ended_at=ended), (*made.trials[:2], last)
        )
        before, after = Facts.of(made), Facts.of(extended)
        assert timeline.bars(after) == timeline.bars(before)
        assert timeline.idle(timeline.bars(after), 2) == timeline.idle(timeline.bars(before), 2)
        assert after.wall_s == before.wall_s == 600
        text = page(extended).text
        assert "The run was extended: 5h 00m in which it had ended are left out." in text
        assert "Idle 45 %" in text

    def test_attempts_never_overlap_in_a_slot(self) -> None:
        placed = timeline.bars(Facts.of(good_run()))
        assert {bar.lane for bar in placed} == {0, 1, 2, 3}
        for lane in range(4):
            mine = [bar for bar in placed if bar.lane == lane]
            assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(mine))

    def test_what_still_runs_lasts_until_the_last_known_moment(self) -> None:
        views = (view(trial(0), attempt(0, 0, None)), view(trial(1, 1.0), attempt(1, 0, 30)))
        bars = timeline.bars(Facts.of(RunView(run(ended_at=None), views)))
        assert [bar.end_s for bar in bars] == [30, 30]

    def test_no_attempt_has_no_idle_share(self) -> None:
        assert timeline.idle([], 3) is None

    def test_a_repeated_attempt_is_mentioned(self) -> None:
        lost = attempt(0, 0, 5, state=AttemptState.FAILED, cause=Cause.LOST)
        made = view(trial(0, 1.0), lost, attempt(0, 6, 9, number=2))
        assert (
            "1 attempt failed and the trial was tried again" in page(RunView(run(), (made,))).text
        )


#: A configuration that a shell would take apart.
NASTY = {"optimizer": "sgd", "learning_rate": 0.01, "note": 'it\'s a $HOME `x` "y" \\ end'}


#: A fake docker: it records its arguments and, as a trial would, writes below the place that is
#: mounted, if the user may.
FAKE_DOCKER = """
import json, os, sys
words = sys.argv[1:]
json.dump(words, open(os.environ["RECORD"], "w"))
host, _, inside = words[words.index("-v") + 1].rpartition(":")
given = dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "-e")
assert given["HPO_OUTPUT"] == inside, (given["HPO_OUTPUT"], inside)
os.mkdir(os.path.join(host, "model"))
open(os.path.join(host, "model", "model.keras"), "w").close()
"""


class TestCommand:
    def spec(self) -> dict[str, Any]:
        space = SPEC["space"] | {"note": {"type": "categorical", "choices": [NASTY["note"], "b"]}}
        return SPEC | {"space": space}

    def test_is_what_the_runner_would_run(self, tmp_path: Path) -> None:
        made, spec = trial(5, 0.9, params=NASTY), load(self.spec())
        made_run = run(self.spec())
        words, env = shell(command(Facts.of(RunView(made_run)), view(made)) or "", tmp_path)
        asked = Assignment(5, made.params)
        output = env["HPO_OUTPUT"]
        wanted = request(spec, made_run, made, asked, attempt=1, output=output, store="s")
        assert words == list(wanted.command)
        assert {name: wanted.env[name] for name in env} == env

    def test_survives_a_shell(self, tmp_path: Path) -> None:
        made_run = run(self.spec())
        text = command(Facts.of(RunView(made_run)), view(trial(5, 0.9, params=NASTY))) or ""
        words, env = shell(text, tmp_path)
        assert f"--note={NASTY['note']}" in words
        assert json.loads(env["HPO_PARAMS"])["note"] == NASTY["note"]
        assert env["DATA_DIR"] == "/data/red wine"
        assert int(env["HPO_SEED"]) == 7 * 1_000_003 + 5

    def test_there_is_none_for_a_spec_that_cannot_be_read(self) -> None:
        good = unreadable()
        assert command(Facts.of(good), good.trials[0]) is None

    @pytest.mark.parametrize("place", ["here", "a folder", "it's $HOME", "a:b;c"])
    def test_a_local_trial_finds_its_folder_wherever_it_goes(
        self, tmp_path: Path, place: str
    ) -> None:
        spec = self.spec()
        spec["trial"] = {"command": ["python", "train.py", "--to=${output}/model", "${output}"]}
        home = tmp_path / place
        home.mkdir()
        facts, best = Facts.of(RunView(run(spec))), view(trial(5, 0.9, params=NASTY))
        words, env = shell(command(facts, best) or "", home)
        wanted = home / folder(facts, best)
        assert env["HPO_OUTPUT"] == str(wanted)
        assert words[2:4] == [f"--to={wanted}/model", str(wanted)]
        assert wanted.is_dir(), "the backend makes it, too"
        assert str(wanted.name) in note(facts, best)

    def test_a_local_line_runs_the_programs_that_its_trial_ran(self, tmp_path: Path) -> None:
        """A real shell looks for them; a spec that names its Python needs no such help."""
        programs = tmp_path / "it's a folder"
        programs.mkdir()
        (programs / "train").write_text('#!/bin/sh\necho "mine: $*" > "$HPO_OUTPUT/said"\n')
        (programs / "train").chmod(0o755)
        spec = self.spec() | {"trial": {"command": ["train"], "args": ["--a"]}}
        one = attempt(5, 0, 9)
        tried = replace(one, handle={**one.handle, "path": str(programs)})
        facts, best = Facts.of(RunView(run(spec))), view(trial(5, 0.9, params=NASTY), tried)
        line = ["sh", "-c", command(facts, best) or ""]
        subprocess.run(line, check=True, cwd=tmp_path, env={"PATH": os.defpath})
        assert (tmp_path / folder(facts, best) / "said").read_text().startswith("mine: --a")
        assert "on PATH" not in note(facts, best)
        named = self.spec() | {"trial": {"command": ["python", "t.py"], "python": "/own/python"}}
        text = command(Facts.of(RunView(run(named))), best) or ""
        assert "PATH=" not in text
        assert "/own/python t.py" in text

    @pytest.mark.parametrize(
        ("asked", "entry", "last"),
        [
            ({"backend": "docker", "image": "i:1"}, None, "i:1"),
            (
                {"backend": "docker", "image": "i:1", "command": ["python", "t.py", "a b"]},
                "python",
                "i:1 t.py a b",
            ),
            (
                {"backend": "kubernetes", "image": "i:1", "args": ["--to=${output}", "$HOME"]},
                None,
                "i:1 --to=/hpo/output $HOME",
            ),
            (
                {"backend": "ecs", "image": "i@sha256:" + "0" * 64, "args": ["it's"]},
                None,
                "i@sha256:" + "0" * 64 + " it's",
            ),
            (
                {
                    "backend": "job",
                    "options": {
                        "resource": {
                            "apiVersion": "batch/v1",
                            "kind": "Job",
                            "spec": {
                                "template": {
                                    "spec": {
                                        "containers": [
                                            {
                                                "name": "main",
                                                "image": "i:2",
                                                "command": ["sh", "-c"],
                                                "args": ["train ${params.optimizer}", 1],
                                                "env": [{"name": "A", "value": "b c"}],
                                            }
                                        ]
                                    }
                                }
                            },
                        }
                    },
                },
                "sh",
                "i:2 -c train sgd 1",
            ),
        ],
    )
    @pytest.mark.parametrize("place", ["here", "a folder", "it's $HOME"])
    def test_an_image_leaves_its_model_in_a_folder_of_the_user(
        self, tmp_path: Path, asked: dict[str, Any], entry: str | None, last: str, place: str
    ) -> None:
        """The line goes through a real shell, to a fake docker."""
        home = tmp_path / place
        home.mkdir()
        spec = self.spec() | {"trial": asked | {"resources": {"gpu": 2}}}
        facts, best = Facts.of(RunView(run(spec))), view(trial(5, 0.9, params=NASTY))
        words = docker(command(facts, best) or "", home)
        assert (home / folder(facts, best) / "model" / "model.keras").exists()
        assert folder(facts, best) in note(facts, best)
        assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
        assert words[words.index("--gpus") + 1] == "2"
        given = [words[at + 1] for at, word in enumerate(words) if word == "-e"]
        assert {"HPO_OUTPUT=/hpo/output", "HOME=/tmp", "HPO_SEED=7000026"} <= set(given)
        read = next(one for one in given if one.startswith("HPO_PARAMS=")).partition("=")[2]
        assert json.loads(read)["note"] == NASTY["note"]
        assert ("--entrypoint" in words) == (entry is not None)
        assert entry in (None, *words)
        rest = words[words.index(last.split()[0]) :]
        assert " ".join(rest).startswith(last)

    def test_no_gpu_is_asked_for_where_a_trial_has_none(self, tmp_path: Path) -> None:
        spec = self.spec() | {"trial": {"backend": "docker", "image": "i:1"}}
        text = command(Facts.of(RunView(run(spec))), view(trial(5, 0.9, params=NASTY))) or ""
        assert "--gpus" not in docker(text, tmp_path)

    @pytest.mark.parametrize(
        "asked",
        [
            {"backend": "ecs", "options": {"task_definition": "mine:3"}},
            {"backend": "ecs", "command": ["train"], "options": {"task_definition": "mine:3"}},
            {
                "backend": "job",
                "options": {
                    "resource": {
                        "apiVersion": "kubeflow.org/v1",
                        "kind": "TFJob",
                        "spec": {
                            name: {"template": {"spec": {"containers": [{"name": "tensorflow"}]}}}
                            for name in ("Chief", "Worker")
                        },
                    }
                },
            },
        ],
    )
    def test_where_the_spec_does_not_say_what_ran_another_way_is_told(
        self, asked: dict[str, Any]
    ) -> None:
        spec = self.spec() | {"trial": asked}
        good = RunView(run(spec), (view(trial(5, 0.9, params=NASTY)),))
        assert command(Facts.of(good), good.trials[0]) is None
        assert WITHOUT in page(good).text


def docker(text: str, home: Path) -> list[str]:
    """Let a real shell give the line to a fake docker, and give its arguments."""
    programs = home.parent / "bin"
    programs.mkdir()
    (programs / "docker").write_text(f"#!{sys.executable}\n{FAKE_DOCKER}")
    (programs / "docker").chmod(0o755)
    env = {"PATH": f"{programs}:{os.defpath}", "RECORD": str(home.parent / "record.json")}
    subprocess.run(["sh", "-c", text], check=True, cwd=home, env=env)
    return json.loads((home.parent / "record.json").read_text())


def shell(text: str, home: Path) -> tuple[list[str], dict[str, str]]:
    """Let a real shell read the command; its first word is replaced by one that tells."""
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    program = f"python() {{ {sys.executable} -c '{code}' python \"$@\"; }}\n{text}"
    assert shutil.which("sh")
    done = subprocess.run(
        ["sh", "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=home,
        env={"PATH": os.defpath},
    )
    words, env = json.loads(done.stdout)
    return words, {k: v for k, v in env.items() if k.startswith(("HPO_", "DATA_"))}


class TestCsv:
    def test_reads_back(self) -> None:
        run_ = good_run()
        for row, one in zip(rows(run_), run_.trials, strict=True):
            assert row["state"] == one.trial.state
            assert row["slot"] == one.slot
            assert row["attempts"] == str(len(one.attempts))
            if one.trial.state is TrialState.COMPLETE:
                assert float(row["value"]) == one.trial.value
                assert row["value"] == row["metrics.val_auc"]
            assert float(row["params.learning_rate"]) == one.trial.params["learning_rate"]
            assert ("params.momentum", row["params.momentum"] == "") == (
                "params.momentum",
                "momentum" not in one.trial.params,
            )

    def test_standing_is_told_of_complete_trials(self) -> None:
        of = RUNS["a front"]
        found = rows(of)
        assert [int(row["number"]) for row in found if row["on_front"] == "true"] == of.front
        assert [int(row["number"]) for row in found if row["feasible"] == "true"] == of.feasible
        for row in found:
            assert (row["feasible"] == "") == (row["on_front"] == "") == (row["value"] == "")
            assert row["metrics.size_mb"]

    def test_every_objective_has_a_column_whatever_was_found(self) -> None:
        assert rows(RUNS["a second objective that is missing"])[0]["metrics.size_mb"] == ""
        assert not {"feasible", "on_front"} & set(rows(good_run())[0])

    def test_fixed_parameters_are_left_out(self) -> None:
        assert "params.epochs" not in rows(good_run())[0]

    @pytest.mark.parametrize(
        ("text", "cell"),
        [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ('a,b\n"c"', 'a,b\n"c"'),
            ("plain", "plain"),
        ],
    )
    def test_text_is_no_formula(self, text: str, cell: str) -> None:
        made = trial(0, cause=Cause.USER_ERROR, params={"x": text}, reason=text)
        row = rows(RunView(run(), (view(made),)))[0]
        assert row["params.x"] == row["reason"] == cell

    def test_numbers_stay_numbers(self) -> None:
        made = trial(0, -1.5, params={"x": -3, "y": True}, metrics={"m": math.nan})
        row = rows(RunView(run(), (view(made),)))[0]
        assert (row["value"], row["params.x"], row["params.y"]) == ("-1.5", "-3", "true")
        assert math.isnan(float(row["metrics.m"]))


class TestWords:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "–"),
            (True, "true"),
            (1.0, "1"),
            (0.123456789, "0.12346"),
            (1e-5, "1e-5"),
            (1.5e20, "1.5e20"),
            (-math.inf, "−∞"),
            (123456, "123456"),
        ],
    )
    def test_number(self, value: object, text: str) -> None:
        assert words.number(value) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "–"),
            (0.42, "0.4s"),
            (9.99, "10s"),
            (59.7, "1m 00s"),
            (200, "3m 20s"),
            (7500, "2h 05m"),
            (100_000, "1d 03h"),
        ],
    )
    def test_duration(self, seconds: float | None, text: str) -> None:
        assert words.duration(seconds) == text


def test_final_training_is_shown_with_its_verdict_once_and_nothing_of_it_is_markup() -> None:
    made = good_run(4)
    params = dict(made.trials[0].trial.params)
    finals = [
        view(trial(90, params=params, origin=Origin.FINAL, repeat=1, value=0.9)),
        view(trial(91, params=params, origin=Origin.FINAL, repeat=2, value=0.8)),
    ]
    now = factories.START
    verdict = Verdict(True, "Promoted: <b>better</b>.")
    model = Model("wine-quality", 3, 12, 1, params, ModelStatus.CHAMPION, "", now, now, trial=91)
    reason = "Promoted: <b>better</b>. Approved by <ada>."
    model = replace(model, verdict=verdict, reason=reason)
    shown = report.html(replace(made, finals=finals, model=model))
    assert "Final training: model version 3" in shown
    assert shown.count("Promoted: &lt;b&gt;better&lt;/b&gt;.") == 1
    assert "Approved by &lt;ada&gt;." in shown
    assert "◆ 91" in shown
    assert "◆ 90" not in shown


def test_what_a_run_has_seen_of_the_champion_is_shown() -> None:
    made = good_run(4)
    mine = made.run.id
    noted = [check_of(mine - 1, search=True), check_of(mine), check_of(mine + 1)]
    found = page(replace(made, champion=champion_with(*noted)))
    assert "The champion: version 3" in found.text
    assert (
        "has auc 0.8 ± 0.02 by 3 seeds; when it was made it had 0.9 ± 0.01: worse by 0.1 ±"
        in found.text
    )
    assert "10 rows, as many as then" in found.text
    assert "It was trained otherwise when it was made: auc was auc, is 2." in found.text
    drawn = found.data("data")["champion"]
    assert drawn["then"] == 0.9
    told = [(one["mean"], one["final"]) for one in drawn["checks"]]
    assert told == [(0.8, False), (0.8, True)], "what came later is not of this run"


def test_a_run_that_has_seen_no_champion_says_nothing_of_one() -> None:
    made = good_run(4)
    for champion in (None, champion_with(), champion_with(check_of(made.run.id + 1))):
        assert 'id="drift"' not in report.html(replace(made, champion=champion))


def test_a_champion_that_left_no_value_is_not_drawn() -> None:
    made = good_run(4)
    shown = report.html(replace(made, champion=champion_with(check_of(made.run.id, now=None))))
    assert "has left no auc" in shown
    assert "chart-champion" not in shown


def test_a_run_that_somebody_has_stopped_is_not_called_complete() -> None:
    made = good_run(4)
    stopped = replace(made, run=replace(made.run, reason="stopped by <ada>"))
    assert "wine-quality · run 12 · stopped by &lt;ada&gt;</title>" in report.html(stopped)
    assert report.html(stopped).count("stopped by &lt;ada&gt;</span>") == 1
    assert "wine-quality · run 12 · complete</title>" in report.html(made)
