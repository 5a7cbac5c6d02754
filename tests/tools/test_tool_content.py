"""Images, files and structured content as outputs, and outputs that are read on in pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import Recorder, call, run_all, run_one, steady

from triplane.core.answers import answers_of
from triplane.core.outcome import ToolCall
from triplane.ledger import FileArtifacts
from triplane.tools import File, Image, Production, Workbench, read_artifact_tool, tool

if TYPE_CHECKING:
    from pathlib import Path


def returning(value: Any, **options: Any) -> Any:
    @tool(name="give", **options)
    async def give() -> Any:
        await trio.lowlevel.checkpoint()
        return value

    return give


@pytest.mark.parametrize(
    ("value", "parts", "words"),
    [
        (
            Image(b"\x89PNG", detail="low"),
            [{"type": "input_image", "detail": "low", "image_url": "data:image/png;base64,iVBORw=="}],
            "[image: image/png, 4 bytes]",
        ),
        (
            ["see", Image(url="https://example.org/a.png"), {"a": 1}],
            [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "detail": "auto", "image_url": "https://example.org/a.png"},
                {"type": "input_text", "text": '{"a":1}'},
            ],
            'see\n[image: https://example.org/a.png]\n{"a":1}',
        ),
        (
            File(b"a,b", "t.csv"),
            [{"type": "input_file", "filename": "t.csv", "file_data": "data:text/csv;base64,YSxi"}],
            "[file t.csv: text/csv, 3 bytes]",
        ),
        (File(file_id="file_1"), [{"type": "input_file", "file_id": "file_1"}], "[file file: file_1]"),
        (Image(file_id="file_1"), [{"type": "input_image", "detail": "auto", "file_id": "file_1"}], "[image: file_1]"),
    ],
)  # fmt: skip
async def test_parts(value: Any, parts: Any, words: str) -> None:
    outcome = await run_one(returning(value))

    assert outcome.kind == "ok"
    assert list(outcome.content or ()) == parts
    assert outcome.output == words
    (answer,) = answers_of([(ToolCall("c1", "give", "{}"), outcome)])
    assert answer["output"] == parts


async def test_texts_among_parts_share_the_budget() -> None:
    outcome = await run_one(returning(["a" * 60, Image(b"x"), "b" * 60], max_output=100))

    assert outcome.content is not None
    assert outcome.kind == "truncated"
    assert outcome.content[0]["text"] == "a" * 60
    assert outcome.content[2]["text"] == "b" * 30 + "\n[… 20 bytes cut …]\n" + "b" * 10


async def test_parts_that_are_too_large_are_no_result() -> None:
    outcome = await run_one(returning(Image(b"x" * 9_000_000)))

    assert (outcome.kind, outcome.reason) == ("failed", "invalid_result")
    assert "at most 8,388,608 are sent" in outcome.output


def test_a_part_has_one_source() -> None:
    for sources in ({}, {"data": b"x", "url": "y"}):
        with pytest.raises(ValueError, match="takes one of data=, url= and file_id=, not"):
            Image(**sources)
    assert "secret" not in repr(Image(b"secret"))


class TestReadingOn:
    async def cut(self, text: str, store: FileArtifacts, **options: Any) -> Any:
        return await run_one(returning(text, **options), workbench=Workbench(artifacts=store))

    async def page(self, store: FileArtifacts, **arguments: Any) -> Any:
        reader = read_artifact_tool()
        one = call(reader.name, "c9", **arguments)
        (outcome,) = await run_all(
            one, tools=[reader], observer=Recorder(), workbench=Workbench(artifacts=store)
        )
        return outcome

    async def test_pages(self) -> None:
        store = FileArtifacts()
        text = "".join(f"line {number}\n" for number in range(5_000))
        outcome = await self.cut(text, store, max_output=200)
        name = outcome.artifact

        first = await self.page(store, artifact=name)
        second = await self.page(store, artifact=name, offset=16_384, length=100)

        assert f"[… {len(text) - 200:,} bytes cut; all of it is in the artifact {name} …]" in outcome.output
        head, _, body = first.output.partition("\n")
        assert head == f"{name}: bytes 0 to 16384 of {len(text)}; the next page begins at offset 16384"
        assert body == text[:16_384]
        assert second.output.partition("\n")[2] == text[16_384:16_484]
        last = await self.page(store, artifact=name, offset=len(text) - 10)
        assert last.output.startswith(
            f"{name}: bytes {len(text) - 10} to {len(text)} of {len(text)}; this is the end"
        )
        assert [each.artifact_id for each in store.of_run("run")] == [name]

    async def test_nothing_is_kept_that_the_model_has_got(self) -> None:
        store = FileArtifacts()

        outcome = await self.cut("x" * 200, store, max_output=200)

        assert (outcome.kind, outcome.artifact, store.of_run("run")) == ("ok", None, ())

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"artifact": "art_none"}, "there is no artifact 'art_none'; the artifacts are: art_"),
            ({"artifact": "../../etc/passwd"}, "there is no artifact '../../etc/passwd'"),
            ({"offset": 9_999_999}, "offset=9999999, length=16384: the artifact has 1000 bytes"),
            ({"offset": -1}, "offset=-1"),
            ({"length": 1}, "a page at least 4"),
        ],
    )
    async def test_what_cannot_be_read(self, arguments: Any, words: str) -> None:
        store = FileArtifacts()
        name = (await self.cut("x" * 1000, store, max_output=10)).artifact

        outcome = await self.page(store, **{"artifact": name, **arguments})

        assert outcome.kind == "failed"
        assert words in outcome.output

    async def test_without_a_store(self) -> None:
        reader = read_artifact_tool()

        outcome = await run_one(reader, artifact="art_1")

        assert "the artifacts are: none" in outcome.output

    async def test_a_full_disk_costs_the_artifact_and_not_the_call(self, monkeypatch: Any) -> None:
        store = FileArtifacts()
        writer = store.create("other", "x")

        def full(_self: Any, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(type(writer), "write", full)
        outcome = await self.cut("x" * 1000, store, max_output=10)
        writer.close()

        assert (outcome.kind, outcome.bytes_kept) == ("truncated", 10)


@steady
@given(st.text(min_size=1, max_size=300), st.integers(4, 40), st.data())
def test_pages_put_together_are_the_text(text: str, length: int, data: st.DataObject) -> None:
    """Wherever characters are cut by a page's end, no byte is lost and none comes twice."""
    text = text.encode(errors="replace").decode()
    store = FileArtifacts()

    async def main() -> str:
        writer = store.create("run", "art_1")
        writer.write(text.encode())
        writer.close()
        reader = read_artifact_tool()
        pieces, offset = [], 0
        while True:
            arguments = {"artifact": "art_1", "offset": offset, "length": length}
            (outcome,) = await run_all(
                ToolCall(f"c{offset}", reader.name, json.dumps(arguments)),
                tools=[reader],
                workbench=Workbench(artifacts=store),
            )
            head, _, body = outcome.output.partition("\n")
            pieces.append(body)
            if head.endswith("this is the end"):
                return "".join(pieces)
            offset = int(head.rpartition(" ")[2])

    assert text == trio.run(main)


class TestTheStore:
    def test_it_lasts_if_it_has_a_place(self, tmp_path: Path) -> None:
        writer = FileArtifacts(tmp_path).create("run", "art_1")
        writer.write(b"abc")
        writer.close()
        writer.close()
        other = FileArtifacts(tmp_path)
        found = other.find("run", "art_1")

        assert found is not None
        assert (found.size, found.run_id) == (3, "run")
        assert [each.artifact_id for each in other.of_run("run")] == ["art_1"]
        assert (tmp_path / "run" / "art_1").stat().st_mode & 0o777 == 0o600
        with pytest.raises(ValueError, match="takes nothing more"):
            writer.write(b"d")

    def test_hostile_names_stay_inside(self, tmp_path: Path) -> None:
        store = FileArtifacts(tmp_path / "here")
        for run_id, name in (("../x", "a"), ("run", "../../y"), ("a/b", "c"), ("x" * 300, "\0")):
            writer = store.create(run_id, name)
            writer.write(b"x")
            writer.close()
            assert store.find(run_id, name) is not None
        assert [path.name for path in tmp_path.iterdir()] == ["here"]

    async def test_a_temporary_one_goes(self) -> None:
        store = FileArtifacts()
        store.create("run", "a").close()
        place = store._directory
        assert place is not None
        assert place.exists()
        assert b"" == await store.read("run", "a")
        with pytest.raises(KeyError):
            await store.read("run", "b")
        del store
        assert not place.exists()


async def test_an_answer_of_ones_own_that_cannot_be_written() -> None:
    """It would be found out by the next request, and end the run."""

    @tool(effect="read")
    async def f() -> None: ...

    async def produce(arguments: dict[str, Any], production: Production) -> str:
        await trio.lowlevel.checkpoint()
        production.content.append({"type": "input_text", "text": "\ud800"})
        return "a"

    outcome = await run_one(attrs.evolve(f, producer=produce))

    assert ("failed", "invalid_result", None) == (outcome.kind, outcome.reason, outcome.content)
    assert outcome.output.startswith("The tool ran, but its input_text cannot be written as JSON: ")


async def test_words_about_a_result_hold_no_key() -> None:
    class Telling(list[int]):
        def __iter__(self) -> Any:
            raise ValueError("api_key=abcdefgh12")

    outcome = await run_one(returning(Telling([1])))

    words = "its result, a Telling, cannot be read: ValueError: api_key=[redacted]"
    assert f"The tool ran, but {words}" == outcome.output
