"""What becomes of the tools that a server lists: their names, schemas and arguments; and what is not installed."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import mcp_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import steady

from triplane.core.errors import ConfigError
from triplane.tools import mcp
from triplane.tools.arguments import InvalidArgumentsError
from triplane.tools.mcp.arguments import JsonArguments
from triplane.tools.mcp.content import text_of, value_of
from triplane.tools.mcp.listing import Choice, build_tools, function_names


def choice(**more: Any) -> Choice:
    return Choice(**{"prefix": "", "allow": None, "deny": (), "options": {}, "overrides": {}, **more})


def built(*listed: mcp_types.Tool, is_first: bool = True, **more: Any) -> dict[str, Any]:
    return build_tools(
        listed, choice(**more), lambda name: SimpleNamespace(name=name), is_first=is_first, server="s"
    )  # type: ignore[arg-type, return-value]


def listed(name: str, schema: Any = None, **more: Any) -> mcp_types.Tool:
    return mcp_types.Tool(name=name, input_schema={"type": "object"} if schema is None else schema, **more)


names = st.lists(st.text(st.sampled_from("ab._-/ é"), max_size=70), unique=True, max_size=8)


@given(names, st.sampled_from(["", "p_", "x" * 60]), st.randoms())
@steady
def test_names_are_names(given_names: list[str], prefix: str, random: Any) -> None:
    found = function_names(given_names, prefix)

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in found.values())
    assert len(set(found.values())) == len(given_names), "no two are the same"
    shuffled = random.sample(given_names, len(given_names))
    assert found == function_names(shuffled, prefix), "their order does not matter"
    assert all(
        found[name] == prefix + name
        for name in given_names
        if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", prefix + name)
    )


def test_a_name_is_kept_where_it_can_be() -> None:
    assert {"a": "p_a", "c.d": "p_c_d"} == function_names(["a", "c.d"], "p_")
    found = function_names(["a_b", "a.b", "a/b"], "")
    assert "a_b" == found["a_b"]
    assert found["a.b"].startswith("a_b_")


def test_a_tool_that_is_listed_twice_is_one() -> None:
    made = built(listed("a", description="first"), listed("b"), listed("a", description="second"))

    assert ["a", "b"] == list(made)
    assert "first" == made["a"].description


def test_a_schema_is_the_server_s() -> None:
    strict = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    made = built(
        listed("strict", strict), listed("loose", {"type": "object", "title": "t"}), listed("none", {})
    )

    assert (strict, True) == (made["strict"].parameters, made["strict"].strict)
    assert ({"type": "object", "properties": {}, "title": "t"}, False) == (
        made["loose"].parameters,
        made["loose"].strict,
    )
    assert {"type": "object", "properties": {}} == made["none"].parameters


def test_a_description_has_an_end() -> None:
    made = built(listed("a", description="x" * 100_000), listed("b", title="Title"))

    assert 8 * 1024 + 1 == len(made["a"].description)
    assert "Title" == made["b"].description


def test_a_tool_that_does_not_fit_later_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Then there is nobody who could be told."""
    options: Any = {"retries": 1}
    hints = mcp_types.ToolAnnotations(read_only_hint=True)
    made = built(listed("a"), listed("b", annotations=hints), is_first=False, options=options, allow=["?"])

    assert ["b"] == list(made)
    assert "left out" in caplog.text


def test_an_option_that_there_is_not_is_told_with_what_it_was_said_of() -> None:
    options: Any = {"timout": 5}
    with pytest.raises(ConfigError, match=r"^tool '\*' has no option 'timout'"):
        choice(options=options)
    with pytest.raises(ConfigError, match=r"^tool 'delete_\*' has no option 'timout'"):
        choice(overrides={"delete_*": options})


def test_a_schema_that_is_none_costs_that_tool_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert ["b"] == list(built(listed("a", {"type": "array"}), listed("b")))
    assert "parameters of tool 'a' must be the schema of an object" in caplog.text


def test_a_tool_that_is_a_task_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    task = listed("a", execution=mcp_types.ToolExecution(task_support="required"))

    assert {} == built(task)
    assert "runs as a task only" in caplog.text


SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "array", "items": {"type": "object", "required": ["b"]}},
        "c": {"enum": [1]},
    },
    "required": ["a"],
}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"a": []}', None),
        ("", ["'a' is a required property"]),
        ('{"a": [{}], "c": 2}', ["a[0]: 'b' is a required property", "c: 2 is not one of [1]"]),
        ('{"a": 1', ["not valid JSON"]),
        ("[]", ["expected a JSON object"]),
        ('{"a": [], "a": []}', ["a: given twice"]),
        ('{"a": ' + "[" * 100_000, ["not valid JSON"]),
        (json.dumps({"a": [{}] * 50}), ["'b' is a required"] * 19 + ["… 31 more"]),
        (json.dumps({"a": "x" * 1_000}), ["a: '" + "x" * 100]),
    ],
)
def test_arguments(text: str, lines: list[str] | None) -> None:
    arguments = JsonArguments(SCHEMA)
    if lines is None:
        assert {"a": []} == arguments.structure(text)
        return
    with pytest.raises(InvalidArgumentsError) as caught:
        arguments.structure(text)

    assert len(lines) == len(caught.value.lines)
    assert all(line in found for line, found in zip(lines, caught.value.lines, strict=True))
    assert all(len(line) <= 201 for line in caught.value.lines)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "nonsense"}}},
        {"type": "object", "properties": {"a": {"$ref": "http://elsewhere/schema"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": 3},
        {"$schema": "http://json-schema.org/nonsense", "type": "object"},
    ],
)
def test_where_the_schema_is_none_the_server_judges(schema: Any) -> None:
    assert {"a": "b"} == JsonArguments(schema).structure('{"a": "b"}')


NEVER: dict[str, Any] = {"type": "string", "pattern": "^never$"}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": NEVER}},
        {"properties": {"a": {"$schema": DIALECT, **NEVER}}},
        {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"allOf": [{"anyOf": [NEVER]}]}}},
        {"properties": {"a": {"$ref": "#/anything"}}, "anything": NEVER},
        {"properties": {"a": {"$ref": "#/properties"}, "pattern": "^never$"}},
        {"properties": {"a": {"$ref": "#/properties/a/default", "default": NEVER}}},
        {"propertyNames": {"pattern": "^never$"}},
        {"patternProperties": {"^a$": False}},
        {"patternProperties": {"^a$": True}, "additionalProperties": False},
        {"allOf": [{"patternProperties": {"^a$": True}}], "unevaluatedProperties": False},
        {"properties": {"patternProperties": {}, "a": {}}, "additionalProperties": False},
        {"properties": {"properties": {"patternProperties": {}}, "a": {}}, "additionalProperties": False},
        {"properties": {"a": {"not": NEVER}}},
        {"properties": {"a": {"oneOf": [NEVER, {"type": "string"}]}}},
        {"if": {"properties": {"a": NEVER}}, "then": False},
    ],
)  # fmt: skip
def test_regular_expressions_are_the_server_s_to_judge(schema: dict[str, Any]) -> None:
    """A few of them take forever: ``^(a+)+$``."""
    before = json.dumps(schema)
    assert {"a": "b"} == JsonArguments(schema).structure('{"a": "b"}')
    assert before == json.dumps(schema), "it goes to the API as it is"


def test_what_is_no_regular_expression_is_checked_all_the_same() -> None:
    names = {"pattern": {"type": "integer"}, "not": {"type": "integer"}, "const": {"type": "integer"}}
    data = {"const": {"not": 1}}
    arguments = JsonArguments(
        {"properties": {"a": NEVER, "data": data, **names}, "additionalProperties": False}
    )

    assert {"data": {"not": 1}} == arguments.structure('{"data": {"not": 1}}')
    for wrong in ('{"a": 1}', '{"b": 1}', '{"pattern": ""}', '{"not": ""}', '{"const": ""}', '{"data": {}}'):
        with pytest.raises(InvalidArgumentsError):
            arguments.structure(wrong)


def result(*content: Any, structured: Any = None) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(content=list(content), structured_content=structured)


def test_what_is_a_text() -> None:
    text = mcp_types.TextContent(text="a")
    link = mcp_types.ResourceLink(type="resource_link", name="n", uri="x:y", description="what")

    assert "a\na" == value_of(result(text, text))
    assert "a" == value_of(result(text, structured={"b": 1})), "structured content is said twice"
    assert '[1,"ä"]' == value_of(result(structured=[1, "ä"]))
    assert "" == value_of(result())
    assert "[resource: x:y, n, what]" == value_of(result(link))


def test_what_is_not_what_it_says() -> None:
    image = mcp_types.ImageContent(data="no base64!", mime_type="image/png")
    good = mcp_types.ImageContent(data="cG5n", mime_type="IMAGE/PNG")

    empty = mcp_types.ImageContent(data="", mime_type="image/png")

    assert "[image: image/png, whose data is not base64]" == value_of(result(image))
    assert "[image: image/png, 0 bytes, which are not shown]" == value_of(result(empty))
    assert "[image: image/png, 3 bytes]" == text_of(result(good))


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("triplane.tools.mcp.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigError, match=r"pip install 'triplane\[mcp\]'"):
        async with mcp.open_mcp(mcp.Stdio(["true"])):
            raise AssertionError


def test_the_sdk_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, triplane, triplane.tools.mcp as m; m.Stdio(['a']); m.Http('http://a/');"
        "print(sorted({'mcp', 'mcp_types', 'anyio', 'httpx2', 'pydantic', 'jsonschema'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == printed.stdout.strip()
