"""Patches, the computer, custom tools, namespaces and the search for tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import trio
from openai.types.responses import Tool as ToolModel
from pydantic import TypeAdapter
from tool_bench import run_all, run_one

from triplane import Agent, Secret
from triplane.core.answers import answers_of
from triplane.core.errors import ConfigError
from triplane.core.outcome import ToolCall, ToolOutcome
from triplane.tools import (
    Image,
    SafetyCheckError,
    ToolContext,
    ToolFailedError,
    apply_patch_tool,
    computer_tool,
    custom_tool,
    definitions,
    namespace,
    shell_tool,
    tool,
    tool_search,
    tools_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from triplane.tools import Tool

DEFINITION = TypeAdapter[Any](ToolModel)


def defined(*tools: Tool) -> list[Any]:
    """What the API is told, which is what its own types say."""
    found = definitions(tools)
    for each in found:
        DEFINITION.validate_python(each)
    return found


class TestPatches:
    @staticmethod
    async def patch(path: Path, kind: str, name: str, diff: str | None = None) -> dict[str, Any]:
        operation = {"type": kind, "path": name, **({} if diff is None else {"diff": diff})}
        one = ToolCall("c1", "apply_patch", json.dumps(operation), "apply_patch_call")
        outcome = await run_one(apply_patch_tool(path), one=one)
        (answer,) = answers_of([(one, outcome)])
        return answer

    async def test_a_files_life(self, tmp_path: Path) -> None:
        answer = await self.patch(tmp_path, "create_file", "a/f.txt", "+one\n+two\n+three\n")
        assert ("completed", "added a/f.txt: +3\n1 files changed") == (answer["status"], answer["output"])
        assert (tmp_path / "a/f.txt").read_text() == "one\ntwo\nthree\n"

        answer = await self.patch(tmp_path, "update_file", "a/f.txt", "@@\n one\n-two\n+2\n three\n")
        assert answer["status"] == "completed"
        assert (tmp_path / "a/f.txt").read_text() == "one\n2\nthree\n"

        answer = await self.patch(tmp_path, "delete_file", "a/f.txt")
        assert answer["status"] == "completed"
        assert not (tmp_path / "a/f.txt").exists()

    @pytest.mark.parametrize(
        "diff",
        [
            "@@ one\n-two\n+2\n",
            "-two\n+2",
            "--- a/f\n+++ b/f\n@@ -2 +2 @@\n-two\n+2\n",
            "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -2 +2 @@\n-two\n+2\n",
            "*** Begin Patch\n*** Update File: f\n@@\n-two\n+2\n*** End Patch",
        ],
    )
    async def test_ways_to_write_it(self, diff: str, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("one\ntwo\n")
        answer = await self.patch(tmp_path, "update_file", "f", diff)

        assert (answer["status"], (tmp_path / "f").read_text()) == ("completed", "one\n2\n")

    @pytest.mark.parametrize(
        ("kind", "name", "diff", "words"),
        [
            ("update_file", "f", "-no\n+2\n", "its first line 'no' is not in the file"),
            ("update_file", "f", "?\n", "lines of an update begin with"),
            ("update_file", "f", "", "the patch changes nothing in 'f'"),
            ("update_file", "../f", "-one\n+2\n", "leads outside of the workspace"),
            ("update_file", "g", "-one\n+2\n", "there is no 'g'"),
            ("create_file", "f", "+x\n", "is there already"),
            ("create_file", "g", "x\n", "each line of a new file begins with '+'"),
            ("create_file", ".git/hooks/x", "+x\n", "read-only here"),
            ("delete_file", "g", None, "there is no 'g'"),
            (
                "update_file",
                "f",
                "*** Begin Patch\n*** Update File: f\n-one\n+1\n*** Delete File: h\n*** End Patch",
                "must change 'f' and nothing else",
            ),
        ],
    )
    async def test_what_cannot_be(
        self, kind: str, name: str, diff: str | None, words: str, tmp_path: Path
    ) -> None:
        (tmp_path / "f").write_text("one\n")
        (tmp_path / "h").touch()
        answer = await self.patch(tmp_path, kind, name, diff)

        assert answer["status"] == "failed"
        assert words in answer["output"]
        assert (tmp_path / "f").read_text() == "one\n"
        assert (tmp_path / "h").exists()

    async def test_an_operation_that_is_not_known(self, tmp_path: Path) -> None:
        answer = await self.patch(tmp_path, "move_file", "f")

        assert answer["status"] == "failed"
        assert "create_file" in answer["output"]

    def test_what_makes_no_sense(self, tmp_path: Path) -> None:
        for wrong in ({}, {"path": tmp_path, "handler": TestComputer.click}, {"path": tmp_path / "no"}):
            with pytest.raises(ConfigError, match="director"):
                apply_patch_tool(**wrong)  # type: ignore[arg-type]

    def test_what_the_api_is_told(self, tmp_path: Path) -> None:
        assert [{"type": "apply_patch"}] == defined(apply_patch_tool(tmp_path))


class TestComputer:
    @staticmethod
    async def click(actions: Any, context: ToolContext) -> Image | bytes:
        await trio.lowlevel.checkpoint()
        return b"PNG" + b"".join(action.type.encode() for action in actions)

    @staticmethod
    def called(**more: Any) -> ToolCall:
        said = {"actions": [{"type": "click", "button": "left", "x": 1, "y": 2}, {"type": "wait"}], **more}
        return ToolCall("c1", "computer", json.dumps(said), "computer_call")

    async def test_actions_and_a_picture(self) -> None:
        outcome = await run_one(computer_tool(self.click), one=self.called())
        (answer,) = answers_of([(self.called(), outcome)])

        assert answer["output"] == {
            "type": "computer_screenshot",
            "image_url": "data:image/png;base64,UE5HY2xpY2t3YWl0",
        }
        assert outcome.output == "[image: image/png, 12 bytes]"

    async def test_the_previews_single_action(self) -> None:
        one = self.called(actions=None, action={"type": "screenshot"})
        outcome = await run_one(computer_tool(self.click), one=one)

        assert outcome.content is not None
        assert outcome.content[0]["image_url"].endswith("UE5Hc2NyZWVuc2hvdA==")

    CHECKS: Any = [{"id": "check_1", "code": "malicious", "message": "Look."}, {"id": "check_2"}]  # noqa: RUF012

    async def test_nobody_acknowledged_a_check(self) -> None:
        one = self.called(pending_safety_checks=self.CHECKS)
        with pytest.raises(ToolFailedError, match=r"malicious: Look.*acknowledge=") as caught:
            await run_one(computer_tool(self.click), one=one)

        assert isinstance(caught.value.__cause__, SafetyCheckError)
        assert ["check_1", "check_2"] == [check.id for check in caught.value.__cause__.checks]

    async def test_each_check_is_asked_for(self) -> None:
        one = self.called(pending_safety_checks=self.CHECKS)
        with pytest.raises(ToolFailedError, match="warnings that nobody has acknowledged"):
            await run_one(computer_tool(self.click, acknowledge=lambda check: check.code is None), one=one)

        outcome = await run_one(computer_tool(self.click, acknowledge=lambda check: True), one=one)
        (answer,) = answers_of([(one, outcome)])
        assert self.CHECKS == answer["acknowledged_safety_checks"]

    @pytest.mark.parametrize("said", ["no", 1, object()])
    async def test_only_true_acknowledges(self, said: Any) -> None:
        one = self.called(pending_safety_checks=self.CHECKS)
        with pytest.raises(ToolFailedError, match="warnings that nobody has acknowledged"):
            await run_one(computer_tool(self.click, acknowledge=lambda check: said), one=one)

    def test_an_async_function_acknowledges_nothing(self) -> None:
        async def ask(check: Any) -> bool:
            await trio.lowlevel.checkpoint()
            return False

        with pytest.raises(ConfigError, match="give a function .not an async one"):
            computer_tool(self.click, acknowledge=ask)  # type: ignore[arg-type]

    async def test_reported_failures(self) -> None:
        async def nothing(actions: Any, context: ToolContext) -> Any:
            await trio.lowlevel.checkpoint()
            return None

        outcome = await run_one(computer_tool(nothing, on_error="report"), one=self.called())
        (answer, remark) = answers_of([(self.called(), outcome)])

        assert answer["status"] == "incomplete"
        assert "return PNG bytes or a triplane.Image" in remark["content"]

    async def test_a_picture_of_nothing(self) -> None:
        """The API would refuse the request, and with it the run's other answers."""

        async def nothing(actions: Any, context: ToolContext) -> bytes:
            await trio.lowlevel.checkpoint()
            return b""

        outcome = await run_one(computer_tool(nothing, on_error="report"), one=self.called())

        assert "ValueError: Image takes a picture as data=, and not nothing" in outcome.output
        assert ("failed", None) == (outcome.kind, outcome.content)

    async def test_a_picture_that_is_too_large(self) -> None:
        async def huge(actions: Any, context: ToolContext) -> bytes:
            await trio.lowlevel.checkpoint()
            return b"x" * 9_000_000

        outcome = await run_one(computer_tool(huge, on_error="report"), one=self.called())

        assert (outcome.kind, outcome.reason) == ("failed", "invalid_result")
        assert outcome.content is None

    def test_what_the_api_is_told(self) -> None:
        assert [{"type": "computer"}] == defined(computer_tool(self.click))
        (preview,) = defined(computer_tool(self.click, display=(800, 600), environment="linux"))
        assert preview["display_width"] == 800

    def test_what_makes_no_sense(self) -> None:
        for wrong, words in [
            ({"display": (0, 1)}, "width and height"),
            ({"acknowledge": True}, "give a function"),
            ({"on_error": "x"}, "use 'report' or 'raise'"),
        ]:
            with pytest.raises(ConfigError, match=words):
                computer_tool(self.click, **wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="async function"):
            computer_tool(lambda actions, context: b"")  # type: ignore[arg-type,return-value]


class TestCustomTools:
    @staticmethod
    def said(name: str, text: str) -> ToolCall:
        return ToolCall("c1", name, text, "custom_tool_call")

    async def test_kinds_of_functions(self) -> None:
        @custom_tool
        async def one(text: str, context: ToolContext) -> str:
            await trio.lowlevel.checkpoint()
            return f"{context.tool} {text}"

        @custom_tool(effect="read")
        def two(text: str) -> str:
            return text.upper()

        @custom_tool
        async def three(text: Annotated[str, "What to spell."]) -> AsyncIterator[str]:
            for character in text:
                yield character
                await trio.lowlevel.checkpoint()

        class Owner:
            """With a tool."""

            @custom_tool
            async def four(self, text: str) -> str:
                await trio.lowlevel.checkpoint()
                return f"{type(self).__name__} {text}"

        tools = [one, two, three, *tools_of(Owner())]
        text = '{"not": "parsed"}\n'
        outcomes = [await run_one(each, one=self.said(each.name, text)) for each in tools]

        assert [f"one {text}", text.upper(), text, f"Owner {text}"] == [each.output for each in outcomes]
        assert "X" == two("x"), "it can still be called"

    async def test_it_is_not_called_as_a_function(self) -> None:
        @custom_tool
        async def f(text: str) -> str:
            raise AssertionError

        outcome = await run_one(f, one=ToolCall("c1", "f", "{}"))

        assert outcome.reason == "unknown_tool"
        assert outcome.output == (
            "The tool 'f' is called in another way: as a custom tool, with a text as it is."
        )

    async def test_nor_is_a_function_called_with_a_text(self) -> None:
        @tool
        async def f(text: str) -> str:
            raise AssertionError

        outcome = await run_one(f, one=self.said("f", "text"))

        assert outcome.reason == "unknown_tool"
        assert outcome.output == (
            "The tool 'f' is called in another way: as a function, with arguments as JSON."
        )

    def test_what_the_api_is_told(self) -> None:
        @custom_tool(regex="[a-z]+")
        async def f(text: str) -> str:
            """Do it.

            More.
            """
            return text

        @custom_tool(name="g", description="D", lark='start: "x"', async_=True, defer_loading=True)
        async def other(text: str) -> str:
            return text

        assert [
            {
                "type": "custom",
                "name": "f",
                "description": "Do it.",
                "format": {"type": "grammar", "syntax": "regex", "definition": "[a-z]+"},
            },
            {
                "type": "custom",
                "name": "g",
                "description": "D",
                "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'},
                "async": True,
                "defer_loading": True,
            },
        ] == defined(f, other)

    def test_what_makes_no_sense(self) -> None:
        async def two(a: str, b: str) -> None: ...
        async def number(a: int) -> None: ...
        async def secret(a: Annotated[str, Secret()]) -> None: ...
        async def fine(a: str) -> None: ...

        for function, more, words in [
            (two, {}, "must take one str"),
            (number, {}, "must take one str"),
            (secret, {}, "the text of the custom tool 'secret' cannot be secret; let a @triplane.tool"),
            (fine, {"lark": "a", "regex": "b"}, "has two grammars"),
            (fine, {"lark": ""}, "give a grammar as text"),
            (3, {}, "takes a function"),
        ]:
            with pytest.raises(ConfigError, match=words):
                custom_tool(function, **more)  # type: ignore[call-overload]


@tool(effect="read")
async def find(name: str) -> str:
    """Find a customer."""
    await trio.lowlevel.checkpoint()
    return f"found {name}"


@tool(name="find", effect="read")
async def find_mail(words: str) -> str:
    """Find letters and messages."""
    await trio.lowlevel.checkpoint()
    return f"mail about {words}"


@tool(effect="read")
async def total(order: str) -> str:
    """Add up an order."""
    await trio.lowlevel.checkpoint()
    return "3"


CRM = namespace("crm", "Customers and their orders.", [find, total])
MAIL = namespace("mail", "Letters.", [find_mail])


class TestNamespaces:
    async def test_the_same_name_twice(self) -> None:
        calls = [
            ToolCall("c1", "find", '{"name": "Ada"}', namespace="crm"),
            ToolCall("c2", "find", '{"words": "tea"}', namespace="mail"),
            ToolCall("c3", "find", '{"name": "Ada"}'),
            ToolCall("c4", "find", '{"name": "Ada"}', namespace="other"),
        ]
        outcomes = await run_all(*calls, tools=[*CRM, *MAIL])

        assert ["found Ada", "mail about tea"] == [each.output for each in outcomes[:2]]
        assert outcomes[2].output == (
            "There is no tool named 'find'. The tools are: crm.find, crm.total, mail.find."
        )
        assert "no tool named 'other.find'" in outcomes[3].output

    async def test_a_tool_that_was_loaded_comes_in_a_namespace_of_its_own(self) -> None:
        outcome = await run_one(find, one=ToolCall("c1", "find", '{"name": "Ada"}', namespace="find"))

        assert outcome.output == "found Ada"

    def test_what_the_api_is_told(self) -> None:
        crm, total_, mail = defined(CRM[0], total, *MAIL, CRM[1])

        assert ("namespace", "crm", "Customers and their orders.") == (
            crm["type"],
            crm["name"],
            crm["description"],
        )
        assert ["find", "total"] == [each["name"] for each in crm["tools"]]
        assert total_ == total.definition()
        assert ["find"] == [each["name"] for each in mail["tools"]]
        assert Agent("m", tools=[*CRM, *MAIL]).tools_by_name.keys() == {"crm.find", "crm.total", "mail.find"}

    def test_what_makes_no_sense(self) -> None:
        for made, words in [
            (lambda: namespace("crm", "", [find]), "needs a description"),
            (lambda: namespace("crm", "D", []), "has no tools"),
            (lambda: namespace("c.m", "D", [find]), "is not a tool name"),
            (lambda: namespace("find", "D", [find]), "has the name of its namespace"),
            (lambda: namespace("other", "D", CRM), "is in a namespace already"),
            (lambda: namespace("crm", "D", [find, find]), "two tools are named 'find'"),
            (lambda: namespace("crm", "D", [shell_tool("/")]), "cannot be in the namespace"),
            (
                lambda: Agent("m", tools=[*CRM, *namespace("crm", "Other.", [find_mail])]),
                "two tools are named",
            ),
            (
                lambda: Agent("m", tools=[CRM[1], *namespace("crm", "Other.", [find_mail])]),
                "there are two namespaces 'crm'",
            ),
        ]:
            with pytest.raises(ConfigError, match=words):
                made()


class TestSearch:
    @staticmethod
    async def search(tools: Any, said: Any, **more: Any) -> tuple[ToolOutcome, dict[str, Any]]:
        one = ToolCall("c1", "tool_search", json.dumps(said), "tool_search_call")
        made = tool_search(tools, execution="client", **more)
        (outcome,) = await run_all(one, tools=made)
        return outcome, answers_of([(one, outcome)])[0]

    def test_by_the_server(self) -> None:
        agent = Agent("m", tools=[*tool_search([*CRM, find_mail]), total])
        found = defined(*agent.tools)

        assert found[0] == {"type": "tool_search"}
        assert [True, True] == [each["defer_loading"] for each in found[1]["tools"]]
        assert found[2]["defer_loading"]
        assert "defer_loading" not in found[3]

    def test_by_the_client_they_do_not_go_up(self) -> None:
        agent = Agent("m", tools=[*tool_search([*CRM, find_mail], execution="client", description="All.")])
        (only,) = json.loads(agent.warm_up_request())["tools"]

        DEFINITION.validate_python(only)
        assert ("tool_search", "client", "All.") == (only["type"], only["execution"], only["description"])
        assert {"tool_search", "crm.find", "crm.total", "find"} == set(agent.tools_by_name)

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("letter", ["find"]),
            ("Add up the orders of a customer", ["crm.total", "crm.find"]),
            ("nothing of it", []),
        ],
    )
    async def test_by_words(self, query: str, found: list[str]) -> None:
        outcome, answer = await self.search([*CRM, find_mail], {"query": query})

        assert outcome.output == f"found: {', '.join(found) or 'nothing'}"
        assert ("client", "completed") == (answer["execution"], answer["status"])
        assert all(each.get("defer_loading") or each["type"] == "namespace" for each in answer["tools"])
        for each in answer["tools"]:
            DEFINITION.validate_python(each)

    async def test_by_a_function(self) -> None:
        async def latest(said: Any, tools: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return [each for each in tools if each.full_name in said["names"]]

        outcome, answer = await self.search(CRM, {"names": ["crm.total"]}, search=latest)

        assert outcome.output == "found: crm.total"
        assert ["total"] == [each["name"] for each in answer["tools"][0]["tools"]]

    async def test_what_it_finds_fits(self) -> None:
        outcome, answer = await self.search(CRM, {"query": "crm"}, max_output=100)

        assert outcome.output == "found: crm.find, and 1 more, which are too much"
        assert 1 == len(answer["tools"])

    @pytest.mark.parametrize("result", [[total], "total", None])
    async def test_a_search_that_finds_something_else(self, result: Any) -> None:
        outcome, answer = await self.search(CRM, {"query": "x"}, search=lambda said, tools: result)

        assert (outcome.kind, outcome.reason) == ("failed", "invalid_result")
        assert ("incomplete", []) == (answer["status"], answer["tools"])

    @pytest.mark.parametrize(("said", "kind"), [([], "failed"), ("letters", "ok"), ('{"query": "x"}', "ok")])
    async def test_arguments(self, said: Any, kind: str) -> None:
        outcome, _ = await self.search([find_mail], said)

        assert outcome.kind == kind

    @pytest.mark.parametrize("said", [{"query": "\ud800"}, {"query": float("inf")}])
    async def test_arguments_that_are_no_json(self, said: Any) -> None:
        outcome, answer = await self.search([find_mail], said)

        assert ("failed", "invalid_arguments") == (outcome.kind, outcome.reason)
        assert "incomplete" == answer["status"]

    def test_what_makes_no_sense(self) -> None:
        deferred = tool(name="later", defer_loading=True)(find.function)
        for made, words in [
            (lambda: tool_search([]), "takes the tools that can be found"),
            (lambda: tool_search([shell_tool("/")]), "cannot be searched for"),
            (lambda: tool_search([find], execution="both"), "use 'server' or 'client'"),  # type: ignore[arg-type]
            (lambda: tool_search([find], timeout=3), "the server searches by itself"),
            (lambda: tool_search([find], execution="client", search=3), "give a function"),  # type: ignore[arg-type]
            (lambda: Agent("m", tools=[deferred]), "nothing would ever load it"),
        ]:
            with pytest.raises(ConfigError, match=words):
                made()
