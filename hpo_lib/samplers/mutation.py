"""One change of a configuration, or of the architecture that a list of blocks describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, cast

from hpo_lib.core.lists import length_of
from hpo_lib.core.space import Space
from hpo_lib.core.trial import Params, Value
from hpo_lib.core.values import same

#: The standard deviation of a number's step, as a share of its range.
_STEP = 0.2


def mutated(space: Space, parent: Params, draw: Random) -> Params:
    """Give another value to one parameter, or add, remove or change one block of a list.

    Each kind of change of each list is as likely as that of a parameter outside of lists. What a
    change makes active is drawn at random.
    """
    free = [name for name in parent if space.parameters[name].size != 1]
    inside = {name: [one for one in free if one.startswith(f"{name}.")] for name in space.lists}
    outside = [name for name in free if not any(name in own for own in inside.values())]
    ways: list[Callable[[], Params]] = [
        partial(_changed, space, parent, [n], draw) for n in outside
    ]
    for name, own in inside.items():
        blocks = [one for one in own if one != length_of(name)]
        ways += [partial(_changed, space, parent, blocks, draw)] if blocks else []
        ways += [
            partial(change, space, parent, name, draw) for change in _of_length(space, parent, name)
        ]
    return draw.choice(ways)() if ways else parent


def _changed(space: Space, parent: Params, names: Sequence[str], draw: Random) -> Params:
    name = draw.choice(names)
    return filled(space, {**parent, name: moved(space.parameters[name], parent[name], draw)}, draw)


def _of_length(space: Space, parent: Params, name: str) -> list[Callable[..., Params]]:
    """Give what the length of a list allows: to add a block, to remove one."""
    length: Any = parent.get(length_of(name))
    if length is None:
        return []
    ends = space.lists[name].length
    return [_added] * (length < ends.high) + [_removed] * (length > ends.low)


def _added(space: Space, parent: Params, name: str, draw: Random) -> Params:
    """Put a random block somewhere into a list."""
    blocks = _blocks(space, parent, name)
    blocks.insert(draw.randrange(len(blocks) + 1), {})
    return _with_blocks(space, parent, name, blocks, draw)


def _removed(space: Space, parent: Params, name: str, draw: Random) -> Params:
    """Take any block out of a list."""
    blocks = _blocks(space, parent, name)
    blocks.pop(draw.randrange(len(blocks)))
    return _with_blocks(space, parent, name, blocks, draw)


def _blocks(space: Space, parent: Params, name: str) -> list[Any]:
    return list(cast("list[Any]", space.nested(parent)[name]))


def _with_blocks(
    space: Space, parent: Params, name: str, blocks: list[Any], draw: Random
) -> Params:
    return filled(space, space.flat({**space.nested(parent), name: blocks}), draw)


def filled(space: Space, some: Params, draw: Random) -> Params:
    """Drop what is inactive, and draw what is active and missing."""
    params: dict[str, Value] = {}
    for name, parameter in space.parameters.items():
        if space.is_active(name, params):
            anew = parameter.from_unit(draw.random())
            params[name] = some.get(name, anew)
    return params


def moved(parameter: Any, value: Value, draw: Random) -> Any:
    """Move a number to another one near it, a choice to any other."""
    if parameter.unordered:
        return parameter.at(_other(parameter.size, parameter.index(value), draw))
    step = draw.gauss(0.0, _STEP)
    place = parameter.to_unit(value) + step
    found = parameter.from_unit(_folded(place))
    if same(found, value) and parameter.size is not None:
        return parameter.at(_neighbour(parameter.size, parameter.index(value), up=step > 0))
    return found


def _other(size: int, index: int, draw: Random) -> int:
    found = draw.randrange(size - 1)
    return found + 1 if found >= index else found


def _neighbour(size: int, index: int, *, up: bool) -> int:
    wanted = index + 1 if up else index - 1
    return wanted if 0 <= wanted < size else 2 * index - wanted


def _folded(place: float) -> float:
    """Reflect a place at the ends of [0, 1]."""
    place %= 2.0
    return 2.0 - place if place > 1.0 else place
