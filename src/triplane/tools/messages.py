"""What an exception of somebody else's says, whatever its class makes of being asked."""

from __future__ import annotations


def message_of(error: BaseException) -> str:
    """The message of `error`; of one whose own ``__str__`` fails, a few words that say so. Not a checkpoint."""
    try:
        # Of a class of its own, a text may fail when it is only looked at.
        return str.__str__(str(error))
    except Exception:  # noqa: BLE001  (a message that cannot be made must not hide the error)
        return "(its message cannot be shown)"
