"""A server of the official SDK over stdio and over HTTP, by the newest protocol and the one before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tool_bench import run_one, until

import triplane
from triplane.tools import Tool, mcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triplane.core.outcome import ToolOutcome

EVERYTHING = Path(__file__).with_name("mcp_everything.py")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    import mcp_everything

    with mcp_everything.served() as at:
        yield at


WAYS = ["stdio", "http", "http-legacy"]


@pytest.fixture
def everything(url: str) -> Callable[..., Any]:
    def opened(way: str, **options: Any) -> Any:
        server = mcp.Stdio([sys.executable, str(EVERYTHING)]) if way == "stdio" else mcp.Http(url)
        mode: Any = "legacy" if way == "http-legacy" else "auto"
        return mcp.open_mcp(server, name="everything", mode=mode, **options)

    return opened


def by_name(server: Any) -> dict[str, Tool]:
    return {tool.name: tool for tool in server.tools}


@pytest.mark.parametrize("way", WAYS)
async def test_the_engine_goes_on(way: str, everything: Any, bench: Any) -> None:
    """A model calls it, a call is cancelled in the middle, and the same engine and session are used again."""
    async with bench() as here, everything(way) as server:
        agent = triplane.Agent("directive", tools=server.tools)
        first = await here.engine.run(agent, 'CALL add {"a": 1, "b": 2}')
        async with here.engine.open_run(agent, f'CALL wait {{"name": "{way}"}}') as run:
            async for event in run:
                if isinstance(event, triplane.ToolProgress):
                    break
        again = await here.engine.run(agent, f'CALL was_cancelled {{"name": "{way}"}}')
        tools = by_name(server)
        failed = await run_one(tools["fail"])

    assert 'RESULT: "3"' == first.text
    assert "waiting" == event.message
    assert 'RESULT: "true"' == again.text
    assert ("failed", "exception") == (failed.kind, failed.reason)
    assert "out of paper" in failed.output


@pytest.mark.parametrize("way", ["http", "http-legacy"])
async def test_what_is_answered(way: str, everything: Any) -> None:
    async with everything(way) as server:
        tools = by_name(server)
        outcomes: dict[str, ToolOutcome] = {
            name: await run_one(tools[name]) for name in ("media", "point", "structured", "ask")
        }
        unfit = await run_one(tools["add"], a="x")

    assert ("Ask for anything.", "read", "write") == (
        server.instructions,
        tools["add"].effect,
        tools["wait"].effect,
    )
    assert "invalid_arguments" == unfit.reason
    media = outcomes["media"]
    assert media.content is not None
    assert [
        {"type": "input_text", "text": "a text"},
        {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,cG5n"},
        {"type": "input_text", "text": "[image: image/tiff, 4 bytes, which are not shown]"},
        {"type": "input_text", "text": "[audio: audio/wav, 3 bytes, which are not shown]"},
        {"type": "input_text", "text": "[resource: file:///notes.txt, notes, text/plain]"},
        {"type": "input_text", "text": "[resource: file:///a.txt, text/plain]"},
        {"type": "input_text", "text": "in it"},
        {"type": "input_text", "text": "[resource: file:///b%20c.pdf]"},
        {
            "type": "input_file",
            "filename": "b c.pdf",
            "file_data": "data:application/pdf;base64,cGRm",
        },
        {"type": "input_text", "text": "the end"},
    ] == list(media.content)
    assert ['{"x":1,"y":2}', '{"x":1}'] == [
        outcomes[name].output.replace("\n ", "").replace(" ", "").replace("\n", "")
        for name in ("point", "structured")
    ]
    assert "failed" == outcomes["ask"].kind


@pytest.mark.parametrize("way", ["http", "http-legacy"])
async def test_it_grows(way: str, everything: Any) -> None:
    import mcp_everything

    async with everything(way) as server:
        before = server.tools
        await run_one(by_name(server)["grow"])
        await until(lambda: "add_again" in by_name(server))
        mcp_everything.app.remove_tool("add_again")

    assert before == server.tools[: len(before)]
