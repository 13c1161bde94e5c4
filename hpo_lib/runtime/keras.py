"""The Keras side of `hpo_lib.runtime`: one callback for `model.fit(callbacks=[…])`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras  # type: ignore[import-not-found,unused-ignore]

from hpo_lib import runtime


class ReportCallback(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """Reports every epoch's logs, and stops the training when the trial is asked to stop.

    Steps count finished epochs, from 1. Put it after callbacks that add to the logs.
    """

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Watch for SIGTERM from the start."""
        runtime.should_stop()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report, then ask whether to go on."""
        if logs:
            runtime.report(epoch + 1, **logs)
        if runtime.should_stop():
            self.model.stop_training = True
