"""What other tools call the settings of schedulers: understood as our own, and told in one place.

Each of our names is followed by those of Ray Tune, Optuna, Katib, Syne Tune, Vizier and the papers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hpo_lib.errors import SpecError

CALLED: Mapping[str, tuple[str, ...]] = {
    "grace_period": ("min", "min_t", "min_resource", "r_min"),
    "reduction_factor": ("eta",),
    "max": ("max_t", "max_resource", "r_max", "r_l"),
    "resource": ("resource_name", "resource_attr", "time_attr"),
    "min_trials_required": ("min_samples_required", "n_startup_trials", "n_min_trials"),
    "start_step": ("n_warmup_steps",),
    "population": ("population_size", "n_population"),
    "interval": ("perturbation_interval",),
    "quantile": ("quantile_fraction", "truncation_threshold"),
    "resample_probability": ("resample_prob",),
    "keep": ("k", "top_k"),
}


def in_our_words(settings: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Rename the settings that others call otherwise, as far as a part knows ours; SpecError.

    `known` are the part's own names: none of them is taken for another's.
    """
    ours = {theirs: name for name, names in CALLED.items() if name in known for theirs in names}
    found: dict[str, Any] = {}
    for said, value in settings.items():
        name = said if said in known else ours.get(said, said)
        if name in found or (name != said and name in settings):
            raise SpecError(f"scheduler.{said}: is {name} in other words, which is there too")
        found[name] = value
    return found
