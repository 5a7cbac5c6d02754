"""Sizes, times and counts as people read them."""

from __future__ import annotations

_UNITS = ("kB", "MB", "GB", "TB")


def size(count: int) -> str:
    """Bytes in decimal units, with two or three digits: ``"999 B"``, ``"1.2 kB"``, ``"120 kB"``."""
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    power = 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value /= 1000
        power += 1
    return f"{value:.{1 if value < 9.95 else 0}f} {_UNITS[power]}"


def seconds(value: float) -> str:
    """A duration: ``"12 ms"``, ``"1.23 s"``, ``"12.3 s"``, ``"2 min 03 s"``."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02} s"


def clock(value: float) -> str:
    """A duration that is still growing, in few characters that do not jump: ``"12.3 s"``, ``"2:03"``, ``"1:40:00"``."""
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, what: str, many: str | None = None) -> str:
    """``"1 run"``, ``"2 runs"``, ``"1,000 runs"``."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"
