"""The Keras side of checkpoints: one callback, after which a training loses no finished epoch."""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import keras  # type: ignore[import-not-found,unused-ignore]

from hpo_lib import runtime
from hpo_lib.runtime import checkpoints, keras_files, keras_state

#: How many trainings of this process have begun under a name: the same ones in every attempt.
_begun: Counter[str] = Counter()
_ENDED_BY_SIGTERM = 128 + 15


class CheckpointCallback(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """Saves all of a training's state after each epoch, and goes on from it in the next attempt.

        model.fit(x, y, epochs=100, callbacks=[ReportCallback(), CheckpointCallback()])

    What a resumed training computes is bit for bit what the uninterrupted one would have, on one
    thread: docs/resume.md says what is carried, and where that cannot be. It ends at HPO_RESOURCE
    epochs, if a scheduler gives that; `epochs` stays what the whole training has. When SIGTERM has
    arrived, it ends after the epoch, with the code 143. Its place in the list does not matter.

    Several trainings of a program are told apart by their order, or by a `name`. Of the checkpoints
    the newest `keep` stay. With `replay` the data of finished epochs are drawn once more, without
    training, so that those to come are the same; without, they are drawn as in a new training.
    """

    def __init__(self, name: str = "training", *, keep: int = 2, replay: bool = True) -> None:
        """Have nothing saved yet."""
        super().__init__()
        self._name, self._keep, self._replay = name, keep, replay

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Put the keeper last, where it sees what all other callbacks have made of an epoch."""
        training = _Training.running()
        _begun[self._name] += 1
        nth = _begun[self._name]
        name = self._name if nth == 1 else f"{self._name}-{nth}"
        beside = training.callbacks
        beside[:] = [one for one in beside if not isinstance(one, _Keeper)]
        keeper = _Keeper(training, name, self._keep, replay=self._replay)
        keeper.set_model(self.model)
        keeper.set_params(self.params)
        beside.append(keeper)  # so Keras calls its on_train_begin after all others


class _Training:
    """A running `model.fit`: Keras shows it to no callback, so ask who calls us."""

    def __init__(self, callbacks: list[Any], fit: FrameType) -> None:
        self.callbacks = callbacks
        self._fit = fit.f_locals
        self._epochs = fit.f_locals["epoch_iterator"]

    @classmethod
    def running(cls) -> _Training:
        callbacks: list[Any] | None = None
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            caller = frame.f_locals.get("self")
            if callbacks is None and isinstance(caller, keras.callbacks.CallbackList):
                callbacks = caller.callbacks
            if callbacks is not None and "epoch_iterator" in frame.f_locals:
                return cls(callbacks, frame)
            frame = frame.f_back
        raise RuntimeError(
            "CheckpointCallback must be called by model.fit; in a training loop of your own use "
            "hpo_lib.runtime.checkpoints"
        )

    def others(self) -> list[Any]:
        """Give the callbacks that have a memory."""
        none = (_Keeper, CheckpointCallback, keras.callbacks.ProgbarLogger)
        return [one for one in self.callbacks if not isinstance(one, none)]

    def begins_at(self) -> int:
        """Give how many epochs it was told to leave out."""
        return int(self._fit.get("initial_epoch") or 0)

    def shuffles_freely(self) -> bool:
        """Say whether its data may come in an order that nobody can repeat."""
        return bool(self._fit.get("shuffle", True)) and keras_state.is_unseeded()

    def draws_ahead(self) -> bool:
        """Say whether its data come from a generator, which draws while earlier ones are used."""
        return type(self._epochs.data_adapter).__name__ == "GeneratorDataAdapter"

    def replay(self, epochs: int) -> Any:
        """Draw the data of so many epochs; gives the first batch."""
        first = None
        for _ in range(epochs):
            batch = self._drawn()
            first = batch if first is None else first
        return first

    def first_batch(self) -> Any:
        """Give a batch of the data, and begin them anew."""
        batch = self._drawn(steps=1)
        self._epochs.reset()
        return batch

    def _drawn(self, steps: int | None = None) -> Any:
        """Draw the data of an epoch, or of its first steps; gives the first batch."""
        first, most = None, self._epochs.steps_per_execution
        with self._epochs.catch_stop_iteration():
            for _, _, step in itertools.islice(self._epochs, steps):
                batches = step if isinstance(step, list) else list(itertools.islice(step, most))
                if not batches:
                    raise StopIteration  # so Keras learns how long data without length are
                first = batches[0] if first is None else first
        return first


class _Keeper(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """Comes after all other callbacks of a training: gives them their memory, and saves it."""

    def __init__(self, training: _Training, name: str, keep: int, *, replay: bool) -> None:
        super().__init__()
        self._training: _Training | None = training
        self._name, self._keep, self._replay = name, keep, replay
        self._resource = runtime.resource()
        self._done, self._ended = 0, False
        self._told: set[str] = set()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        training = self._running()
        runtime.should_stop()  # watches for SIGTERM from the start
        self._memory = keras_state.Memory(training.others())
        self._files = keras_files.Files(training.others())
        self._done = training.begins_at()
        self._rate = keras_state.learning_rate(self.model)
        found = checkpoints.newest(self._name)
        if found is not None:
            self._go_on(found, training)
        if self._resource is not None and self._done >= self._resource:
            self.model._initial_epoch = max(self._epochs(), 1)
        self._training = None  # lets go of the data

    def _running(self) -> _Training:
        if self._training is None:
            raise RuntimeError("a training begins once")
        return self._training

    def _epochs(self) -> int:
        return int(self.params["epochs"])

    def _go_on(self, found: checkpoints.Checkpoint, training: _Training) -> None:
        facts = keras_state.read(found.folder)
        self._done, self._ended = found.step, facts["ended"]
        over = self._ended or self._done >= self._epochs()
        finished = self._done - training.begins_at()
        batch = training.replay(finished) if self._replay and not over else None
        self._build(training, batch)
        keras_state.set_values(self.model, facts["variables"])
        self._keep_rate(facts.get("learning_rate"))
        keras_state.set_generators(
            facts["generators"], only_of_keras=training.draws_ahead() and self._replay
        )
        new = self._memory.give(facts["callbacks"])
        self._files.give(facts["files"], found.folder)
        self.model._initial_epoch = self._epochs() if over else self._done
        print(f"The training goes on after epoch {self._done}, from {found.folder}.")
        self._say_once([*_inexact(training, replayed=self._replay), *map(_no_memory, new)])

    def _keep_rate(self, of_saved: float | None) -> None:
        """Let the program's learning rate count if the training that is saved began with another.

        That is so where a trial goes on from another one's checkpoint, with parameters of its own
        (`pbt`). What callbacks have made of the other's rate stays, as a factor.
        """
        if self._rate is None or not of_saved or self._rate == of_saved:
            return
        now = keras_state.learning_rate(self.model) or 0.0
        self.model.optimizer.learning_rate = self._rate * now / of_saved

    def _build(self, training: _Training, batch: Any) -> None:
        """Make the variables, which Keras otherwise makes with the first batch."""
        if not all(layer.built for layer in self.model._flatten_layers()):
            batch = training.first_batch() if batch is None else batch
            self.model._symbolic_build(data_batch=batch)
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        self.model._initial_epoch = None  # or the model's next training would begin there

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        asked = runtime.should_stop()
        self._done = epoch + 1
        self._ended = bool(self.model.stop_training) and (not asked or self._out_of_patience())
        with checkpoints.saving(self._done, self._name, self._keep) as folder:
            facts = {
                "ended": self._ended,
                "learning_rate": self._rate,
                "variables": keras_state.values(self.model),
                "generators": keras_state.generators(),
                "callbacks": self._memory.take(),
                "files": self._files.take(epoch, logs or {}, folder),
            }
            keras_state.write(folder, facts)
        self._files.are_in(checkpoints.folder_of(self._done, self._name))
        self._say_once(map(_not_carried, sorted(self._memory.passed_over)))
        if asked or (self._resource is not None and self._done >= self._resource):
            self.model.stop_training = True

    def _out_of_patience(self) -> bool:
        kind = keras.callbacks.EarlyStopping
        return any(isinstance(o, kind) and o.stopped_epoch > 0 for o in self._memory.callbacks)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        self.model._initial_epoch = None
        full = self._epochs() if self._resource is None else min(self._epochs(), self._resource)
        if runtime.terminated() and not self._ended and self._done < full:
            print(
                f"The training is cut short by SIGTERM: epoch {self._done} is the last one saved."
            )
            raise SystemExit(_ENDED_BY_SIGTERM)

    def _say_once(self, sentences: Sequence[str] | Iterator[str]) -> None:
        for one in sentences:
            if one not in self._told:
                self._told.add(one)
                print(one)


def _inexact(training: _Training, *, replayed: bool) -> Iterator[str]:
    """Say why what comes may differ from an uninterrupted training."""
    begin = "It may differ from an uninterrupted training"
    if keras.backend.backend() != "tensorflow":
        yield f"{begin}: that it does not was only seen with TensorFlow as Keras' backend."
    elif _has_threads():
        yield (
            f"{begin} in the last digits, for TensorFlow uses several threads or a GPU: for one "
            "thread ask for `resources: {cpu: 1}`, or set TF_NUM_INTRAOP_THREADS=1 and "
            "TF_NUM_INTEROP_THREADS=1."
        )
    if training.shuffles_freely():
        yield f"{begin}: data are shuffled without a seed, see keras.utils.set_random_seed."
    if not replayed:
        yield f"{begin}: with replay=False data come as in a new training."


def _has_threads() -> bool:
    import tensorflow as tf  # type: ignore[import-not-found,unused-ignore]

    asked = {
        "TF_NUM_INTRAOP_THREADS": tf.config.threading.get_intra_op_parallelism_threads(),
        "TF_NUM_INTEROP_THREADS": tf.config.threading.get_inter_op_parallelism_threads(),
    }
    told = [number or int(os.environ.get(name) or 0) for name, number in asked.items()]
    return told != [1, 1] or bool(tf.config.list_physical_devices("GPU"))


def _no_memory(kind: str) -> str:
    return f"The callback {kind} was not in the training that was saved: it begins anew."


def _not_carried(attribute: str) -> str:
    return (
        f"{attribute} of a callback is not carried into a resumed training: give the callback "
        "state_dict() and load_state_dict(state), or plain numbers, texts, lists and arrays."
    )
