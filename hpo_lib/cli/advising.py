"""What a run's trials advise, as the report says it: it takes seconds of CPU."""

from __future__ import annotations

from hpo_lib.cli import overview_answers as told
from hpo_lib.records import RunView
from hpo_lib.report.advice import Next
from hpo_lib.report.data import data_of
from hpo_lib.report.importance import importance_of


def advice_of(view: RunView) -> told.NextSteps:
    """Say what to do next; of a view without observations, which nothing here needs."""
    importance = importance_of(view)
    said = Next.of(view, importance)
    narrower = said.narrower
    return told.NextSteps(
        mattered=said.mattered,
        edges=said.edges,
        more=[said.left.told] if said.left else [],
        resources=said.resources,
        unsure=said.unsure,
        narrower=None
        if narrower is None
        else told.Narrower(
            space=dict(narrower.space), changes=dict(narrower.changes), yaml=narrower.yaml
        ),
        importance=data_of(view, importance)["importance"],
    )
