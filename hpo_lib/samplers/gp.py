"""Optuna's Gaussian process with log expected improvement; for several objectives, hypervolume.

Ament et al. 2023, "Unexpected Improvements to Expected Improvement for Bayesian Optimization".
"""

from __future__ import annotations

from hpo_lib.samplers.adapters.study import OptunaSampler, View


class GpSampler(OptunaSampler):
    """GPSampler; it needs PyTorch."""

    name = "gp"
    behind = "GPSampler"
    view = View.FLAT
    packages = ("optuna", "torch")
    extra = "gp"
