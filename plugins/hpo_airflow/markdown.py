"""Texts of others in Markdown: nothing in them makes a link, an image or a block of its own."""

from __future__ import annotations

import re

from hpo_lib.words import cut

_SUMMARY = 200


def first_line(text: str) -> str:
    """Give the first line of a text, short."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return cut(line, _SUMMARY)


def listed(error: str) -> str:
    """Write what is wrong as a Markdown list, a problem an item."""
    return "\n".join(f"* {inline(line)}" for line in error.splitlines() if line.strip())


def inline(text: str) -> str:
    """Write a text as Markdown code within a line."""
    return f"`{text.replace('`', chr(39))}`"


def fenced(text: str, language: str = "") -> str:
    """Write a text as a block of Markdown code, with a fence that nothing in it can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def prose(text: str) -> str:
    """Write sentences for Markdown, in which names of others make no link, image or markup."""
    return re.sub(r"[][<>*`\\]", r"\\\g<0>", text)
