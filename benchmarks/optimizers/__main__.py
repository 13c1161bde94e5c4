"""Compare samplers with other optimizers: `python -m benchmarks.optimizers --help`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.optimizers import harness, session, table

RESULTS = session.ROOT / ".bench" / "optimizers.jsonl"
OURS = ("ours:bayesian", "ours:random", "ours:sobol")
FAST_PEERS = (*OURS, "optuna-tpe")
FAST_PROBLEMS = ("tree_diabetes", "dummies_diabetes", "noisy_friedman")


def main() -> None:
    """Run what is missing and print the tables."""
    arguments = parser().parse_args()
    os.environ.update(dict.fromkeys(session.THREADS, "1"))  # before numpy is imported
    plan = planned(arguments)
    if arguments.results == RESULTS:
        harness.begin(RESULTS)
    results = harness.Results.read(arguments.results, plan.problems)
    if not arguments.table_only:
        harness.run_missing(
            plan, results, jobs=arguments.jobs, retry=arguments.retry, say=harness.say
        )
    print(table.tables(plan, results))


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    result = argparse.ArgumentParser(prog="python -m benchmarks.optimizers", description=__doc__)
    add = result.add_argument
    add(
        "--peers",
        metavar="A,B",
        help=f"ours:SAMPLER, {', '.join(session.PEERS)} [all that are installed]; the first of "
        "ours that is not random or sobol is compared with each",
    )
    add("--problems", metavar="A,B", help="tune, report, all, or names [report]")
    add("--protocol", metavar="A,B", help="BATCHxROUNDS [8x16,1x40,32x4]")
    add("--seeds", type=int, metavar="N", help="[3]")
    add(
        "--fast",
        action="store_true",
        help="under a minute: ours, random, sobol and Optuna's TPE if installed, 3 problems, 8x6",
    )
    add("--results", type=Path, default=RESULTS, metavar="FILE", help="[.bench/optimizers.jsonl]")
    add("--table-only", action="store_true", help="run nothing")
    add("--retry", action="store_true", help="do runs again that broke off")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time [%(default)s]")
    add("--timeout", type=float, default=3_600.0, metavar="S", help="of a run [%(default)s]")
    return result


def planned(arguments: argparse.Namespace) -> harness.Plan:
    """Make the plan; what there is no such thing as ends the program."""
    from benchmarks.optimizers import problems  # numpy comes with it

    halves = {"tune": problems.TUNE, "report": problems.REPORT, "all": tuple(problems.PROBLEMS)}
    fast = arguments.fast
    asked = arguments.problems or (",".join(FAST_PROBLEMS) if fast else "report")
    parts = (halves.get(part, (part,)) for part in asked.split(","))
    names = tuple(dict.fromkeys(name for part in parts for name in part))
    peers = tuple((arguments.peers or ",".join(usual_peers(fast=fast))).split(","))
    protocols = (arguments.protocol or ("8x6" if fast else "8x16,1x40,32x4")).split(",")
    for name in names:
        if name not in problems.PROBLEMS:
            raise SystemExit(f"unknown problem {name!r}; known: {', '.join(problems.PROBLEMS)}")
    for peer in peers:
        if not session.is_known(peer):
            raise SystemExit(f"unknown peer {peer!r}; known: {', '.join((*OURS, *session.PEERS))}")
        if not session.python_of(peer).exists():
            raise SystemExit(f"{peer} is not installed; make bench-optimizers installs all")
    try:
        read = tuple(map(session.Protocol.of, protocols))
    except ValueError as error:
        raise SystemExit(str(error)) from None
    seeds = arguments.seeds or (1 if fast else 3)
    return harness.Plan(peers, names, read, seeds, arguments.timeout)


def usual_peers(*, fast: bool) -> list[str]:
    """Give ours and what is installed."""
    wanted = FAST_PEERS if fast else (*OURS, *session.PEERS)
    return [peer for peer in wanted if session.python_of(peer).exists()]


if __name__ == "__main__":
    main()
