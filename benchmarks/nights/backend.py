"""A fake backend: an attempt is a function call that leaves what a training would leave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.nights.landscape import Landscape
from benchmarks.nights.world import METRIC, Final, Shown
from hpo_lib.backends import AttemptName, Found, NoOptions, Request, log_of
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.promotion.challenger import MODEL
from hpo_lib.promotion.holdout import HOLDOUT
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import Strict


@dataclass(frozen=True)
class FakeBackend:
    """Trains in a landscape; `nights` names runs' data, the constant `broken` spoils all trials."""

    keeps_output: ClassVar[bool] = True
    Options: ClassVar[type[Strict]] = NoOptions

    home: Path
    landscape: Landscape
    final: Final
    nights: dict[int, int] = field(default_factory=dict)

    def permit(self, trial: TrialSpec) -> None:
        """Permit everything."""

    def handle(self, name: AttemptName) -> dict[str, Any]:
        """Name the attempt's folder."""
        return {"folder": str(name.folder(self.home))}

    def output(self, handle: Mapping[str, Any]) -> Path:
        """Give the output folder."""
        return Path(handle["folder"]) / "output"

    def log(self, handle: Mapping[str, Any]) -> Path:
        """Give the log, which is written last."""
        return log_of(handle)

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Do the whole attempt, unless that was done before."""
        if self.log(handle).exists():
            return
        params = json.loads(request.env["HPO_PARAMS"])
        night, broken = self.nights[int(request.env["HPO_RUN"])], params.pop("broken", False)
        output = self.output(handle)
        output.mkdir(parents=True, exist_ok=True)
        if broken:
            value = float("nan")
        elif request.env["HPO_PHASE"] == "final":
            value = self._train(output, params, night, int(request.env["HPO_SEED"]))
        else:
            value = self.landscape.seen(params, night)
        self.log(handle).write_text(f"{METRIC}={value!r}\n")

    def follow(self, handle: Mapping[str, Any]) -> Iterator[str | Exit]:
        """Give the end."""
        yield self.poll(handle)

    def poll(self, handle: Mapping[str, Any]) -> Exit:
        """Give the end; what has not been submitted is lost."""
        if self.log(handle).exists():
            return Exit(Ending.EXITED, 0)
        return Exit(Ending.LOST, detail="it was never started")

    def fetch(self, handle: Mapping[str, Any]) -> None:
        """Nothing: the log is here."""

    release = end = stop = discard = fetch

    def found(self, store: str) -> Iterator[Found]:  # noqa: ARG002 - what others are like
        """Find nothing: attempts end where they begin."""
        return iter(())

    def _train(self, output: Path, params: Mapping[str, Any], night: int, seed: int) -> float:
        """Leave a model and the scores of single examples; give their mean."""
        shown, at = self._shows(tuple(sorted(params.items())), night), seed % self.final.seeds
        model = output / MODEL
        model.mkdir(exist_ok=True)
        (model / "weights").write_text(repr(shown.models[at]))
        examples = shown.scores.examples
        if METRIC in examples:
            scores = {METRIC: [int(one) for one in examples[METRIC][at]]}
            (output / HOLDOUT).write_text(json.dumps(scores))
        return float(shown.scores.metrics[at][METRIC])

    @cached_property
    def _shows(self) -> Any:
        @lru_cache(maxsize=4)
        def shows(params: tuple[tuple[str, Any], ...], night: int) -> Shown:
            return self.landscape.shows(dict(params), night, self.final)

        return shows
