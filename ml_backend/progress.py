"""How stages report progress: a callback of two numbers, so that no stage knows a terminal or a panel."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``; may raise `ml_backend.errors.Cancelled`."""


def silent(done: int, total: int) -> None:
    """Report to nobody."""
