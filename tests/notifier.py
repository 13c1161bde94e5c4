"""A notifier that appends to a file what it was told, as mail or chat would be sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier


class FileNotifier(BaseNotifier):
    """Writes `text`, a template, as a line of `file`."""

    template_fields: Sequence[str] = ("text",)

    def __init__(self, file: str, text: str = "{{ hpo.event }}|{{ hpo.subject }}") -> None:
        """Take what `options` say."""
        super().__init__()
        self.file, self.text = file, text

    def notify(self, context: Any) -> None:
        """Append the line."""
        with Path(self.file).open("a") as file:
            file.write(f"{self.text}\n")
