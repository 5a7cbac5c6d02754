"""MCP servers that are processes, and what they do that they should not."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from tool_bench import Recorder, call, is_gone, run_all, run_one, until

from triplane.core.errors import ConfigError, McpFailed
from triplane.tools import Tool, ToolFailedError, mcp, process

PLAIN = [sys.executable, "-S", "-E", str(Path(__file__).with_name("mcp_plain.py"))]


def plain(*how: str, **more: Any) -> mcp.Stdio:
    return mcp.Stdio([*PLAIN, *how], **more)


def by_name(server: Any) -> dict[str, Tool]:
    return {tool.name: tool for tool in server.tools}


def group_of() -> int:
    """The process group of an open server."""
    (pid,) = started()
    return pid


def started() -> list[int]:
    """The servers that this process has started, as long as they are there."""
    return [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and parent_of(entry) == os.getpid() and b"mcp_plain.py" in command_of(entry)
    ]


def parent_of(pid: str) -> int:
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command_of(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.05)


async def test_its_tools_are_tools() -> None:
    async with mcp.open_mcp(
        plain(), name="plain", prefix="p_", allow=["text", "mu*", "hang"], deny=["h*"]
    ) as server:
        tools = by_name(server)
        assert "<McpServer plain: 2 tools>" == repr(server)
        assert "Be kind." == server.instructions
        outcome = await run_one(tools["p_text"], number=1)
        group = group_of()

    assert ["p_text", "p_much"] == list(tools)
    assert ("read", "idempotent") == (tools["p_text"].effect, tools["p_much"].effect)
    assert "Does text." == tools["p_text"].definition()["description"]
    assert (outcome.kind, outcome.output) == ("ok", "fine")
    assert is_gone(group)


async def test_options() -> None:
    overrides: dict[str, Any] = {"t*": {"timeout": 5, "effect": "write"}, "text": {"needs_approval": True}}
    async with mcp.open_mcp(plain("paged"), overrides=overrides, max_output=100, timeout=7) as server:
        tools = by_name(server)

    assert 18 == len(tools), "the second page as well"
    assert (5.0, "write", True, 100) == tuple(
        getattr(tools["text"], option) for option in ("timeout", "effect", "needs_approval", "max_output")
    )
    assert (7.0, "idempotent", False) == (
        tools["much"].timeout,
        tools["much"].effect,
        tools["much"].needs_approval,
    )


async def test_what_is_asked_for_in_vain() -> None:
    with pytest.raises(ConfigError, match="has no tool 'texts'; its tools are: bytes, change"):
        async with mcp.open_mcp(plain(), allow=["texts"]):
            raise AssertionError
    # A tool that was to be kept from the model is not there under that name.
    with pytest.raises(ConfigError, match=r"has no tool 'delete_\*'; its tools are: bytes, change"):
        async with mcp.open_mcp(plain(), deny=["text", "delete_*"]):
            raise AssertionError
    with pytest.raises(ConfigError, match="'raise' has retries=1 with effect='write'"):
        async with mcp.open_mcp(plain(), retries=1):
            raise AssertionError


@pytest.mark.parametrize(
    "options",
    [
        {"allow": "text"}, {"prefix": "a b"}, {"start_timeout": 0}, {"close_timeout": -1}, {"restarts": True},
        {"timeout": -1}, {"overrides": {"x": {"nonsense": 1}}}, {"start_timeout": "3"}, {"mode": "newest"},
    ],
)  # fmt: skip
async def test_options_that_make_no_sense(options: Any) -> None:
    with pytest.raises(ConfigError):
        async with mcp.open_mcp(mcp.Stdio(["/nothing/there"]), **options):
            raise AssertionError


async def test_what_is_no_server_at_all() -> None:
    with pytest.raises(ConfigError, match="not str"):
        async with mcp.open_mcp("uvx server"):  # type: ignore[arg-type]
            raise AssertionError


async def test_a_server_that_reads_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "AFTER_KILL", 0.1)
    async with mcp.open_mcp(plain(), name="plain", close_timeout=0.05) as server:
        tools = by_name(server)
        await run_one(tools["shut"])
        outcome = await run_one(tools["text"])
        assert "fine" == (await run_one(tools["text"])).output

    assert "The tool failed. McpFailed: the MCP server 'plain' closed its stdin" == outcome.output


async def test_a_call_that_fails() -> None:
    async with mcp.open_mcp(plain(env={"TOKEN": "open sesame"})) as server:
        tools = by_name(server)
        said = await run_one(tools["raise"])
        refused = await run_one(tools["refuse"])
        wrong = await run_one(tools["wrong"])
        unfit = await run_one(tools["unfit"])

    assert (said.kind, said.reason) == ("failed", "exception")
    assert said.output == (
        "The tool failed. McpToolError: the server says that the call failed\n"
        "Its output until then:\nbegun\nno sk-abcdefghijkl"
    )
    assert refused.output == "The tool failed. McpToolError: no [redacted]"
    assert wrong.output.startswith(
        "The tool failed. McpToolError: its answer cannot be used: ValidationError: "
    )
    assert "its answer cannot be used: RuntimeError: Invalid structured content" in unfit.output


async def test_a_cancelled_call_costs_nobody_else() -> None:
    observer = Recorder()
    async with mcp.open_mcp(plain()) as server:
        tools = by_name(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_one, tools["late"], observer)
            await until(lambda: "called" in server.stderr)
            assert "fine" == (await run_one(tools["text"])).output, "meanwhile"
            nursery.cancel_scope.cancel()
        assert "cancelled" == observer.outcomes["c1"].kind
        await until(lambda: "cancelled" in server.stderr)
        assert "fine" == (await run_one(tools["text"])).output


async def test_calls_from_everywhere() -> None:
    """A call knows nothing of the task that opened the server, nor of its cancellation."""
    async with mcp.open_mcp(plain()) as server, trio.open_nursery() as nursery:
        tools = by_name(server)
        for _ in range(20):
            nursery.start_soon(run_one, tools["text"])
        hung = call("hang", "c1"), call("late", "c2"), call("text", "c3")
        with trio.move_on_after(0.05):
            await run_all(*hung, tools=[tools["hang"], tools["late"], tools["text"]], observer=Recorder())


async def test_a_server_that_dies_in_mid_call() -> None:
    async with mcp.open_mcp(plain(env={"TOKEN": "open sesame"}), name="plain") as server:
        tools = by_name(server)
        dead, with_it = await run_all(
            call("hang", "c1"), call("die", "c2"), tools=[tools["hang"], tools["die"]]
        )
        again = await run_one(tools["text"])
        assert server.tools == tuple(tools.values()), "what has not changed is the same"

    assert dead.output == with_it.output
    words = (
        "The tool failed. McpFailed: the MCP server 'plain' ended (exit status 3); the last that it wrote to stderr:\n"
        "Traceback of sorts\nlast words, [redacted]"
    )
    assert ("failed", words) == (dead.kind, dead.output)
    assert "fine" == again.output


async def test_a_server_that_always_dies() -> None:
    async with mcp.open_mcp(plain(), restarts=1) as server:
        tools = by_name(server)
        dead = [await run_one(tools["die"]) for _ in range(3)]
        assert "started again" in (await run_one(tools["text"])).output, "it is not started any more"

    assert ["started again" in outcome.output for outcome in dead] == [False, False, True]


async def test_retries_start_it_again() -> None:
    async with mcp.open_mcp(plain()) as server:
        tool = attrs.evolve(
            by_name(server)["die"], effect="read", retries=1, retry_on=McpFailed, retry_delay=0.0
        )
        outcome = await run_one(tool)

    assert (outcome.kind, outcome.attempts) == ("failed", 2)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (("ends",), "ended (exit status 1); the last that it wrote to stderr:\nusage: something else"),
        (
            ("noise",),
            "wrote 1,000 lines to stdout that are no messages; what it wrote to stdout was no message: 'y'",
        ),
        (("slow",), "did not answer within 0.3 s"),
        (("odd",), "could not be opened: ValidationError: 1 validation error for ListToolsResult"),
        (("endless",), "could not be opened: McpToolError: its list of tools has more than 100 pages"),
    ],
)
async def test_what_is_no_server(how: tuple[str, ...], words: str) -> None:
    with pytest.raises(McpFailed) as caught:
        async with mcp.open_mcp(plain(*how), name="plain", start_timeout=0.3 if how == ("slow",) else 20):
            raise AssertionError

    message = str(caught.value)
    assert f"the MCP server 'plain' {words}" == (message.splitlines()[0] if how == ("odd",) else message)
    assert ("plain", "open") == (caught.value.server, caught.value.moment)


@pytest.mark.parametrize(
    ("command", "cwd", "words"),
    [
        (["/nothing/there", "--token=sesame"], None, "FileNotFoundError"),
        ([sys.executable], "/nothing/there", "FileNotFoundError"),
        ([sys.executable], __file__, "NotADirectoryError"),
        ([__file__], None, "PermissionError"),
    ],
)
async def test_what_cannot_be_started(command: list[str], cwd: str | None, words: str) -> None:
    with pytest.raises(McpFailed, match=f"could not be opened: {words}") as caught:
        async with mcp.open_mcp(mcp.Stdio(command, cwd=cwd)):
            raise AssertionError

    assert "change" == caught.value.receipt.next


async def test_a_server_that_ends_at_what_it_does_not_know() -> None:
    async with mcp.open_mcp(plain("touchy")) as server:
        assert "fine" == (await run_one(by_name(server)["text"])).output


async def test_what_is_printed_to_stdout_is_skipped() -> None:
    async with mcp.open_mcp(plain()) as server:
        assert "fine" == (await run_one(by_name(server)["stray"])).output


async def test_a_message_without_end() -> None:
    async with mcp.open_mcp(plain()) as server:
        outcome = await run_one(by_name(server)["long"])

    assert "sent a message of more than 16,777,216 bytes" in outcome.output


@pytest.mark.parametrize("how", ["", "stays", "stubborn"])
async def test_closing_has_an_end(how: str) -> None:
    """Whatever it does, it is gone afterwards, and so is what it started."""
    async with mcp.open_mcp(plain(how), close_timeout=0.05) as server:
        tools = by_name(server)
        group = int((await run_one(tools["forks"])).output)
        assert group == group_of()

    assert is_gone(group)


async def test_closing_under_a_call() -> None:
    """The call ends with one outcome, and nothing is raised where it was closed."""
    observer = Recorder()
    async with trio.open_nursery() as nursery:
        async with mcp.open_mcp(plain(), name="plain") as server:
            tools = by_name(server)
            nursery.start_soon(run_one, tools["hang"], observer)
            await until(lambda: observer.log)
        await until(lambda: observer.outcomes)
        late = await run_one(tools["text"])

    words = "The tool failed. ClosedResourceError: the MCP server 'plain' is closed; run its tools within"
    assert observer.outcomes["c1"].output.startswith(words)
    assert late.output.startswith(words)


async def test_what_is_closed_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a call that waits for the end of the session before, to begin another."""
    observer = Recorder()
    monkeypatch.setattr(process, "AFTER_KILL", 0.1)
    async with trio.open_nursery() as nursery:
        async with mcp.open_mcp(plain("stubborn"), name="plain", close_timeout=0.05) as server:
            monkeypatch.setattr(process, "GRACE", 0.3)
            tools = by_name(server)
            await run_one(tools["shut"])
            nursery.start_soon(run_one, tools["text"], Recorder())
            await until(lambda: not server._connection.is_usable)
            nursery.start_soon(run_one, tools["text"], observer)
            await until(lambda: observer.log)

    assert "ClosedResourceError: the MCP server 'plain' is closed" in observer.outcomes["c1"].output
    await until(lambda: not started())


async def test_a_deaf_server_does_not_hold_up_the_end() -> None:
    """It reads no more, so it does not hear that its input ends, nor that calls were cancelled."""
    async with mcp.open_mcp(plain(), close_timeout=0.05) as server:
        tools = by_name(server)
        await run_one(tools["deaf"])
        with trio.move_on_after(0.05):
            await run_one(tools["text"])
        group = group_of()

    assert is_gone(group)


async def test_errors_of_the_block_come_out_bare() -> None:
    with pytest.raises(ValueError, match="^mine$"):
        async with mcp.open_mcp(plain()):
            raise ValueError("mine")


async def test_a_cancelled_block_closes_it() -> None:
    group = 0
    with trio.CancelScope() as scope:
        async with mcp.open_mcp(plain()):
            group = group_of()
            scope.cancel()
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert is_gone(group)


@pytest.mark.parametrize("milliseconds", [0, 2, 5, 10, 20, 30, 45, 60, 80])
async def test_a_cancellation_at_any_moment(milliseconds: int) -> None:
    """Nothing but the cancellation comes out, and nothing is left."""
    with trio.move_on_after(milliseconds / 1_000):
        async with mcp.open_mcp(plain(), close_timeout=0.05) as server:
            tools = by_name(server)
            await run_all(call("text", "c1"), call("hang", "c2"), tools=[tools["text"], tools["hang"]])

    await until(lambda: not started())


async def test_opening_can_be_cancelled() -> None:
    with trio.move_on_after(0.1) as scope:
        async with mcp.open_mcp(plain("slow"), start_timeout=600):
            raise AssertionError

    assert scope.cancelled_caught


async def test_progress() -> None:
    observer = Recorder()
    async with mcp.open_mcp(plain()) as server:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_one, by_name(server)["progress"], observer)
                await until(lambda: any(report[1].done == 2 for report in observer.reports))
                scope.cancel()

    told = [(report[1].message, report[1].done, report[1].total) for report in observer.reports]
    # Their order is not the wire's; what is older than what was told is not told.
    assert told in ([("one", 1.0, 2.0), ("", 2.0, 2.0)], [("", 2.0, 2.0)])


async def test_a_list_that_changes() -> None:
    async with mcp.open_mcp(plain()) as server:
        before = by_name(server)
        await run_one(before["change"])
        await until(lambda: "new" in by_name(server))
        after = by_name(server)
        assert after == {name: before.get(name, after[name]) for name in after}, (
            "the rest are the same objects"
        )
        assert server.tools == await server.refresh()

    assert {"wrong"} == set(before) - set(after)


async def test_what_it_gets_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefghijkl")
    async with mcp.open_mcp(plain(env={"TOKEN": "x"}, cwd=tmp_path)) as server:
        names, folder = (await run_one(by_name(server)["environment"])).output.splitlines()

    assert "TOKEN" in names.split()
    assert "OPENAI_API_KEY" not in names.split()
    assert str(tmp_path) == folder


async def test_a_failure_of_many_words_is_one() -> None:
    async with mcp.open_mcp(plain(), max_output=3, max_artifact=0) as server:
        outcome = await run_one(by_name(server)["raise"])

    assert ("failed", "beg") == (outcome.kind, outcome.output[-3:])


async def test_secrets_are_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = plain(env={"TOKEN": "open sesame"})
    async with mcp.open_mcp(server) as opened:
        raising = attrs.evolve(by_name(opened)["refuse"], on_error="raise")
        with pytest.raises(ToolFailedError) as failed:
            await run_one(raising)
        seen = [*traceback.format_exception(failed.value)]
        seen += [repr(opened), (await run_one(by_name(opened)["die"])).output]
        with pytest.raises(McpFailed) as caught:
            raise opened._connection.lost()
        seen += [opened.stderr, repr(caught.value), caught.value.stderr]
    seen += [repr(server), caplog.text]

    assert "sesame" not in "".join(seen)
    assert "TOKEN" in repr(server)


@pytest.mark.parametrize("token", ["back\\slash'\"and quotes", "sesame" + "x" * 100])
async def test_no_secret_in_what_is_no_message(token: str) -> None:
    """Neither one that is written with escapes, nor half a one where what is shown ends."""
    with pytest.raises(McpFailed, match="was no message: 'y+ .redacted.") as caught:
        async with mcp.open_mcp(plain("noise", env={"TOKEN": token})):
            raise AssertionError

    assert not any(part in str(caught.value) for part in ("sesame", "slash"))


@pytest.mark.parametrize(
    "given",
    [
        {"command": "uvx server"}, {"command": []}, {"command": ["a", 1]}, {"command": ["a"], "env": {"A": 1}},
        {"command": ["a"], "env": {"A": "b\0"}}, {"command": ["a"], "env": ["A=b"]},
    ],
)  # fmt: skip
def test_commands_that_are_none(given: Any) -> None:
    with pytest.raises(ConfigError):
        mcp.Stdio(given.pop("command"), **given)
