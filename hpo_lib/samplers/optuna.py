"""Any sampler of Optuna by its name, such as `cls: BruteForceSampler`."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.errors import SpecError, nearest
from hpo_lib.samplers.adapters.library import installed
from hpo_lib.samplers.adapters.signature import settings_of
from hpo_lib.samplers.adapters.study import OptunaSampler, View, samplers
from hpo_lib.validation import Strict, parse, shown

_HOME = "optuna.samplers"
#: The only modules that a spec may have imported, and where their samplers may be defined.
_ROOTS = {_HOME: "optuna.", "optuna_integration": "optuna_integration."}
_PATH = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*")
_VIEWS = {
    "BruteForceSampler": View.BY_BRANCH,
    "GPSampler": View.FLAT,
    "RandomSampler": View.BY_BRANCH,
    "TPESampler": View.BY_BRANCH,
}
_INSTEAD = {"GridSampler": "grid"}


class OptunaSettings(Strict):
    """`cls` in optuna.samplers, or a path that begins with optuna_integration; its `settings`.

    `replay` asks the sampler anew for the whole past at every call (unless it is known to keep no
    state): safe, and slow for a sampler that takes long to ask.
    """

    cls: str = Field(max_length=200)
    settings: dict[str, Any] = Field(default_factory=dict)
    replay: bool | None = None


class AnyOptunaSampler(OptunaSampler):
    """The sampler that the spec names; it must be able to search the space."""

    name = "optuna"
    Settings = OptunaSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take OptunaSettings; SpecError if there is no such sampler or it does not take them."""
        installed(self.name, "optuna", extra="optuna")
        options = OptunaSettings.model_validate(settings)
        self._class = _sampler_class(options.cls)
        self.view = _view(self._class, options.replay)
        model = settings_of(self._class, samplers().nsgaii)
        super().__init__(space, goal, seed, parse(model, options.settings, at="sampler.settings"))
        _check_margin(self._class, options.settings)
        try:
            self._try()
        except Exception as error:
            raise SpecError(f"sampler {self._class.__name__}: {error}".splitlines()[0]) from None

    def _kind(self) -> Any:
        return self._class


def _sampler_class(path: str) -> Any:
    """Find a sampler without importing anything but the two modules that hold them."""
    dotted = path if "." in path else f"{_HOME}.{path}"
    root = next((root for root in _ROOTS if dotted.startswith(f"{root}.")), None)
    if root is None or not _PATH.fullmatch(dotted):
        raise SpecError(
            f"sampler.cls: must be a class in {' or '.join(sorted(_ROOTS))}, got {shown(path)}"
        )
    if root != _HOME and find_spec(root) is None:
        raise SpecError(f"sampler optuna needs {root}: pip install optuna-integration")
    found: Any = samplers() if root == _HOME else import_module(root)
    try:
        for name in dotted.removeprefix(f"{root}.").split("."):
            found = getattr(found, name, None) if isinstance(found, ModuleType) else None
    except ImportError as error:  # Its parts are imported when they are looked at.
        raise SpecError(f"sampler {path}: {error}".splitlines()[0]) from None
    if not _is_sampler(found, _ROOTS[root]):
        raise SpecError(f"sampler.cls: no sampler {shown(path)}{_known(path)}")
    if found.__name__ in _INSTEAD:
        raise SpecError(f"sampler.cls: use sampler {_INSTEAD[found.__name__]}, got {shown(path)}")
    return found


def _is_sampler(found: Any, home: str) -> bool:
    return (
        inspect.isclass(found)
        and not inspect.isabstract(found)
        and issubclass(found, samplers().BaseSampler)
        and found.__module__.startswith(home)
    )


def _known(path: str) -> str:
    module = samplers()
    names = [name for name in module.__all__ if _is_sampler(getattr(module, name), "optuna.")]
    return f"{nearest(path.rpartition('.')[2], names)}; known: {', '.join(sorted(names))}"


def _view(kind: Any, replay: bool | None) -> View:
    """Look up how a sampler sees the history; one that is not known may keep state on trials."""
    if kind.__name__ in _VIEWS:
        if replay:
            raise SpecError(f"sampler.replay: {kind.__name__} keeps no state to be replayed")
        return _VIEWS[kind.__name__]
    return View.FLAT if replay is False else View.REPLAYED


def _check_margin(kind: Any, settings: dict[str, Any]) -> None:
    """Refuse what cannot be replayed: Optuna would tell points that no trial has tried."""
    if kind.__name__ == "CmaEsSampler" and settings.get("with_margin"):
        raise SpecError("sampler.settings.with_margin: use sampler cmaes, which keeps a margin")
