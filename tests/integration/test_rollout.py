"""Rolling out, with a kill at every step: one champion, serving, and the one that the store names.

The deployer is a fake that keeps its state as a real one does: elsewhere, whoever is killed.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.deployers import Check, Release
from hpo_lib.errors import NotFound, SpecError, Superseded, TransientError
from hpo_lib.promotion import rollout
from hpo_lib.records import Model, ModelStatus
from hpo_lib.store import Store, upgrade
from tests.integration.models_contract import challenger, champion


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Killer:
    """Lets the `at`-th call be the last one: before or after what it does is done."""

    at: int = -1
    after: bool = False
    calls: list[str] = field(default_factory=list)

    def watch(self, thing: Any) -> Any:
        return _Watched(thing, self)

    def call(self, name: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        self.calls.append(name)
        mine = len(self.calls) - 1 == self.at
        if mine and not self.after:
            raise Killed
        result = method(*args, **named)
        if mine:
            raise Killed
        return result


class _Watched:
    def __init__(self, thing: Any, killer: Killer) -> None:
        self._thing, self._killer = thing, killer

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._thing, name)
        if not callable(method):
            return method
        return lambda *args, **named: self._killer.call(name, method, *args, **named)


@dataclass
class FakeDeployer:
    """Versions that are staged, and the one that is served."""

    staged: set[int] = field(default_factory=set)
    served: list[int | None] = field(default_factory=list)
    fails_try: set[int] = field(default_factory=set)
    fails_verify: set[int] = field(default_factory=set)
    address: str = "here"
    down: bool = False

    def stage(self, release: Release) -> None:
        self.staged.add(release.version)

    def try_out(self, release: Release) -> Check:
        return Check("it answers nonsense" if release.version in self.fails_try else "")

    def switch(self, version: int) -> None:
        if version not in self.staged:
            raise NotFound(f"version {version} is not staged")
        self.served.append(version)

    def serving(self) -> int | None:
        return self.served[-1] if self.served and not self.down else None

    def verify(self, version: int) -> Check:
        return Check("no answer" if version in self.fails_verify else "")

    def drop(self, version: int) -> None:
        assert version != self.serving(), "what is served is not dropped"
        self.staged.discard(version)

    def withdraw(self) -> None:
        self.served.append(None)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with nothing in it, to be copied."""
    file = tmp_path_factory.mktemp("store") / "hpo.db"
    upgrade(f"sqlite:///{file}")
    return file


def copied(file: Path, to: Path) -> Store:
    """Open a copy of a store's file."""
    return Store.open(f"sqlite:///{shutil.copy(file, to)}")


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Iterator[Store]:
    with copied(empty, tmp_path / "hpo.db") as opened:
        yield opened


def files(model: Model) -> Path:
    return Path("/nowhere")


def quietly(line: str) -> None:
    """Say nothing."""


def roll_out(store: Store, model: Model, deployer: FakeDeployer, killer: Killer) -> Model:
    made = store.models.get(model.experiment, model.version)
    return rollout.roll_out(
        killer.watch(store.models), made, lambda _: killer.watch(deployer), files, quietly
    )


def reconcile(store: Store, deployer: FakeDeployer) -> Model | None:
    return rollout.reconcile(store.models, "nightly", lambda _: deployer, files, quietly)


def served(store: Store, night: int, deployer: FakeDeployer) -> Model:
    """Give a champion that serves."""
    champion(store, night)
    model = reconcile(store, deployer)
    assert model is not None
    return model


def check(store: Store, deployer: FakeDeployer, expected: int) -> None:
    """There is one champion, it serves, and it is `expected`."""
    found = [m for m in store.models.of("nightly") if m.status is ModelStatus.CHAMPION]
    assert [model.version for model in found] == [expected]
    assert deployer.serving() == expected
    assert found[0].served


def test_a_challenger_becomes_the_champion_and_serves(store: Store) -> None:
    deployer = FakeDeployer()
    served(store, 1, deployer)
    model = roll_out(store, challenger(store, 2), deployer, Killer())
    assert model.status is ModelStatus.CHAMPION
    check(store, deployer, 2)
    assert deployer.staged == {1, 2}, "the one before is kept, to go back to at once"


def test_a_failed_smoke_test_leaves_the_old_one_serving(store: Store) -> None:
    deployer = FakeDeployer(fails_try={2})
    served(store, 1, deployer)
    model = roll_out(store, challenger(store, 2), deployer, Killer())
    assert model.status is ModelStatus.REJECTED
    assert model.reason == "its smoke test failed: it answers nonsense"
    check(store, deployer, 1)
    assert deployer.served == [1], "it has not been switched at all"
    assert deployer.staged == {1}


def test_one_that_does_not_serve_is_taken_back(store: Store) -> None:
    deployer = FakeDeployer(fails_verify={2})
    served(store, 1, deployer)
    model = roll_out(store, challenger(store, 2), deployer, Killer())
    assert model.status is ModelStatus.REJECTED
    assert model.reason == "it did not serve once it was switched to: no answer"
    check(store, deployer, 1)
    assert deployer.served == [1, 2, 1]


def test_a_first_model_that_does_not_serve_leaves_no_champion(store: Store) -> None:
    deployer = FakeDeployer(fails_verify={1})
    model = roll_out(store, challenger(store, 1), deployer, Killer())
    assert model.status is ModelStatus.REJECTED
    assert store.models.champion("nightly") is None
    assert deployer.serving() is None, "nobody is answered by it"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_a_first_model_that_does_not_serve_is_withdrawn(
    empty: Path, tmp_path: Path, after: bool
) -> None:
    with copied(empty, before := tmp_path / "before.db") as store:
        model = challenger(store, 1)
    for at in itertools.count():
        with copied(before, tmp_path / f"{at}.db") as store:
            deployer, killed = FakeDeployer(fails_verify={1}), False
            try:
                roll_out(store, model, deployer, Killer(at, after))
            except Killed:
                killed = True
            assert roll_out(store, model, deployer, Killer()).status is ModelStatus.REJECTED
            reconcile(store, deployer)
            assert (deployer.serving(), deployer.staged) == (None, set())
        if not killed:
            break


class Alias:
    """A place by another name."""

    address = "also here"

    def __init__(self, place: FakeDeployer) -> None:
        self.place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self.place, name)


@dataclass
class Move:
    """Two places: the odd versions of an experiment are deployed to one, the even to the other."""

    store: Store
    places: tuple[FakeDeployer, FakeDeployer]
    said: list[str] = field(default_factory=list)
    forbidden: int | None = None

    def deployer(self, model: Model) -> FakeDeployer:
        if model.version == self.forbidden:
            raise SpecError("not allowed")
        return self.places[(model.version + 1) % 2]

    def reconcile(self) -> None:
        rollout.reconcile(self.store.models, "nightly", self.deployer, files, self.said.append)

    def roll_back(self) -> None:
        """Go back to version 1, if there is something to go back from."""
        now = self.store.models.champion("nightly")
        if now is not None and now.version == 2:
            rollout.roll_back(self.store.models, now, None, "rolled back by ada")
        elif (late := self.store.models.get("nightly", 2)).status is ModelStatus.CHALLENGER:
            self.store.models.reject(late, "its run ended")
        self.reconcile()

    def roll_out(self, night: int, killer: Killer) -> Model:
        made = self.store.models.of_run(challenger(self.store, night).run_id)
        assert made is not None
        return self.again(made, killer)

    def again(self, model: Model, killer: Killer) -> Model:
        made = self.store.models.get(model.experiment, model.version)
        return rollout.roll_out(
            killer.watch(self.store.models),
            made,
            lambda one: killer.watch(self.deployer(one)),
            files,
            self.said.append,
        )

    @property
    def serving(self) -> tuple[int | None, ...]:
        return tuple(one.serving() for one in self.places)


@pytest.fixture
def move(store: Store) -> Move:
    return Move(store, (FakeDeployer(), FakeDeployer(address="there")))


def test_a_champion_that_serves_elsewhere_leaves_nothing_behind(move: Move) -> None:
    move.roll_out(1, Killer())
    assert move.serving == (1, None)
    move.roll_out(2, Killer())
    assert move.serving == (None, 2)
    assert "version 1 is not served at here any more" in move.said
    move.roll_back()
    assert move.serving == (1, None)


def test_one_that_does_not_serve_elsewhere_leaves_the_old_place_alone(move: Move) -> None:
    move.roll_out(1, Killer())
    move.places[1].fails_verify.add(2)
    assert move.roll_out(2, Killer()).status is ModelStatus.REJECTED
    assert move.serving == (1, None)
    assert move.places[0].served == [1], "it was never touched"
    assert move.places[1].staged == set(), "nothing of it is left"


@pytest.mark.parametrize("error", [TransientError("no route to host"), KeyError("hpo_mlflow")])
def test_a_place_that_is_gone_is_named_and_left_when_it_is_back(
    move: Move, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def gone() -> int:
        raise error

    move.roll_out(1, Killer())
    with monkeypatch.context() as patched:
        patched.setattr(move.places[0], "serving", gone)
        model = move.roll_out(2, Killer())
        assert model.status is ModelStatus.CHAMPION
        assert model.served
        assert f"version 1 may still be served or staged where it was: {error}" in move.said
    move.reconcile()
    assert move.serving == (None, 2)


def test_a_place_that_nobody_may_use_any_more_cannot_save_a_bad_champion(move: Move) -> None:
    move.roll_out(1, Killer())
    move.places[1].fails_verify.add(2)
    move.forbidden = 1
    with pytest.raises(SpecError, match="not allowed"):
        move.roll_out(2, Killer())
    assert move.store.models.get("nightly", 2).status is ModelStatus.REJECTED
    assert move.serving == (1, None), "nobody meets it"
    move.forbidden = None
    move.reconcile()
    assert move.serving == (1, None)


def test_one_place_by_two_names_goes_on_serving(move: Move) -> None:
    move.places = (move.places[0], Alias(move.places[0]))
    for night in (1, 2, 3):
        move.roll_out(night, Killer())
        move.reconcile()
        assert move.serving == (night, night)


def test_what_is_down_is_withdrawn_all_the_same(move: Move) -> None:
    move.roll_out(1, Killer())
    move.places[0].down = True
    move.roll_out(2, Killer())
    move.places[0].down = False
    assert move.serving == (None, 2)


@pytest.mark.parametrize(
    ("fails", "back"),
    [(set(), False), ({2}, False), (set(), True)],
    ids=["serves", "does not serve", "is rolled back"],
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_step_of_a_move_one_place_serves(
    empty: Path, tmp_path: Path, after: bool, fails: set[int], back: bool
) -> None:
    here, there = FakeDeployer(), FakeDeployer(address="there", fails_verify=fails)
    with copied(empty, before := tmp_path / "before.db") as store:
        Move(store, (here, there)).roll_out(1, Killer())
        model = challenger(store, 2)
    for at in itertools.count():
        with copied(before, tmp_path / f"{at}.db") as store:
            move, killed = Move(store, deepcopy((here, there))), False
            try:
                move.again(model, Killer(at, after))
            except Killed:
                killed = True
            assert set(move.serving) != {None}, "somebody answers all the time"
            if back:
                move.roll_back()
                assert move.serving == (1, None)
            move.again(model, Killer())
            move.reconcile()
            assert move.serving == ((1, None) if fails or back else (None, 2))
            if not back:
                assert move.places[1].staged == (set() if fails else {2})
        if not killed:
            break


def test_a_challenger_that_comes_too_late_is_rejected(store: Store) -> None:
    deployer = FakeDeployer()
    early, late = challenger(store, 1), challenger(store, 2)
    roll_out(store, late, deployer, Killer())
    model = roll_out(store, early, deployer, Killer())
    assert model.status is ModelStatus.REJECTED
    assert "compared with no champion" in model.reason
    check(store, deployer, 2)


def test_a_champion_that_served_before_is_not_judged_by_an_outage(store: Store) -> None:
    deployer = FakeDeployer()
    served(store, 1, deployer)
    deployer.served.append(99)  # by somebody's hand
    deployer.fails_verify.add(1)
    with pytest.raises(TransientError, match="has served before, not now: no answer"):
        reconcile(store, deployer)
    deployer.fails_verify.clear()
    reconcile(store, deployer)
    check(store, deployer, 1)


SCENARIOS = {
    "good": (FakeDeployer, 2),
    "smoke test fails": (lambda: FakeDeployer(fails_try={2}), 1),
    "does not serve": (lambda: FakeDeployer(fails_verify={2}), 1),
}


@dataclass(frozen=True)
class Night:
    """A night with a champion that serves, and a challenger whose rollout is killed at a step."""

    store: Store
    deployer: FakeDeployer
    model: Model
    killed: bool


def nights(empty: Path, folder: Path, scenario: str, *, after: bool) -> Iterator[Night]:
    """Give a night per step that there is to be killed at, and one more that is not killed."""
    standing = SCENARIOS[scenario][0]()
    with copied(empty, before := folder / "before.db") as store:
        served(store, 1, standing)
        model = challenger(store, 2)
    for at in range(60):
        with copied(before, folder / f"{at}.db") as store:
            deployer, killed = deepcopy(standing), False
            try:
                roll_out(store, model, deployer, Killer(at, after))
            except Killed:
                killed = True
            champions = [m for m in store.models.of("nightly") if m.status is ModelStatus.CHAMPION]
            assert len(champions) == 1
            yield Night(store, deployer, model, killed)
        if not killed:
            assert at >= 4, "there were steps to be killed at"
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_step_a_retry_ends_it_well(
    empty: Path, tmp_path: Path, scenario: str, after: bool
) -> None:
    for night in nights(empty, tmp_path, scenario, after=after):
        roll_out(night.store, night.model, night.deployer, Killer())
        reconcile(night.store, night.deployer)
        check(night.store, night.deployer, SCENARIOS[scenario][1])
        assert not night.deployer.fails_try & set(night.deployer.served)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_step_the_next_night_heals_the_rest(
    empty: Path, tmp_path: Path, scenario: str, after: bool
) -> None:
    for night in nights(empty, tmp_path, scenario, after=after):
        found = reconcile(night.store, night.deployer)
        assert found is not None
        check(night.store, night.deployer, found.version)
        assert found.version not in night.deployer.fails_try | night.deployer.fails_verify
        roll_out(night.store, challenger(night.store, 3), night.deployer, Killer())
        check(night.store, night.deployer, 3)


def test_rolling_back_brings_the_one_before_again(store: Store) -> None:
    deployer = FakeDeployer()
    served(store, 1, deployer)
    roll_out(store, challenger(store, 2), deployer, Killer())
    now = store.models.champion("nightly")
    assert now is not None
    heir = rollout.roll_back(store.models, now, None, "rolled back by ada")
    assert (heir.version, heir.reason) == (1, "in the place of version 2: rolled back by ada")
    reconcile(store, deployer)
    check(store, deployer, 1)
    with pytest.raises(Superseded, match="version 1 is the first champion"):
        rollout.roll_back(store.models, heir, None, "again")


def test_rolling_back_goes_to_retired_ones_only(store: Store) -> None:
    deployer = FakeDeployer()
    now = served(store, 1, deployer)
    store.models.reject(challenger(store, 2), "worse.")
    with pytest.raises(Superseded, match="version 2 is rejected; only retired ones come back"):
        rollout.roll_back(store.models, now, 2, "why not")


def test_versions_that_nobody_goes_back_to_are_dropped(store: Store) -> None:
    deployer = FakeDeployer()
    served(store, 1, deployer)
    for night in (2, 3, 4):
        roll_out(store, challenger(store, night), deployer, Killer())
    assert deployer.staged == {3, 4}
