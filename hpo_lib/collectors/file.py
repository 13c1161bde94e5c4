"""Metrics from a file in which a trial writes lines as it might have printed them."""

from __future__ import annotations

from hpo_lib.collectors import Source
from hpo_lib.collectors.stdout import LineCollector
from hpo_lib.files.places import Place, below
from hpo_lib.spec.sections import Metrics

_DEFAULT_PATH = "metrics.log"


class FileCollector(LineCollector):
    """Reads `path`, relative to the attempt's output folder, by the rules of `stdout`."""

    def __init__(self, settings: Metrics) -> None:
        """Take path, format and definitions, valid by the spec."""
        super().__init__(settings)
        self._path = settings.path or _DEFAULT_PATH

    def place(self, source: Source) -> Place:
        """Give the file."""
        return below(source.output, self._path)
