"""What an attempt has used, as far as its backend can say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt has used: the most memory at once, and CPU in seconds; 0 if not known."""

    memory_bytes: int = 0
    cpu_s: float = 0.0

    def most(self, other: Usage) -> Usage:
        """Give the larger of both."""
        memory = max(self.memory_bytes, other.memory_bytes)
        return Usage(memory, max(self.cpu_s, other.cpu_s))
