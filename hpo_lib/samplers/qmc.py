"""Optuna's quasi-random sequences: Sobol and Halton."""

from __future__ import annotations

from hpo_lib.samplers.adapters.study import OptunaSampler, View


class QmcSampler(OptunaSampler):
    """QMCSampler, scrambled unless the spec says otherwise, so that the seed counts.

    Trial 1 is a random draw, trial n is point n - 1 of the sequence.
    """

    name = "qmc"
    behind = "QMCSampler"
    view = View.REPLAYED
    defaults = {"scramble": True}  # noqa: RUF012
