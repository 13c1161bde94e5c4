"""Normal, log-normal and stepped ranges: ends, shares, and what is refused."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from factories import SPEC

from hpo_lib.core.distributions import Normal
from hpo_lib.core.space import Space
from hpo_lib.errors import SpecError
from hpo_lib.samplers import random_params
from hpo_lib.spec import load

NORMAL = {"type": "float", "distribution": "normal"}


def made(**said: Any) -> Any:
    return Space.parse({"x": {"type": "float", **said}}).parameters["x"]


@pytest.mark.parametrize(
    ("low", "high", "mu", "sigma"),
    [(-5, 5, 0, 1), (-1, 2, 0, 1), (1, 9, 4, 2), (3.5, 5, 0, 1), (-5, -4.5, 0, 1), (0, 1, 9, 2)],
)
def test_a_normal_distribution_is_cut_at_its_ends(
    low: float, high: float, mu: float, sigma: float
) -> None:
    from scipy.stats import truncnorm

    ours = Normal(low, high, mu, sigma)
    theirs = truncnorm((low - mu) / sigma, (high - mu) / sigma, mu, sigma)
    for share in (0.0, 1e-6, 0.1, 0.5, 0.9, 1.0):
        place = ours.place(share)
        assert place == pytest.approx(theirs.ppf(share), abs=1e-7 * sigma)
        assert ours.share(place) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ({"distribution": "normal", "mu": 0.0, "sigma": 1.0}, -5.0, 5.0),
        ({"distribution": "normal", "mu": 0.0, "sigma": 1.0, "low": -1.0}, -1.0, 5.0),
        ({"distribution": "normal", "mu": 0.0, "sigma": 1.0, "low": -9, "high": 2}, -5.0, 2.0),
        ({"distribution": "normal", "mu": 0.1, "sigma": 1.0, "step": 0.5}, -4.5, 5.1),
        ({"distribution": "normal", "mu": 0, "sigma": 1, "step": 2.0, "low": -9}, -5.0, 5.0),
        ({"distribution": "lognormal", "mu": 0.0, "sigma": 1.0}, math.exp(-5), math.exp(5)),
        ({"distribution": "lognormal", "mu": 0.0, "sigma": 1.0, "step": 0.5}, 0.5, math.exp(5)),
        ({"distribution": "normal", "mu": 64, "sigma": 10, "type": "int"}, 14, 114),
        ({"distribution": "normal", "mu": 64, "sigma": 10, "type": "int", "low": 1}, 14, 114),
        ({"distribution": "normal", "mu": 64, "sigma": 10, "type": "int", "step": 8}, 16, 114),
        ({"distribution": "lognormal", "mu": 2, "sigma": 1, "type": "int"}, 1, 1096),
        ({"distribution": "normal", "sigma": 1.0, "low": 0, "high": 100}, 45.0, 55.0),
        ({"distribution": "normal", "mu": 7.0, "low": 0.0, "high": 6.0}, 2.0, 6.0),
        ({"distribution": "logNormal", "low": 1.0, "high": 9.0}, 1.0, 9.0),
    ],
)
def test_a_normal_range_reaches_five_deviations_from_its_mean(
    said: dict[str, Any], low: float, high: float
) -> None:
    parameter = made(**said)
    assert (parameter.low, parameter.high) == (pytest.approx(low), pytest.approx(high))
    assert parameter.type == said.get("type", "float")
    again = parameter.model_dump(exclude_none=True)
    assert made(**again) == parameter, "its canonical form says the same"


def test_a_range_alone_has_the_mean_and_deviation_that_katib_gives_it() -> None:
    parameter = made(distribution="normal", low=0.0, high=6.0)
    assert parameter.from_unit(0.5) == 3.0
    assert parameter.from_unit(0.84) == pytest.approx(4.0, abs=0.02)
    parameter = made(distribution="lognormal", low=1e-4, high=1.0)
    assert parameter.from_unit(0.5) == pytest.approx(0.01)


def test_values_are_as_likely_as_the_distribution_says() -> None:
    space = Space.parse(
        {
            "rate": {**NORMAL, "distribution": "lognormal", "mu": -7.0, "sigma": 1.0},
            "units": {"type": "int", "distribution": "normal", "mu": 64, "sigma": 16, "step": 16},
        }
    )
    drawn = [random_params(space, 1, number) for number in range(2_000)]
    below = sum(params["rate"] < math.exp(-8) for params in drawn) / len(drawn)  # type: ignore[operator]
    assert below == pytest.approx(0.159, abs=0.03)
    counts = Counter(params["units"] for params in drawn)
    assert counts[64] / len(drawn) == pytest.approx(0.383, abs=0.04)
    assert counts[80] / len(drawn) == pytest.approx(0.242, abs=0.04)


def test_a_stepped_range_on_a_log_scale_holds_its_steps() -> None:
    parameter = made(low=0.5, high=64.0, step=0.5, scale="log")
    values = {parameter.from_unit(unit / 500) for unit in range(501)}
    assert {value % 0.5 for value in values} == {0.0}
    assert (min(values), max(values)) == (0.5, 64.0)
    assert parameter.size == 128
    assert parameter.canonical(3.3) == 3.5


def test_in_a_narrow_range_all_is_equally_likely() -> None:
    parameter = made(distribution="normal", mu=0.0, sigma=1e12, low=0.0, high=1.0)
    assert parameter.from_unit(0.25) == 0.25
    assert parameter.to_unit(0.25) == 0.25


def test_a_uniform_distribution_says_nothing_new() -> None:
    plain = {"low": 0.1, "high": 1.0}
    assert made(distribution="uniform", **plain) == made(**plain)
    assert made(distribution="logUniform", **plain) == made(scale="log", **plain)


def test_a_spec_without_distributions_keeps_its_digest_and_one_with_them_comes_back() -> None:
    assert "distribution" not in str(load(SPEC).dump())
    wide = {**NORMAL, "mu": 0.3, "sigma": 0.7}
    spec = load({**SPEC, "space": {"x": wide}})
    assert load(spec.dump()) == spec
    assert load(spec.dump()).digest == spec.digest


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({**NORMAL, "mu": 0.0}, "space.x.low: is required"),
        ({**NORMAL, "low": 0.0, "high": 1.0, "sigma": 0.0}, "sigma must be > 0, got sigma=0.0"),
        (
            {**NORMAL, "low": 0.0, "high": 1.0, "scale": "reverse_log"},
            "distribution normal needs scale linear or log, got scale=reverse_log",
        ),
        (
            {"type": "float", "low": 0.0, "high": 1.0, "mu": 0.5},
            "mu need distribution normal or lognormal, got none",
        ),
        (
            {**NORMAL, "low": 8.0, "high": 9.0, "mu": 0.0, "sigma": 1.0},
            "low and high must leave room within 5 sigma of mu, got low=8.0, high=9.0, mu=0.0, "
            "sigma=1.0",
        ),
        (
            {"type": "float", "low": 0.1, "high": 1.0, "distribution": "beta"},
            'must be uniform or normal, or lognormal, which has scale log, got "beta"',
        ),
        (
            {**NORMAL, "distribution": "lognormal", "low": 0.1, "high": 1.0, "scale": "linear"},
            "or lognormal, which has scale log",
        ),
        (
            {**NORMAL, "distribution": "lognormal", "low": 0.0, "high": 1.0},
            "low must be > 0 on a log scale, got low=0.0, high=1.0",
        ),
        ({**NORMAL, "distribution": "lognormal", "mu": 1e6, "sigma": 1.0}, "low: is required"),
        ({**NORMAL, "mu": "0", "sigma": 1.0}, "mu: must be a number"),
        ({**NORMAL, "mu": 0, "sigma": 1, "step": 0, "low": 0, "high": 1}, "step must be > 0"),
        ({**NORMAL, "mu": 0, "sigma": 1, "step": float("nan")}, "step: must be a finite number"),
        ({**NORMAL, "mu": 1e308, "sigma": 1e308}, "must be a finite number"),
    ],
)
def test_a_wrong_distribution_is_refused(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        Space.parse({"x": said})
    assert problem in str(caught.value)
