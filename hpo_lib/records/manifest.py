"""What a model is made of, as it is kept with the model: reader and writer of the stored form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from hpo_lib.core.trial import Params, Trial
from hpo_lib.evaluation import training_diff
from hpo_lib.evaluation.drift import Data, Score
from hpo_lib.spec import Spec


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is made of, by what, and what it scored; empty before it is trained.

    `document` is the plain JSON that goes wherever the model goes. One that an older version of
    this program wrote says less; the rest is then unknown.
    """

    document: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        spec: Spec,
        trial: Trial,
        *,
        run: int,
        dag_run: str,
        versions: Mapping[str, str],
        training: Mapping[str, Any],
        metric: str,
        scores: Sequence[float],
        examples: int = 0,
    ) -> Self:
        """Write down what a final trial has made.

        `training` is what the trial itself says of its training, `scores` are the values of the
        gate's metric, of all final trials of the configuration; on so many `examples` they scored
        one by one.
        """
        detail = {"examples": examples} if examples else {}
        return cls(
            {
                "experiment": spec.name,
                "run": run,
                "dag_run": dag_run,
                "trial": trial.number,
                "params": {**spec.fixed, **trial.params},
                "metrics": dict(trial.metrics),
                "image": spec.trial.image,
                "versions": dict(versions),
                "program": training_diff.program(spec, trial.params, training.get("versions")),
                "training": dict(training),
                "scores": {"metric": metric, "values": list(scores), **detail},
            }
        )

    def program(self, params: Params) -> Mapping[str, Any]:
        """Give what trained the model's `params`; only a part if an older version wrote it."""
        known = self.document.get("program")
        if isinstance(known, Mapping):
            return known
        trained = self._mapping("params")
        fixed = {name: value for name, value in trained.items() if name not in params}
        image = self.document.get("image") or ""
        return {"image": image, "fixed": fixed} if self.document else {}

    @property
    def data(self) -> Data:
        """What the training said of the rows that it used."""
        return Data.read(self._mapping("training").get("data"))

    def score(self, metric: str) -> Score | None:
        """Give what the configuration scored with all seeds; None if that is not known."""
        kept = self._mapping("scores")
        values = kept.get("values")
        known = kept.get("metric") == metric and isinstance(values, list | tuple)
        return Score.of(values or ()) if known else None

    def examples(self, metric: str) -> int:
        """Give on how many examples the final trials scored one by one; 0 if that is not known."""
        kept = self._mapping("scores")
        size = kept.get("examples") if kept.get("metric") == metric else None
        return size if isinstance(size, int) and size > 0 else 0

    def _mapping(self, name: str) -> Mapping[str, Any]:
        found = self.document.get(name)
        return found if isinstance(found, Mapping) else {}
