"""Writes what the stack's `.env` lacks and leaves what is there. It prints no secret.

    python3 docker/stack/environment.py .env CPUS MEMORY_BYTES

CPUS and MEMORY_BYTES are what the Docker engine has. Needs the standard library only.
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_HEAD = """\
# Of docker-compose.yaml: see docs/stack.md. `make up-stack` adds what is missing and changes
# nothing. It holds every password and key: keep a copy where your backups are.
"""
_IMAGES = Path(__file__).parents[1] / "images.txt"
_SHARE = 0.75  #: of the engine's memory, for tasks and local trials


def settings(cpus: int, memory_bytes: int) -> dict[str, str]:
    """Give the settings that an operator may want to change."""
    return {
        "HPO_EXECUTOR": "LocalExecutor",
        "COMPOSE_PROFILES": "${HPO_EXECUTOR},s3",
        "HPO_AIRFLOW_IMAGE": "hpo-airflow-local",
        "HPO_POSTGRES_IMAGE": image("postgres"),
        "HPO_REDIS_IMAGE": image("redis"),
        "HPO_PORT": str(free_port(8080)),
        "HPO_S3_PORT": str(free_port(9000)),
        "HPO_PARALLELISM": "8",
        "HPO_WORKERS": "1",
        "HPO_TASKS_CPUS": str(cpus),
        "HPO_TASKS_MEMORY": f"{int(memory_bytes * _SHARE) >> 20}m",
    }


def image(name: str) -> str:
    """Give an image that is not ours, by its digest if `make lock-images` has noted it."""
    lines = _IMAGES.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)[name]


def free_port(first: int) -> int:
    """Give the first port from this one on that nobody takes on this machine's loopback."""
    for port in range(first, first + 1_000):
        with socket.socket() as one, suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
            return port
    sys.exit(f"no port from {first} to {first + 999} is free on 127.0.0.1")


def passwords() -> dict[str, str]:
    """Make new secrets, of characters that are safe in URLs, JSON and configuration files."""
    return {
        "HPO_ADMIN_PASSWORD": secrets.token_urlsafe(18),
        "HPO_POSTGRES_PASSWORD": secrets.token_urlsafe(32),
        "HPO_AIRFLOW_PASSWORD": secrets.token_urlsafe(32),
        "HPO_STORE_PASSWORD": secrets.token_urlsafe(32),
        "HPO_REDIS_PASSWORD": secrets.token_urlsafe(32),
        "HPO_S3_ACCESS_KEY": secrets.token_hex(10),
        "HPO_S3_SECRET_KEY": secrets.token_urlsafe(32),
        "HPO_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "HPO_JWT_SECRET": secrets.token_urlsafe(64),
        "HPO_API_SECRET": secrets.token_urlsafe(32),
    }


def completed(text: str, wanted: dict[str, str]) -> str:
    """Add the lines of those names that a file does not set."""
    there = {line.partition("=")[0].strip() for line in text.splitlines()}
    missing = [f"{name}={value}" for name, value in wanted.items() if name not in there]
    if not missing:
        return text
    before = text if not text or text.endswith("\n") else f"{text}\n"
    return before + "".join(f"{line}\n" for line in missing)


def empty(text: str, names: Iterable[str]) -> list[str]:
    """Give those names that a file sets to nothing."""
    given = dict(line.partition("=")[::2] for line in text.splitlines())
    return [name for name in names if name in given and not given[name].strip()]


def write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all of it or nothing."""
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.replace(path)


def main(words: list[str]) -> int:
    """Complete the file; a file that lacks nothing is not touched."""
    if len(words) != 3:
        sys.exit(f"usage: environment.py FILE CPUS MEMORY_BYTES, got {' '.join(words)}")
    path, cpus, memory_bytes = Path(words[0]), int(words[1]), int(words[2])
    found, secret = path.read_text() if path.exists() else _HEAD, passwords()
    if missing := empty(found, secret):
        sys.exit(
            f"{path}: {missing[0]} is empty: give it its value, or delete the line for a new one"
        )
    text = completed(found, settings(cpus, memory_bytes) | secret)
    if not path.exists() or text != found:
        write(path, text)
        sys.stdout.write(f"wrote {path}: settings, passwords and keys, for its owner only\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
