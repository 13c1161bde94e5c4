"""The program of the trials: quick, the same for the same parameters, and it tells what it does.

It is handed to Python as text, so that it runs in a container too; it needs nothing but Python.
Where the disk is full it waits: a program that gave up would have failed by itself.
"""

import os
import sys
import time
from pathlib import Path


def loss(x: float, seed: int) -> tuple[float, float]:
    """Give the loss, and the one that the gate looks at, to which the seed adds little noise."""
    return 10 - x, 10 - x + (seed % 7) / 1000


def insist(write: object, *words: object) -> None:
    """Write until there is room for it."""
    while True:
        try:
            write(*words)
        except OSError:
            time.sleep(0.2)
        else:
            return


def say(line: str) -> None:
    insist(os.write, 1, f"{line}\n".encode())


def main(x: float, seconds: float) -> None:
    """Train for so many seconds."""
    env = os.environ
    here = f"{env['HPO_TRIAL']} {env['HPO_ATTEMPT']} {env.get('HPO_RESOURCE', '-')}"
    say(f"begin {here}")
    for name, value in env.items():
        say(f"told {name} {value}")
    time.sleep(seconds)
    if env["HPO_PHASE"] == "final":
        model = Path(env["HPO_OUTPUT"], "model")
        insist(lambda: model.mkdir(parents=True, exist_ok=True))
        insist((model / "weights").write_text, str(x))
    found, tested = loss(x, int(env["HPO_SEED"]))
    say(f"loss={found} test_loss={tested}")
    say(f"end {here}")
    os._exit(0)


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
