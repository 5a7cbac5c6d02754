"""What an agent is: refused when it cannot work, equal in what it sends."""

from __future__ import annotations

import pytest

import triplane


@triplane.tool
async def look(at: str) -> str:
    """Look."""
    return at


@triplane.tool(name="look")
async def look_again(at: str) -> str:
    """Look again."""
    return at


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": ""}, "model must be text"),
        ({"model": None}, "model must be text"),
        ({"model": "m", "name": ""}, "name must be text"),
        ({"model": "m", "tools": [look, look_again]}, "look"),
        ({"model": "m", "tools": [print]}, "made with @triplane.tool"),
        ({"model": "m", "tools": look}, "takes a list of tools, not FunctionTool"),
        ({"model": "m", "tools": None}, "takes a list of tools, not NoneType"),
        ({"model": "m", "instructions": None}, "instructions= takes text, not NoneType"),
        ({"model": "m", "settings": {"temperature": 0}}, r"settings= takes triplane.ModelSettings"),
        ({"model": "m", "limits": {"max_turns": 1}}, r"limits= takes triplane.RunLimits"),
        ({"model": "m", "endpoint": "ws://host/v1"}, "endpoint= takes a triplane.Endpoint, not str"),
        ({"model": "m", "store": "yes"}, "store= takes True or False"),
        ({"model": "m", "instructions": "lone \ud800"}, "JSON cannot"),
    ],
)
def test_what_cannot_work_is_one_clear_error(arguments, words) -> None:
    with pytest.raises(triplane.ConfigError, match=words) as caught:
        triplane.Agent(**arguments)

    assert "change" == caught.value.receipt.next


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_output": 0}, "max_output"),
        ({"retries": 1}, "retries"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_a_tool_that_cannot_work_is_one_clear_error(options, words) -> None:
    async def act(what: str) -> str:
        """Act."""
        return what

    with pytest.raises(triplane.ConfigError, match=words):
        triplane.tool(**options)(act)


def test_a_tool_without_annotations_is_one_clear_error() -> None:
    async def act(what):
        """Act."""

    with pytest.raises(triplane.ConfigError, match="what"):
        triplane.tool(act)


def test_the_fingerprint_tells_what_every_request_says() -> None:
    agent = triplane.Agent("m", "Prompt.", [look])

    assert agent.fingerprint == triplane.Agent("m", "Prompt.", [look], name="other").fingerprint
    for other in (
        triplane.Agent("n", "Prompt.", [look]),
        triplane.Agent("m", "Another.", [look]),
        triplane.Agent("m", "Prompt."),
        triplane.Agent("m", "Prompt.", [look], settings=triplane.ModelSettings(temperature=0.5)),
    ):
        assert agent.fingerprint != other.fingerprint
