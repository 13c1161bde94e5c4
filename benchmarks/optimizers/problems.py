"""All problems by name, in two halves: one to develop a sampler with, one to report on."""

from __future__ import annotations

from benchmarks.optimizers import report, tune
from benchmarks.optimizers.problem import Problem

PROBLEMS: dict[str, Problem] = {
    problem.name: problem for problem in (*tune.PROBLEMS, *report.PROBLEMS)
}
TUNE: tuple[str, ...] = tuple(problem.name for problem in tune.PROBLEMS)
REPORT: tuple[str, ...] = tuple(problem.name for problem in report.PROBLEMS)
