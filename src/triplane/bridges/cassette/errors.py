"""What can go wrong with a cassette."""

from __future__ import annotations

__all__ = ["CassetteError"]


class CassetteError(Exception):
    """A cassette cannot be read, recorded or replayed; the message says what to do."""
