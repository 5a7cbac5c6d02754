"""Scripts as YAML files, for those who would rather not write Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, final

import attrs
import yaml  # type: ignore[import-untyped,unused-ignore]  # its types are a package of their own, here or not

from triplane.server import Expect, Script, Turn
from triplane.server.steps.vocabulary import step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triplane.server.steps import Step

__all__ = ["ScriptFileError", "load_script", "parse_script"]

T = TypeVar("T")

_MATCHED: Final = ("text", "first_text", "model", "instructions")
_FIELDS: Final = tuple(field.name for field in attrs.fields(Expect) if field.name != "where")


class ScriptFileError(ValueError):
    """A file is no script: it says where and why."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]  # see the import
    """Safe YAML in which `no` is a word and not a boolean, and 010 is ten."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as its parent has it


# The core schema of YAML 1.2.
_CORE: Final = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
}
for _tag, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def load_script(path: Path | str) -> Script:
    """Return the script in the YAML file at `path`.

    The file is a mapping: `turns` is a list of turns; `conversations` is a list of mappings with `match`, `turns` and
    perhaps `name`; `name` is the model's. A turn is a list of steps, or a mapping of `says`, `expect`, `times` and
    `name`, see `triplane.server.Turn`. A step is a string, which is a text, or a mapping of its name to its value, see
    `triplane.server.steps.vocabulary`. Where something is expected, `{search: pattern}` is a regular expression.

    Raises:
        ScriptFileError: the file says something else; it names the line.
        OSError: the file cannot be read.
    """
    path = Path(path)
    return parse_script(path.read_text(encoding="utf-8"), source=str(path))


def parse_script(text: str, *, source: str = "<script>") -> Script:
    """Return the script that `text`, which is YAML, says; see `load_script`.

    Args:
        text: the script.
        source: what messages call it.

    Raises:
        ScriptFileError: it is none.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise ScriptFileError(f"{where}: {getattr(exc, 'problem', None) or exc}") from None
    if node is None:
        raise ScriptFileError(f"{source}: it is empty")
    return _Reader(source).script(node)


@final
class _Reader:
    """Reads nodes, which know their lines, so that every error can name one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._open: set[int] = set()

    def script(self, node: yaml.Node) -> Script:
        fields = self._fields(node, "a script", ("name", "turns", "conversations"))
        if not fields.keys() & {"turns", "conversations"}:
            self._fail(node, "a script has turns or conversations")
        name = self._scalar(fields["name"], str, "name") if "name" in fields else "script"
        script = Script(self._turns(fields["turns"]) if "turns" in fields else (), name=name)
        for each in (
            self._items(fields["conversations"], "conversations") if "conversations" in fields else ()
        ):
            conversation = self._fields(each, "a conversation", ("name", "match", "turns"))
            for needed in ("match", "turns"):
                if needed not in conversation:
                    self._fail(each, f"a conversation needs {needed}")
            match = conversation["match"]
            script.conversation(
                self._turns(conversation["turns"]),
                match=self._plain(match) if isinstance(match, yaml.ScalarNode) else self._expect(match),
                name=self._scalar(conversation["name"], str, "name") if "name" in conversation else "",
            )
        return script

    def _turns(self, node: yaml.Node) -> list[Turn]:
        return [self._turn(each) for each in self._items(node, "turns")]

    def _turn(self, node: yaml.Node) -> Turn:
        if not isinstance(node, yaml.MappingNode):
            return Turn(self._steps(node))
        fields = self._fields(node, "a turn", ("says", "expect", "times", "name"))
        if "says" not in fields:
            self._fail(node, "a turn needs says")
        options: dict[str, Any] = {}
        if "times" in fields:
            options["times"] = self._scalar(fields["times"], int, "times")
        if "name" in fields:
            options["name"] = self._scalar(fields["name"], str, "name")
        expect = self._expect(fields["expect"]) if "expect" in fields else None
        says = self._steps(fields["says"])
        return self._made(node, lambda: Turn(says, expect, **options))

    def _steps(self, node: yaml.Node) -> list[Step | str]:
        if isinstance(node, yaml.SequenceNode):
            return [self._step(each) for each in node.value]
        return [self._step(node)]

    def _step(self, node: yaml.Node) -> Step | str:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, str, "a step")
        if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
            self._fail(node, "a step is a text, or one name with its value")
        ((key, value),) = node.value
        name = self._scalar(key, str, "the name of a step")
        plain = self._plain(value)
        return self._made(value if isinstance(value, yaml.MappingNode) else key, lambda: step_of(name, plain))

    def _expect(self, node: yaml.Node) -> Expect:
        if isinstance(node, yaml.ScalarNode):
            return Expect(text=self._scalar(node, str, "expect"))
        fields = self._fields(node, "expect", (*_FIELDS, "search"))
        if "search" in fields:
            return Expect(text=self._matcher(node))
        values: dict[str, Any] = {}
        for name, value in fields.items():
            if name in _MATCHED:
                values[name] = self._matcher(value)
            elif name == "outputs" and isinstance(value, yaml.MappingNode):
                values[name] = {
                    self._scalar(key, str, "the name of a tool"): self._matcher(each)
                    for key, each in value.value
                }
            elif name == "outputs":
                values[name] = [self._matcher(each) for each in self._items(value, "outputs")]
            else:
                values[name] = self._plain(value)
        return self._made(node, lambda: Expect(**values))

    def _matcher(self, node: yaml.Node) -> str | re.Pattern[str] | None:
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag.endswith(":null") else str(node.value)
        fields = self._fields(node, "what is expected", ("search",))
        if "search" not in fields:
            self._fail(node, "what is expected needs search")
        pattern = self._scalar(fields["search"], str, "search")
        try:
            return re.compile(pattern)
        except re.error as exc:
            self._fail(node, f"no regular expression: {exc}")

    # YAML.

    def _plain(self, node: yaml.Node) -> Any:
        """Return what `node` is in JSON."""
        if isinstance(node, yaml.ScalarNode):
            return self._value(node)
        if id(node) in self._open:
            self._fail(node, "it contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._plain(each) for each in node.value]
            return {key: self._plain(value) for key, value in self._fields(node, "a mapping").items()}
        finally:
            self._open.remove(id(node))

    def _value(self, node: yaml.ScalarNode) -> Any:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag == "null":
            return None
        if tag == "bool":
            return node.value.lower() == "true"
        if tag in ("int", "float"):
            return int(node.value) if tag == "int" else float(node.value)
        if tag != "str":
            self._fail(node, f"no value of the tag {node.tag}")
        return str(node.value)

    def _scalar(self, node: yaml.Node, kind: type[T], what: str) -> T:
        value = self._value(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            self._fail(node, f"{what} must be {'a text' if kind is str else 'a whole number'}")
        return value

    def _items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, f"{what} must be a list")
        return list(node.value)

    def _fields(
        self, node: yaml.Node, what: str, known: tuple[str, ...] | None = None
    ) -> Mapping[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"{what} must be a mapping")
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._scalar(key, str, "a key")
            if name in fields:
                self._fail(key, f"{name} is there twice")
            if known is not None and name not in known:
                self._fail(key, f"{what} has no {name}; it has {', '.join(known)}")
            fields[name] = value
        return fields

    def _made(self, node: yaml.Node, make: Callable[[], T]) -> T:
        try:
            return make()
        except (TypeError, ValueError) as exc:
            self._fail(node, str(exc.args[0]))

    def _fail(self, node: yaml.Node, message: str) -> NoReturn:
        raise ScriptFileError(f"{self._source}:{node.start_mark.line + 1}: {message}") from None
