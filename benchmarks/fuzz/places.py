"""The oracle's part for programs on a worker: where they run, by which Python, in which pool.

It looks at what the guard would be told, follows links by itself, and shares no code with the
checks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any

from hpo_lib.spec import Spec

#: What the installation lists of Airflow's own places.
AIRFLOW: dict[str, Any] = {
    "pools": ["trials", "gpu-*"],
    "queues": ["gpu"],
    "executors": ["LocalExecutor"],
    "max_priority": 5,
}
#: Variables that make a program load other code than its own.
LOADERS = ("LD_*", "BASH_ENV", "GCONV_PATH", "GLIBC_TUNABLES", "PYTHONHOME", "PYTHONSTARTUP")


def made_in(folder: Path) -> Mapping[str, str]:
    """Make a worker's folders, with links that lead out of them; give what names the right ones."""
    for one in (
        "work/sub",
        "roots/venv/bin",
        "roots/project",
        "roots/odd",
        "outside/bin",
        "roots-not",
    ):
        (folder / one).mkdir(parents=True)
    for link, to in (
        ("work/out", "outside"),
        ("work/sub/up", ".."),
        ("roots/project/out", "outside"),
        ("roots/linked", "outside"),
        ("roots/odd/bin", "outside/bin"),
        ("roots/loop", "roots/loop"),
    ):
        (folder / link).symlink_to(to if to == ".." else folder / to)
    (folder / "roots/venv/bin/python").symlink_to("/usr/bin/env")
    (folder / "outside/bin/python").symlink_to("/usr/bin/env")
    names = {"HPO_TRIAL_DIR": "work", "HPO_TRIAL_ROOTS": "roots", "HPO_TRIAL_PATH": "work/bin"}
    return {name: str(folder / one) for name, one in names.items()}


def of_airflow(spec: Spec) -> Iterator[str]:
    """Say which of Airflow's places a file asks for that no list has."""
    asked = spec.airflow
    if asked is None:
        return
    lists = {"pools": asked.pool, "queues": asked.queue, "executors": asked.executor}
    for name, one in lists.items():
        if one is not None and not any(fnmatchcase(one, listed) for listed in AIRFLOW[name]):
            yield f"airflow: {one!r} is in no list of {name}"
    if (asked.priority or 1) > AIRFLOW["max_priority"]:
        yield f"airflow.priority: {asked.priority}"


def of_a_process(
    spec: Spec, sent: Mapping[str, Any], variables: Mapping[str, str]
) -> Iterator[str]:
    """Say what a program would be given that neither the installation nor its own `env` names."""
    roots = [os.path.realpath(variables[one]) for one in ("HPO_TRIAL_DIR", "HPO_TRIAL_ROOTS")]
    if not _below(sent["cwd"], roots):
        yield f"cwd {sent['cwd']!r}"
    everyones = [variables["HPO_TRIAL_PATH"], *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    for one in [] if "PATH" in spec.trial.env else sent["env"]["PATH"].split(os.pathsep):
        if one not in everyones and not _below(one, roots):
            yield f"PATH has {one!r}"
    loaders = (one for one in sent["env"] if any(fnmatchcase(one, name) for name in LOADERS))
    yield from (f"env: {one}" for one in loaders if one not in os.environ)


def _below(path: str, roots: list[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(f"{root}/") for root in roots)


_FOLDERS = (
    *("", ".", "sub", "sub/up", "out", "sub/../..", "../outside", "../roots", "../roots-not"),
    *("../roots/project", "../roots/project/out", "../roots/linked", "../roots/loop", "/", "/etc"),
    *(
        "{}/roots/project",
        "{}/outside",
        "{}/roots/../outside",
        "{}/roots-not",
        "{}/roots/venv",
        "../roots/odd",
    ),
    *("~", "~/x", "${params.x}", "sub/${params.x}", "${output}", "a\0b", "sub\n", " ", "//", "..."),
    *("sub/" * 2_000, "../" * 40 + "etc", "/proc/self/root", "/proc/self/cwd"),
)


def conf(random: Random, folder: Path) -> dict[str, Any]:
    """Make a conf that asks for places, some of which are listed."""
    trial: dict[str, Any] = {"command": [random.choice(("python", "python3", "true")), "train.py"]}
    for name, part in (("dir", ""), ("python", "/bin/python"), ("venv", "")):
        if random.random() < 0.4:
            trial[name] = random.choice(_FOLDERS).replace("{}", str(folder)) + part
            if random.random() < 0.1:
                trial[name] = random.choice((None, 1, [], {}, "python3", True))
    if random.random() < 0.2:
        name = random.choice(("LD_PRELOAD", *LOADERS[1:], "PATH", "A"))
        trial["env"] = {name: random.choice(("1", f"{folder}/outside/bin", "${params.x}"))}
    made: dict[str, Any] = {
        "name": "places",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "categorical", "choices": ["../..", "/etc", "sub", "a"]}},
        "limits": {"max_trials": 2},
        "trial": trial,
    }
    if random.random() < 0.3:
        made["airflow"] = _airflow(random)
    if random.random() < 0.2:
        folder_asked = random.choice(_FOLDERS).replace("{}", str(folder))
        made["final"] = {"trial": {random.choice(("dir", "python", "venv")): folder_asked}}
    return made


def _airflow(random: Random) -> dict[str, Any]:
    choices: dict[str, tuple[Any, ...]] = {
        "pool": ("trials", "gpu-1", "gpu", "default_pool", "*", ""),
        "queue": ("gpu", "prod", "gp[u]"),
        "executor": ("LocalExecutor", "CeleryExecutor", "Local*"),
        "priority": (1, 5, 6, 10**7, 0, "5"),
        "owner": ("ml", "", "x" * 200, "<b>"),
        "deadline": ("1h", "0s", "-1h", 3600),
    }
    asked = random.sample(sorted(choices), random.randrange(0, 4))
    return {name: random.choice(choices[name]) for name in asked}
