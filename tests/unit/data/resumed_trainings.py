# ruff: noqa
# Trains each way three times: undisturbed and without our callback, then cut off in the midst of an epoch, then resumed.
import collections, contextlib, io, json, os, pathlib, signal, sys

os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
import keras
import numpy
import tensorflow as tf
from hpo_lib.runtime import keras_checkpoint, keras_state
from hpo_lib.runtime.keras import ReportCallback
from hpo_lib.runtime.keras_checkpoint import CheckpointCallback

ROOT = os.environ["HPO_OUTPUT"]
X = numpy.random.default_rng(0).random((26, 6), "float32")
Y = (X.sum(1) > 3).astype("int32")
L, C, O = keras.layers, keras.callbacks, keras.optimizers
EPOCHS = 3
TRAINED = os.path.join(ROOT, "trained")


class CutOff(BaseException):
    pass


class Cut(C.Callback):
    # Ends the training in the midst of an epoch, as a kill would; `how` may be a signal.
    def __init__(self, epoch, how=None):
        super().__init__()
        self.at, self.how = epoch, how and int(how)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        with open(TRAINED, "a") as file:
            file.write(f"{epoch}\n")

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.at and batch == 1:
            if self.how is None:
                raise CutOff
            os.kill(os.getpid(), self.how)


class Counts(C.Callback):
    # Learns plain things.
    def __init__(self):
        super().__init__()
        self.losses, self.seen, self.patience = [], {"best": None}, 3

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        self.seen["best"] = min(self.losses)
        if len(self.losses) >= 2:
            self.model.optimizer.learning_rate = 0.01 * self.seen["best"]


class Told(C.Callback):
    # Says itself what it knows.
    def __init__(self):
        super().__init__()
        self.queue = collections.deque([0.02], maxlen=1)

    def state_dict(self):
        return {"queue": list(self.queue)}

    def load_state_dict(self, state):
        self.queue.extend(state["queue"])

    def on_epoch_end(self, epoch, logs=None):
        self.queue.append(self.queue[0] * 0.7)
        logs["queue"] = self.queue[0]


class Odd(C.Callback):
    def __init__(self):
        super().__init__()
        self.queue = collections.deque()


class Jitter(L.Layer):
    # Draws from the generator that all of Keras shares.
    def call(self, x, training=False):
        return x + 0.1 * keras.random.normal(keras.ops.shape(x)) if training else x


class Net(keras.Model):
    # Has no variables before its first batch.
    def __init__(self):
        super().__init__()
        self.parts = [L.Dense(5, "relu"), L.Dropout(0.3), L.Dense(2, "softmax")]

    def call(self, x, training=False):
        for part in self.parts:
            x = part(x, training=training) if isinstance(part, L.Dropout) else part(x)
        return x


class Batches(keras.utils.PyDataset):
    # Shuffled by Python's generator within Keras, disturbed by one of its own and by NumPy's.
    def __init__(self):
        super().__init__()
        self.own = numpy.random.default_rng(5)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(index * 8, index * 8 + 8)
        return X[part] + self.own.random() / 10 + numpy.random.rand() / 10, Y[part]


def drawn():
    own = numpy.random.default_rng(6)
    while True:
        rows = own.permutation(26)[:9]
        yield X[rows] + numpy.random.rand() / 10, Y[rows]


def small(*parts):
    return keras.Sequential([L.Dense(5, "relu"), *parts, L.Dense(2, "softmax")])


def compiled(model, optimizer, eager=True, **more):
    more = {"metrics": ["accuracy"], "jit_compile": False, "run_eagerly": eager} | more
    model.compile(optimizer, "sparse_categorical_crossentropy", **more)
    return model


ARRAYS = {"x": X, "y": Y, "batch_size": 9, "validation_split": 0.2}


def slices():
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(26)


def is_large(x, y):
    return x[0] > 0.2


# Each gives a model, its data, and callbacks; `out` is where files go.
WAYS = {
    "adam_noise_normalisation_plateau": lambda out: (
        compiled(
            small(L.BatchNormalization(), L.Dropout(0.4), L.GaussianNoise(0.1), Jitter()),
            O.Adam(0.01),
        ),
        ARRAYS,
        [C.ReduceLROnPlateau("loss", patience=1, factor=0.3, min_delta=9)],
    ),
    "sgd_schedule_average_swapped": lambda out: (
        compiled(
            small(),
            O.SGD(
                O.schedules.CosineDecay(0.1, 12),
                momentum=0.9,
                nesterov=True,
                use_ema=True,
                ema_momentum=0.7,
            ),
        ),
        ARRAYS,
        [C.SwapEMAWeights(swap_on_epoch=True)],
    ),
    "average_accumulation": lambda out: (
        compiled(
            small(),
            O.Adam(
                0.1,
                use_ema=True,
                ema_momentum=0.7,
                ema_overwrite_frequency=4,
                gradient_accumulation_steps=2,
            ),
        ),
        ARRAYS,
        [],
    ),
    "stopped_early_files_graph": lambda out: (
        compiled(small(L.Dropout(0.2)), O.Adam(0.05), eager=False),
        ARRAYS,
        [
            C.CSVLogger(f"{out}/log.csv"),
            C.EarlyStopping("loss", patience=2, min_delta=9, restore_best_weights=True),
            C.ModelCheckpoint(
                f"{out}/best.weights.h5",
                "val_loss",
                save_best_only=True,
                save_weights_only=True,
                mode="max",
            ),
        ],
    ),
    "killed_after_its_end": lambda out: (
        compiled(small(), O.Adam(0.05)),
        ARRAYS,
        [C.EarlyStopping("loss", patience=1, min_delta=9, restore_best_weights=True), AtEnd()],
    ),
    "dataset_repeated": lambda out: (
        compiled(Net(), O.Adam(0.05)),
        {"x": slices().repeat().batch(9), "steps_per_epoch": 3},
        [],
    ),
    "dataset_without_length": lambda out: (
        compiled(Net(), O.Adam(0.05)),
        {"x": slices().filter(is_large).batch(9)},
        [],
    ),
    "generator": lambda out: (
        compiled(small(L.Dropout(0.2)), O.Adam(0.05)),
        {"x": drawn(), "steps_per_epoch": 3},
        [],
    ),
    "py_dataset": lambda out: (compiled(small(), O.Adam(0.05)), {"x": Batches()}, []),
    "several_steps_at_once": lambda out: (
        compiled(small(L.Dropout(0.2)), O.Adam(0.05), eager=False, steps_per_execution=2),
        ARRAYS,
        [],
    ),
    "callbacks_of_ones_own": lambda out: (
        compiled(small(), O.Adam(0.05)),
        ARRAYS,
        [Counts(), Told(), Odd()],
    ),
    "torn": lambda out: (compiled(small(L.Dropout(0.2)), O.Adam(0.05)), ARRAYS, []),
    "rungs": lambda out: (compiled(small(L.Dropout(0.2)), O.Adam(0.05)), ARRAYS, []),
    "second_training": lambda out: (compiled(small(L.Dropout(0.2)), O.Adam(0.05)), ARRAYS, []),
}


class AtEnd(C.Callback):
    # Killed when the training has ended, before the program has.
    armed = False

    def on_train_end(self, logs=None):
        if AtEnd.armed:
            raise CutOff


def attempt(name, out, before=None, cut=None, seed=3, resource=None, plain=False):
    # One attempt of a program: it begins as a new process would.
    os.environ["HPO_OUTPUT"] = out
    for variable, value in {"HPO_RESUME_FROM": before, "HPO_RESOURCE": resource}.items():
        os.environ.pop(variable, None)
        if value is not None:
            os.environ[variable] = str(value)
    os.makedirs(out, exist_ok=True)
    keras_checkpoint._begun.clear()
    keras.backend.clear_session()
    if seed is not None:
        keras.utils.set_random_seed(seed)
    if name == "second_training":
        first, data, _ = WAYS["torn"](out)
        first.fit(**data, epochs=2, verbose=0, callbacks=[] if plain else [CheckpointCallback()])
    model, data, beside = WAYS[name](out)
    # In the midst of the list: those that come later must not be forgotten.
    callbacks = [CheckpointCallback(), *beside, ReportCallback(), *([cut] if cut else [])]
    callbacks = callbacks[1:] if plain else callbacks
    past = model.fit(**data, epochs=EPOCHS, verbose=0, callbacks=callbacks)
    found = {
        "variables": [one.numpy().tobytes().hex() for one in keras_state.variables(model)],
        "history": json.dumps(past.history),
        "epochs": past.epoch,
        "drawn after": [float(keras.random.uniform(())), float(numpy.random.rand())],
    }
    for file in ("log.csv", "best.weights.h5"):
        if os.path.exists(f"{out}/{file}"):
            if file.endswith("csv"):
                found[file] = open(f"{out}/{file}").read()
            else:
                model.load_weights(f"{out}/{file}", skip_mismatch=True)
                found[file] = [one.tobytes().hex() for one in model.get_weights()]
    found["reported"] = reported(out)
    return found


def reported(out):
    lines = [json.loads(line) for line in open(f"{out}/metrics.jsonl")]
    return [(one["step"], one["metrics"]) for one in lines]


def quietly(*args, **more):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found = None
        with contextlib.suppress(CutOff):
            found = attempt(*args, **more)
    return found, said.getvalue()


def in_pieces(name, at):
    out = os.path.join(ROOT, name)
    undisturbed, _ = quietly(name, f"{out}/whole", plain=True)
    AtEnd.armed = True
    resources = [1, 2] if name == "rungs" else [None]
    before = None
    for number, resource in enumerate(resources):
        cut = None if resource or name == "killed_after_its_end" else Cut(at)
        _, said = quietly(name, f"{out}/{number}", before, cut, resource=resource)
        before = f"{out}/{number}"
        if "not carried" in said:
            print(said)
    AtEnd.armed = False
    if name == "torn":
        newest = f"{before}/checkpoint/training/{at:08d}/arrays.npz"
        os.truncate(newest, os.path.getsize(newest) - 7)
    resumed, said = quietly(name, f"{out}/last", before)
    print(said)
    if name == "generator":  # Keras draws ahead, as far as it comes
        undisturbed.pop("drawn after")
    same = {one: undisturbed[one] == resumed[one] for one in undisturbed}
    return {"same": same, "resumed": "The training goes on after epoch" in said}


def forked(*args, **more):
    # A process of its own, that may be killed.
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            found = attempt(*args, **more)
            with open(os.path.join(args[1], "found.json"), "w") as file:
                json.dump(found, file)
            sys.stdout.flush()
            os._exit(0)
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def cut_off(name, cuts):
    # Attempts, each of which goes on from the newest before it that has saved anything.
    out = os.path.join(ROOT, f"forked-{name}")
    forked("stopped_early_files_graph", f"{out}/whole", plain=True)
    open(TRAINED, "w").close()
    codes, before = [], None
    for number, cut in enumerate([*cuts, Cut(-1)]):
        codes.append(forked("stopped_early_files_graph", f"{out}/{number}", before, cut))
        if os.path.isdir(f"{out}/{number}/checkpoint/training"):
            before = f"{out}/{number}"
    whole, last = (json.load(open(f"{out}/{one}/found.json")) for one in ("whole", number))
    return {
        "codes": codes,
        "epochs": len(whole["epochs"]),
        "same": whole == last,
        "reported": last["reported"],
        "reported_undisturbed": whole["reported"],
        "trained": [int(line) for line in open(TRAINED)],
    }


found = {}
kill = signal.SIGKILL
found["killed"] = cut_off("kill", [Cut(epoch, kill) for epoch in (0, 1, 1, 2, 2)])
found["terminated"] = cut_off("term", [Cut(1, signal.SIGTERM)])
found["ways"] = {name: in_pieces(name, 1 + number % 2) for number, name in enumerate(WAYS)}
found["kept"] = sorted(os.listdir(f"{ROOT}/torn/last/checkpoint/training"))

tf.random.set_seed(1)
from tensorflow.python.eager import context

context.context()._seed = None
quietly("torn", f"{ROOT}/free/0", cut=Cut(1), seed=None)
found["unseeded"] = quietly("torn", f"{ROOT}/free/1", f"{ROOT}/free/0", seed=None)[1]


class Rates(C.Callback):
    # Halves the learning rate after the first epoch, and notes what it is.
    def on_epoch_begin(self, epoch, logs=None):
        found["rates"].append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * 0.5


found["rates"] = []
WAYS["parent"] = lambda out: (compiled(small(), O.Adam(0.25)), ARRAYS, [Rates()])
WAYS["heir"] = lambda out: (compiled(small(), O.Adam(0.75)), ARRAYS, [Rates()])
quietly("parent", f"{ROOT}/parent", cut=Cut(1))
quietly("heir", f"{ROOT}/heir", f"{ROOT}/parent")

WAYS["wide"] = lambda out: (
    compiled(keras.Sequential([L.Dense(9), L.Dropout(0.2), L.Dense(2, "softmax")]), O.Adam(0.05)),
    ARRAYS,
    [],
)
try:
    quietly("wide", f"{ROOT}/wide", f"{ROOT}/torn/last")
except ValueError as error:
    found["refused"] = str(error)
try:
    CheckpointCallback().on_train_begin()
except RuntimeError as error:
    found["outside"] = str(error)

KINDS = {
    "plain": [None, True, 7, 0.1, float("nan"), float("-inf"), "word", 2**70],
    "nested": {("a", 1): [{"b": (1, 2)}, {3}], 5: b"\x00bytes"},
    "arrays": [
        numpy.arange(6, dtype="int16").reshape(2, 3)[:, ::2],
        numpy.array(["one", "three"]),
        numpy.float32(0.1),
        keras.ops.convert_to_numpy(keras.ops.cast([1.5, 2.5], "bfloat16")),
        numpy.zeros((0, 3)),
        tf.constant([1, 2]),
    ],
}
os.makedirs(os.path.join(ROOT, "kinds"))
keras_state.write(pathlib.Path(ROOT) / "kinds", KINDS)
again = keras_state.read(pathlib.Path(ROOT) / "kinds")
found["kinds"] = {name: [repr(KINDS[name]), repr(again[name])] for name in KINDS}
with open(os.path.join(ROOT, "found.json"), "w") as file:
    json.dump(found, file)
