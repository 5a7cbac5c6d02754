"""A turn with a tool call whose connection is cut off at a byte: a sample, of which `nox -s sweep -- bytes` runs all."""

from __future__ import annotations

import pytest
from byte_sweep import DIRECTIONS, WIRES, Case, is_installed, lengths, run_case

SAMPLES = 4


@pytest.mark.parametrize(
    ("fault", "retries"),
    [("reset", True), ("reset", False), ("black_hole", True), ("black_hole", False), ("corrupt", True)],
)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("wire", WIRES)
def test_a_turn_survives_a_cut_at_any_byte(wire, direction, fault, retries) -> None:
    if not is_installed(wire):
        pytest.skip(f"{wire} is not installed")
    length = lengths(wire)[direction]
    # Evenly, and at both ends.
    for byte in {length * number // (SAMPLES - 1) for number in range(SAMPLES)}:
        case = Case(wire, direction, fault, byte, retries)
        ended, broken = run_case(case)

        assert [] == broken, case
        assert "a result" == ended or not retries or "corrupt" == fault
