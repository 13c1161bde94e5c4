"""The samplers built on other people's libraries keep the contract, and what is particular."""

from __future__ import annotations

import itertools
import logging
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from sampler_contract import GRID, MIXED, Recipe, SamplerContract, complete, extend, failed

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Direction, History, Origin, Params, Trial
from hpo_lib.errors import SpecError
from hpo_lib.search import suggesting

MINIMIZE = Goal.of(Direction.MINIMIZE)
WITHOUT_TORCH = find_spec("torch") is None
#: skopt's model weighs 10,000 points for each suggestion, unless told otherwise.
FEW_POINTS = {"acq_optimizer_kwargs": {"n_points": 500}}


class TestSkopt(SamplerContract):
    name = "skopt"

    @pytest.fixture
    def recipe(self) -> Recipe:
        quick = {"n_initial_points": 4, "acq_func": "EI", **FEW_POINTS}
        return Recipe("skopt", quick, single=True)

    def test_no_configuration_comes_twice_until_all_were_tried(self, recipe: Recipe) -> None:
        """Ask the model for the last 8 of 80 only: each takes it half a second."""
        later = replace(recipe, settings={**recipe.settings, "n_initial_points": 72})
        super().test_no_configuration_comes_twice_until_all_were_tried(later)


class TestTpe(SamplerContract):
    name = "tpe"

    @pytest.fixture(params=[{}, {"group": True}], ids=["apart", "group"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return Recipe("tpe", {"n_startup_trials": 4, **request.param})


@pytest.mark.skipif(WITHOUT_TORCH, reason="gp needs torch: pip install torch")
class TestGp(SamplerContract):
    name = "gp"

    @pytest.fixture
    def recipe(self) -> Recipe:
        return Recipe("gp", {"n_startup_trials": 4})


class TestCmaes(SamplerContract):
    name = "cmaes"

    @pytest.fixture
    def recipe(self) -> Recipe:
        return Recipe("cmaes", {"popsize": 4}, single=True)


class TestNsga2(SamplerContract):
    name = "nsga2"

    @pytest.fixture
    def recipe(self) -> Recipe:
        return Recipe("nsga2", {"population_size": 4})


class TestQmc(SamplerContract):
    name = "qmc"

    @pytest.fixture(params=["sobol", "halton"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return Recipe("qmc", {"qmc_type": request.param})


class TestOptuna(SamplerContract):
    name = "optuna"

    @pytest.fixture(params=["BruteForceSampler", "optuna.samplers.NSGAIIISampler"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return Recipe("optuna", {"cls": request.param}, finite="Brute" in request.param)


class TestHyperopt(SamplerContract):
    name = "hyperopt"

    @pytest.fixture(params=[{"n_startup_jobs": 4}, {"algorithm": "anneal"}], ids=["tpe", "anneal"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return Recipe("hyperopt", request.param, single=True)


#: Every sampler of this file that learns, with the fewest trials before it does.
LEARNERS = [
    ("cmaes", {}),
    ("hyperopt", {"n_startup_jobs": 8}),
    ("hyperopt", {"algorithm": "anneal"}),
    ("nsga2", {"population_size": 8, "mutation_prob": 0.1, "crossover": "BLXAlphaCrossover"}),
    ("skopt", {"n_initial_points": 8, "acq_func": "EI", **FEW_POINTS}),
    ("skopt", {"base_estimator": "RF", "n_initial_points": 8, **FEW_POINTS}),
    ("skopt", {"base_estimator": "ET", "n_initial_points": 8, **FEW_POINTS}),
    ("tpe", {"n_startup_trials": 8}),
    pytest.param(
        *("gp", {"n_startup_trials": 8}),
        marks=pytest.mark.skipif(WITHOUT_TORCH, reason="gp needs torch: pip install torch"),
    ),
]
BOWL = Space.parse(
    {
        "x": {"type": "float", "low": -5.0, "high": 5.0},
        "rate": {"type": "float", "low": 1e-6, "high": 1.0, "scale": "log"},
        "momentum": {"type": "float", "low": 0.0, "high": 0.999, "scale": "reverse_log"},
        "depth": {"type": "int", "low": 1, "high": 64, "scale": "log"},
        "kind": {"type": "categorical", "choices": ["a", "b", True, 0]},
    }
)


def bowl(params: Params) -> float:
    """Be least, 0, at x = 2, rate = 1e-3, momentum = 0.9, depth = 8 and kind = "b"."""
    rate, momentum, depth = (float(params[name]) for name in ("rate", "momentum", "depth"))
    return (
        (float(params["x"]) - 2) ** 2
        + (math.log10(rate) + 3) ** 2
        + (math.log10(1 - momentum) + 1) ** 2
        + math.log2(depth / 8) ** 2
        + 4 * (params["kind"] != "b")
    )


def build(name: str, space: Space, seed: int = 0, goal: Goal = MINIMIZE, **settings: Any) -> Any:
    return suggesting.make_sampler(name, space, goal, seed=seed, settings=settings)


def tuned(
    sampler: Any,
    loss: Callable[[Params], float],
    *,
    trials: int = 48,
    wave: int = 4,
    start: History | None = None,
) -> History:
    """Complete waves of trials, each suggested by what only the history can tell."""
    search, history = suggesting.Search(sampler.space, sampler, sampler.seed), start or History()
    while len(history.trials) < trials:
        count = min(wave, trials - len(history.trials))
        first = len(history.trials) + 1
        made = [
            replace(complete(number, made.params, loss(made.params)), origin=made.origin)
            for number, made in enumerate(suggesting.suggest(search, history, count), first)
        ]
        history = History((*history.trials, *made))
    return history


def late(history: History) -> float:
    """Give the median loss of the last dozen trials."""
    return statistics.median(float(trial.value or 0.0) for trial in history.trials[-12:])


@pytest.mark.parametrize(("name", "settings"), LEARNERS)
def test_they_learn_on_every_scale(name: str, settings: Mapping[str, Any]) -> None:
    drawn = statistics.median(late(tuned(build("random", BOWL, seed), bowl)) for seed in range(9))
    seeds = range(1 if name in ("gp", "skopt") else 5)  # those are slow, and far below
    reached = [late(tuned(build(name, BOWL, seed, **settings), bowl)) for seed in seeds]
    assert statistics.median(reached) < 0.7 * drawn


@pytest.mark.parametrize(("name", "settings"), LEARNERS)
def test_failed_and_infeasible_trials_drive_them_away(
    name: str, settings: Mapping[str, Any]
) -> None:
    space = Space.parse({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    goal = Goal.of(Direction.MINIMIZE, constraints=[Constraint.parse("x <= 0.7")])
    points = [i * 7 % 24 / 23 for i in range(24)]
    trials = [
        replace(
            failed(n, {"x": x}) if x < 0.3 else complete(n, {"x": x}, 1 - x),
            metrics={"x": x},
        )
        for n, x in enumerate(points, 1)
    ]
    suggestions = build(name, space, goal=goal, **settings).suggest(History(tuple(trials)), 6)
    inside = [0.25 < float(suggestion.params["x"]) < 0.85 for suggestion in suggestions]
    assert sum(inside) >= 5


@pytest.mark.parametrize(("name", "settings"), LEARNERS)
def test_nothing_is_printed_logged_or_warned(
    name: str, settings: Mapping[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    import optuna

    levels = logging.getLogger().level, optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = extend(History(), build("sobol", GRID).suggest(History(), 20))
        build(name, GRID, **settings).suggest(history, 3)
    assert capfd.readouterr() == ("", "")
    assert (logging.getLogger().level, optuna.logging.get_verbosity()) == levels


@pytest.mark.parametrize("name", ["tpe", "nsga2", "qmc", "cmaes", "hyperopt", "skopt"])
def test_several_hundred_trials_are_still_quick(name: str) -> None:
    history = extend(History(), build("random", MIXED).suggest(History(), 500))
    sampler = build(name, MIXED)
    started = time.process_time()
    assert len(sampler.suggest(history, 2)) == 2
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("name", "blind"),
    [("tpe", 10), ("nsga2", 50), ("qmc", None), ("cmaes", 8), ("hyperopt", 20), ("skopt", 10)],
)
def test_they_say_how_many_trials_depend_on_no_result(name: str, blind: int | None) -> None:
    assert build(name, MIXED).blind == blind


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("tpe", {"n_ei_candidate": 3}, 'sampler: unknown key "n_ei_candidate", did you mean '
         "'n_ei_candidates'?; known to tpe: name, seed, consider_prior, "),
        # Callables are no plain data.
        ("tpe", {"gamma": "os.system"}, 'sampler: unknown key "gamma"'),
        ("tpe", {"n_ei_candidates": 0}, "sampler.n_ei_candidates: must be greater than or equal"),
        ("tpe", {"n_ei_candidates": 10**9}, "sampler.n_ei_candidates: must be less than or equal"),
        ("tpe", {"n_startup_trials": "5"}, 'sampler.n_startup_trials: must be a whole number, got'),
        ("tpe", {"group": True, "multivariate": False}, "sampler: ``group`` option can only be"),
        ("nsga2", {"population_size": 1}, "sampler: `population_size` must be greater than or"),
        ("nsga2", {"mutation_prob": 1.5}, "sampler: `mutation_prob` must be None or a float value"),
        ("nsga2", {"crossover": "BaseCrossover"}, "sampler.crossover: must be 'BLXAlphaCrossover'"),
        ("qmc", {"qmc_type": "dice"}, "sampler: The `qmc_type='dice'` is invalid. Choose either"),
        ("skopt", {"base_estimator": "GBRT"}, "sampler.base_estimator: GBRT does not work with "
         "the scikit-learn of today; use GP, RF or ET"),
        ("skopt", {"acq_func_kwargs": {"xy": 1.0}}, "sampler.acq_func_kwargs"),
        ("cmaes", {"popsize": 2}, "sampler.popsize: must be greater than or equal to 4"),
        ("cmaes", {"x0": {"lr": 5.0}}, "sampler.x0: lr: must be within [1e-05, 0.1], got 5.0"),
        ("cmaes", {"lr_adapt": True}, "sampler.lr_adapt: takes numbers only, got optimizer"),
        ("cmaes", {"lr_adapt": True, "use_separable_cma": True},
         "sampler: use_separable_cma and lr_adapt exclude each other"),
        ("hyperopt", {"gamma": 2.0}, "sampler.gamma: must be less than or equal to 1"),
        ("hyperopt", {"algorithm": "anneal", "gamma": 0.1},
         "sampler: gamma is a setting of algorithm tpe"),
        ("qmc", {"qmc_type": "BaseCrossover"}, "sampler: The `qmc_type='BaseCrossover'` is inval"),
        ("qmc", {"qmc_type": "__dir__"}, "sampler: The `qmc_type='__dir__'` is invalid."),
        ("skopt", {"base_estimator": "RF", "acq_optimizer": "lbfgs"},
         "sampler: acq_optimizer: lbfgs is for GP, got RF"),
        ("optuna", {"cls": "TPESampler", "replay": True},
         "sampler.replay: TPESampler keeps no state to be replayed"),
        ("optuna", {"cls": "optuna_integration.BoTorchSampler"},
         "sampler optuna needs optuna_integration: pip install optuna-integration"),
        ("optuna", {}, "sampler.cls: is required"),
        ("optuna", {"cls": "BruteForcesSampler"}, 'sampler.cls: no sampler "BruteForcesSampler", '
         "did you mean 'BruteForceSampler'?; known: BruteForceSampler, CmaEsSampler, GPSampler, "),
        ("optuna", {"cls": "BruteForceSampler"}, "sampler BruteForceSampler: "),
        ("optuna", {"cls": "GridSampler"}, 'sampler.cls: use sampler grid, got "GridSampler"'),
        ("optuna", {"cls": "PartialFixedSampler"},
         "sampler: PartialFixedSampler needs fixed_params, which a spec cannot hold"),
        ("optuna", {"cls": "TPESampler", "settings": {"n": 1}},
         'sampler.settings: unknown key "n"'),
        ("optuna", {"cls": "CmaEsSampler", "settings": {"with_margin": True}},
         "sampler.settings.with_margin: use sampler cmaes, which keeps a margin"),
    ],
)  # fmt: skip
def test_what_a_sampler_does_not_take_is_refused(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        build(name, MIXED, **settings)
    assert str(caught.value).startswith(message)


def test_a_condition_does_not_hide_what_a_sampler_cannot_search() -> None:
    space = Space.parse(
        {
            "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
            "momentum": {"type": "float", "low": 0, "high": 1, "when": {"optimizer": ["sgd"]}},
        }
    )
    for seed in range(5):
        with pytest.raises(SpecError, match="sampler BruteForceSampler: "):
            build("optuna", space, seed, cls="BruteForceSampler")


@pytest.mark.skipif(not WITHOUT_TORCH, reason="torch is here")
def test_what_a_sampler_lacks_only_once_it_learns_is_found_before() -> None:
    with pytest.raises(SpecError, match=r"sampler GPSampler: .*torch"):
        build("optuna", MIXED, cls="GPSampler")


@pytest.mark.parametrize(
    "cls",
    [
        "os.system",
        "antigravity.TPESampler",
        "optuna.storages.RDBStorage",
        "optuna.samplers.nsgaii.UniformCrossover",
        "optuna.samplers._base.BaseSampler",
        "optuna.samplers.BaseSampler",
        "optuna.samplers.BaseSampler.__subclasses__",
        "optuna.samplers.TPESampler.suggest",
        "optuna.samplers.",
        "optuna.samplers..TPESampler",
        "optuna.samplersx.TPESampler",
        "optuna_integrationx.Sampler",
        "hpo_lib.samplers.random.RandomSampler",
        "__builtins__",
        "",
    ],
)
def test_only_a_sampler_of_optuna_can_be_named(cls: str) -> None:
    with pytest.raises(SpecError, match=r"^sampler\.cls: "):
        build("optuna", GRID, cls=cls)
    assert "antigravity" not in sys.modules


def test_a_whole_space_is_gone_through_by_brute_force() -> None:
    found = build("optuna", GRID, cls="BruteForceSampler").suggest(History(), 80)
    assert len({key(suggestion.params) for suggestion in found}) == 80


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("tpe", "optuna", "optuna"),
        ("optuna", "optuna", "optuna"),
        ("gp", "torch", "gp"),
        ("cmaes", "cmaes", "optuna"),
        ("hyperopt", "hyperopt", "hyperopt"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    settings = {"cls": "TPESampler"} if name == "optuna" else {}
    with pytest.raises(SpecError) as caught:
        build(name, GRID, **settings)
    how = f"pip install '.[{extra}]' in a checkout of hpo-lib"
    assert str(caught.value) == f"sampler {name} needs {package}: {how}"


@pytest.mark.parametrize("qmc_type", ["sobol", "halton"])
def test_a_sequence_goes_on_whatever_the_waves(qmc_type: str) -> None:
    whole = build("qmc", MIXED, qmc_type=qmc_type).suggest(History(), 9)
    history = extend(History(), whole[:5])
    assert build("qmc", MIXED, qmc_type=qmc_type).suggest(history, 4) == whole[5:]
    assert build("qmc", MIXED, seed=1, qmc_type=qmc_type).suggest(History(), 9) != whole


@pytest.mark.parametrize("crossover", ["UniformCrossover", "SBXCrossover", "BLXAlphaCrossover"])
def test_operators_of_the_genetic_algorithm_go_by_name(crossover: str) -> None:
    settings = {"population_size": 4, "crossover": crossover, "mutation": "PolynomialMutation"}
    history = extend(History(), build("random", MIXED).suggest(History(), 12))
    assert len(build("nsga2", MIXED, **settings).suggest(history, 3)) == 3


@pytest.mark.parametrize(
    ("name", "settings"),
    [("tpe", {}), ("nsga2", {"population_size": 16, "crossover": "BLXAlphaCrossover"})],
)
def test_several_objectives_are_weighed(name: str, settings: Mapping[str, Any]) -> None:
    """The front of (x, 1 - x + y) is y = 0: both bad in y is worse in nothing else."""
    space = Space.parse({n: {"type": "float", "low": 0.0, "high": 1.0} for n in ("x", "y")})
    goal = Goal.of(Direction.MINIMIZE, Direction.MAXIMIZE)
    sampler = build(name, space, goal=goal, **settings)
    search, history = suggesting.Search(space, sampler, 0), History()
    for _ in range(25):
        made = [
            replace(
                complete(number, s.params, float(s.params["x"])),
                metrics={"objective_2": float(s.params["x"]) - float(s.params["y"])},
            )
            for number, s in enumerate(
                suggesting.suggest(search, history, 8), len(history.trials) + 1
            )
        ]
        history = History((*history.trials, *made))
    last = history.trials[-40:]
    assert statistics.median(float(trial.params["y"]) for trial in last) < 0.2
    spread = statistics.pstdev(float(trial.params["x"]) for trial in last)
    assert spread > 0.15


class TestCovariance:
    """CMA-ES from the history alone is as good as one that lives on."""

    SPACE = Space.parse({f"x{i}": {"type": "float", "low": -5.0, "high": 5.0} for i in range(5)})
    CENTRE = (-2.0, 1.2, -0.5, 2.0, 0.5)

    def sphere(self, params: Params) -> float:
        points = zip(map(float, params.values()), self.CENTRE, strict=True)
        return math.fsum((x - centre) ** 2 for x, centre in points)

    def rosenbrock(self, params: Params) -> float:
        x = [0.4 * float(value) for value in params.values()]
        return math.fsum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x))

    def live(self, loss: Callable[[Params], float], seed: int, wave: int) -> float:
        """Run Optuna's sampler as Optuna does, on a study that is never rebuilt."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=optuna.samplers.CmaEsSampler(seed=seed))
        ranges = {
            name: optuna.distributions.FloatDistribution(-5, 5) for name in self.SPACE.parameters
        }
        while len(study.trials) < 120:
            for trial in [study.ask(ranges) for _ in range(wave)]:
                study.tell(trial, loss({name: trial.params[name] for name in ranges}))
        return statistics.mean(trial.value or 0.0 for trial in study.trials[100:120])

    @pytest.mark.parametrize(
        ("function", "wave"), [("sphere", 1), ("rosenbrock", 5), ("sphere", 15)]
    )
    def test_rebuilt_it_is_as_good_as_alive(self, function: str, wave: int) -> None:
        loss = getattr(self, function)
        rebuilt = [
            statistics.mean(
                trial.value or 0.0
                for trial in tuned(
                    build("cmaes", self.SPACE, seed), loss, trials=120, wave=wave
                ).trials[100:]
            )
            for seed in range(5)
        ]
        alive = [self.live(loss, seed, wave) for seed in range(5)]
        # With one seed and another either is up to twice as good: 0.7 to 1.6 of each other here.
        assert statistics.median(rebuilt) < 2 * statistics.median(alive)

    def test_it_closes_in(self) -> None:
        """Rebuilt from parameters alone, without its state, it would stay near 1."""
        space = Space.parse(
            {name: {"type": "float", "low": -5.0, "high": 5.0} for name in ("x", "y")}
        )
        history = tuned(
            build("cmaes", space),
            lambda params: (float(params["x"]) - 1) ** 2 + (float(params["y"]) + 2) ** 2,
            trials=120,
        )
        assert statistics.mean(trial.value or 0.0 for trial in history.trials[100:]) < 0.1

    @pytest.mark.parametrize("settings", [{"use_separable_cma": True}, {"lr_adapt": True}])
    def test_its_variants_close_in(self, settings: dict[str, Any]) -> None:
        history = tuned(build("cmaes", self.SPACE, **settings), self.sphere, trials=120)
        assert late(history) < late(History(history.trials[:12])) / 2

    def test_the_points_of_a_run_are_found_again(self) -> None:
        sampler = build("cmaes", BOWL)
        history = tuned(sampler, bowl, trials=40, wave=5)
        states = sampler._states(history)
        assert len(states) == 6
        # Recomputed with all that is known since, each state is what it was.
        for told, state in enumerate(states):
            before = sampler._states(History(history.trials[: 8 * told]))[-1]
            assert before._mean.tolist() == state._mean.tolist()

    def test_an_initial_point_is_where_it_starts_if_the_spec_says_so(self) -> None:
        best = {"x": 2.0, "rate": 1e-3, "momentum": 0.9, "depth": 8, "kind": "b"}
        near = build("cmaes", BOWL, x0=best, sigma0=0.01).suggest(History(), 8)
        assert all(abs(float(suggestion.params["x"]) - 2) < 0.5 for suggestion in near)

    def test_points_from_elsewhere_do_not_upset_it(self) -> None:
        sampler = build("cmaes", self.SPACE)
        history = tuned(sampler, self.sphere, trials=96)
        far = dict.fromkeys(self.SPACE.parameters, 5.0)
        foreign = [replace(complete(n, far, 0.0), origin=Origin.INITIAL) for n in range(97, 105)]
        upset = sampler.suggest(History((*history.trials, *foreign)), 20)
        assert statistics.median(self.sphere(suggestion.params) for suggestion in upset) < 10

    def test_trials_under_way_are_left_out(self) -> None:
        sampler = build("cmaes", self.SPACE)
        history = tuned(sampler, self.sphere, trials=8)
        waiting = History((*history.trials, Trial(9, dict.fromkeys(self.SPACE.parameters, 0.0))))
        assert len(sampler._states(waiting)) == len(sampler._states(history)) == 2
