"""Let a tool and a command say a gigabyte, and look at memory, at the disk, and at whether the producer has gone.

    python scripts/sweep_outputs.py                       # 1 GB of output, 256 MiB of it kept
    python scripts/sweep_outputs.py --bytes 50000000 --keep 16777216

Each case runs in a process of its own, whose peak memory the kernel keeps count of (``VmHWM``, set back right before
the call). What must hold: the peak grows by at most 32 MiB; the artifact holds its share on disk, to the byte; and the
producer is gone within two seconds of having said more than is kept. In a last case nothing stops the producer: all that
it says is read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from triplane.core.outcome import ToolCall
from triplane.ledger import FileArtifacts
from triplane.tools import Setting, Workbench, by_name, process_tool, run_calls, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from triplane.tools import Tool

CAP = 16 * 1024
ROOM = 32 * 2**20
PATIENCE = 2.0
LINE = b"0123456789abcde\n"
CASES = ("stream", "process", "all of it")


class Watch:
    """An observer that keeps nothing but when `full` bytes had come."""

    def queued(self, call: Any, tool: Any) -> None: ...
    async def starting(self, call: Any, tool: Any, idempotency_key: str) -> None:
        del call, tool, idempotency_key
        await trio.lowlevel.checkpoint()

    def progress(self, call: Any, progress: Any, bytes_produced: int, skipped: int) -> None: ...
    def finished(self, call: Any, outcome: Any) -> None: ...
    def dropped(self, call: Any, seconds: float) -> None: ...


def status(word: str) -> int:
    """A size of this process in bytes, from the kernel."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(word):
            return int(line.split()[1]) * 1024
    raise LookupError(word)


def make(case: str, size: int, keep: int, marks: dict[str, Any]) -> Tool:
    """The tool of a case."""
    limits: Any = {"max_output": CAP, "max_artifact": keep, "timeout": 600}
    block = LINE * 4096
    count = size // len(block)

    @tool(name="t", **limits)
    async def stream() -> AsyncIterator[bytes]:
        """Say a lot."""
        try:
            for number in range(count):
                if number * len(block) > keep:
                    marks.setdefault("full_at", time.perf_counter())
                yield block
        finally:
            marks["gone_at"] = time.perf_counter()

    @process_tool(name="t", **limits)
    def process() -> list[str]:
        """Say a lot."""
        code = f"echo $$ > {marks['folder']}/pid; exec head -c {count * len(block)} /dev/zero"
        return ["sh", "-c", f"{code} | tr '\\0' x"]

    return stream if case != "process" else process


def gone(folder: str) -> bool:
    """Whether the command's group has nobody in it any more, but for zombies, which wait for somebody to look."""
    try:
        group = Path(folder, "pid").read_text().strip()
    except FileNotFoundError:
        return True
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, of_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if of_group == group and state != "Z":
                return False
    return True


async def run(case: str, size: int, keep: int) -> dict[str, Any]:
    """One case: its numbers."""
    with tempfile.TemporaryDirectory() as folder:
        marks: dict[str, Any] = {"folder": folder}
        if case == "all of it":
            keep = 2 * size
        store = FileArtifacts(Path(folder) / "artifacts")
        made = make(case, size, keep, marks)
        call = ToolCall("c", "t", "{}")

        async def once(tool: Tool) -> Any:
            setting = Setting(run_id="r", engine=None, observer=Watch(), workbench=Workbench(artifacts=store))
            (outcome,) = await run_calls([call], by_name([tool]), setting)
            return outcome

        # Whatever is imported and made on first use is there before it counts.
        await once(make("process", 10 * CAP, keep, {"folder": folder}))
        Path("/proc/self/clear_refs").write_text("5")  # noqa: ASYNC240  # no file on a disk
        before = status("VmRSS")
        began = time.perf_counter()
        outcome = await once(made)
        ended = time.perf_counter()
        grown = status("VmHWM") - before
        while not gone(folder):  # noqa: ASYNC110  # no event comes from there
            await trio.sleep(0.01)
        left = time.perf_counter() - ended
        artifact = store.find("r", outcome.artifact or "")
        kept = 0 if artifact is None else artifact.size
        wanted = min(keep, outcome.bytes_produced)
        wait = (marks["gone_at"] - marks["full_at"]) if "full_at" in marks else left
        return {
            "case": case,
            "produced": outcome.bytes_produced,
            "kept": kept,
            "model": outcome.bytes_kept,
            "grown": grown,
            "gone": wait,
            "seconds": ended - began,
            "held": outcome.kind == "truncated"
            and grown <= ROOM
            and kept == wanted
            and outcome.bytes_kept <= CAP
            and wait <= PATIENCE
            and gone(folder),
        }


def main() -> int:
    """Run each case, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--keep", type=int, default=256 * 2**20)
    parser.add_argument("--case", choices=CASES, help="one of them, in this process; prints JSON")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(trio.run(run, options.case, options.bytes, options.keep)))
        return 0
    held = True
    sizes = ("--bytes", str(options.bytes), "--keep", str(options.keep))
    for case in CASES:
        done = subprocess.run(
            [sys.executable, __file__, "--case", case, *sizes], stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(done.stdout)
        held = held and found["held"]
        print(
            f"{case:10} {found['produced']:>14,} bytes produced, {found['kept']:>13,} on disk,"
            f" {found['model']:,} for the model; memory +{found['grown'] / 2**20:.1f} MiB;"
            f" the producer gone after {found['gone']:.3f} s; {found['seconds']:.1f} s in all"
            f"{'' if found['held'] else '   DOES NOT HOLD'}",
            flush=True,
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
