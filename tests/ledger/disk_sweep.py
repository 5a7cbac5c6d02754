"""Let the n-th operation on a ledger's files fail, and look at what an engine makes of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs

HERE = Path(__file__).parent


@attrs.frozen
class Fault:
    """What fails.

    Attributes:
        kind: ``"write"``, ``"sync"`` or ``"open"``.
        number: Which one, counted from 1; 0 for none.
        error: What the system reports.
        stays: Whether all later ones fail too, until the first run has ended.
        sync: The ledger's mode.
    """

    kind: str
    number: int
    error: int = errno.EIO
    stays: bool = False
    sync: str = "full"


def compiled(folder: Path) -> Path | None:
    """The disk that fails, None where it cannot be made: it needs a C compiler, and a system that preloads."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "faulty_disk.so"
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "faulty_disk.c", "-ldl"],
        capture_output=True,
        check=False,
    )
    return library if made.returncode == 0 else None


def tried(library: Path, folder: Path, fault: Fault) -> dict[str, object]:
    """What `faulty_run` tells of two runs with this fault."""
    faults = {"FAULT_KIND": fault.kind, "FAULT_N": str(fault.number), "FAULT_ERRNO": str(fault.error)}
    if fault.stays:
        faults["FAULT_ALL"] = "1"
    ended = subprocess.run(
        [sys.executable, str(HERE / "faulty_run.py"), str(folder), fault.sync],
        env={**os.environ, **faults, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ended.returncode or ended.stderr:
        raise AssertionError(f"{fault}: exit {ended.returncode}\n{ended.stderr}")
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def wrong(found: dict[str, object]) -> list[str]:
    """What must not have happened."""
    effects, errors = found["effects"], found["errors"]
    assert isinstance(effects, list)
    assert isinstance(errors, list)
    said = []
    if len(set(effects)) < len(effects):
        said.append("an effect happened twice")
    for name in effects:
        seen = found[name]
        assert isinstance(seen, list)
        if name not in seen:
            said.append(f"the effect {name} happened without its record")
    if found["damage"]:
        said.append(f"the file is damaged: {found['damage']}")
    if len(errors) > 1:
        said.append("more than one error")
    said += [f"not the error that was due: {each}" for each in errors if each[0] != "LedgerFailed"]
    if found["opened"] and "second" not in effects:
        said.append("the engine is not usable afterwards")
    if not errors and effects != ["first", "second"]:
        said.append("something is missing, and nobody was told")
    return said
