"""The Keras side of `hpo_lib.runtime`: one callback for `model.fit(callbacks=[…])`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import keras  # type: ignore[import-not-found,unused-ignore]

from hpo_lib import runtime


class ReportCallback(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """Reports every epoch's logs, and stops the training when the trial is asked to stop.

    Steps count finished epochs, from 1. Of a metric with several values, such as one per class, the
    mean is reported, as Keras prints it. If an EarlyStopping of the same training restores the best
    weights, the metrics of their epoch are reported once more at the end, without a step: they are
    the last, and those of the model that is kept. Put it after callbacks that add to the logs.
    """

    def __init__(self) -> None:
        """Have nothing reported yet."""
        super().__init__()
        self._reported: dict[int, dict[str, float]] = {}
        self._passed_over: set[str] = set()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Watch for SIGTERM from the start."""
        runtime.should_stop()
        self._reported = {}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report, then ask whether to go on."""
        self._reported[epoch] = values = self._numbers(logs or {})
        if values:
            runtime.report(epoch + 1, values)
        if runtime.should_stop():
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Report the metrics of the weights that are kept, if they are not the last ones."""
        kept = _restored(self._beside())
        values = None if kept is None else self._reported.get(kept)
        if kept is None or not values or kept == max(self._reported):
            return
        print(f"The model keeps the weights of epoch {kept + 1}. What was measured then:")
        runtime.report(None, values)

    def _numbers(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Give what can be reported; say once by name what cannot."""
        named = {str(name): (value, _mean(value)) for name, value in logs.items()}
        for name, (value, number) in named.items():
            if number is None and name not in self._passed_over:
                self._passed_over.add(name)
                kind = type(value).__name__
                print(f"The metric {name!r} is not reported, for a value of {kind} is no number.")
        return {name: number for name, (_, number) in named.items() if name and number is not None}

    def _beside(self) -> Sequence[Any]:
        """Give all callbacks of this training: Keras shows them to none, so ask who calls us."""
        frame = sys._getframe()
        while frame is not None:
            caller = frame.f_locals.get("self")
            if isinstance(caller, keras.callbacks.CallbackList):
                return list(caller.callbacks)
            frame = frame.f_back  # type: ignore[assignment]
        return []


def _restored(callbacks: Sequence[Any]) -> int | None:
    """Give the epoch, from 0, whose weights the model gets back when its training ends."""
    kept = [
        one.best_epoch
        for one in callbacks
        if isinstance(one, keras.callbacks.EarlyStopping)
        and one.restore_best_weights
        and one.best_weights is not None
    ]
    return kept[-1] if kept else None


def _mean(value: Any) -> float | None:
    """Give a number as Keras prints it, None for what is none."""
    with suppress(Exception):
        return float(value)
    with suppress(Exception):
        values = keras.ops.convert_to_numpy(value)
        return float(values.mean()) if values.size else None
    return None
