"""The arguments of a call with something else for its secrets: masks, as they come in pieces, or the secrets again.

What remains is the model's own text, character by character, with masks in it. So pieces that are masked one after the
other make the same text as the whole that is masked at once, and texts that are no JSON stay none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal, final

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

_SPACE: Final = " \t\r\n"
_NO_JSON: Final = "[secret]"

_State = Literal["start", "key", "in key", "colon", "value", "end", "lost"]


@final
class MaskedArguments:
    """The arguments of one call.

    Args:
        shown: The names of the parameters whose values are no secrets. All others are: a name that is misspelt too.
        replace: Gives what is to stand for a value.
    """

    def __init__(self, shown: Container[str], replace: Callable[[Any], Any]) -> None:
        self._shown = shown
        self._replace = replace
        self._state: _State = "start"
        # What is held back: a name, or the value of a secret.
        self._held = ""
        self._is_secret = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> str:
        """What the next piece becomes. A secret comes out as its mask once it is complete."""
        return "".join([self._take(character) for character in text])

    def _take(self, character: str) -> str:
        match self._state:
            case "lost":
                return ""
            case "in key":
                return self._take_of_key(character)
            case "value":
                return self._take_of_value(character)
        if character in _SPACE:
            return character
        match self._state, character:
            case "start", "{":
                self._state = "key"
            case "key", ",":
                pass
            case "key", "}":
                self._state = "end"
            case "key", '"':
                self._state = "in key"
                self._held = character
                return ""
            case "colon", ":":
                self._state = "value"
                self._held = ""
            case _:
                return self._lose()
        return character

    def _take_of_key(self, character: str) -> str:
        self._held += character
        if self._escaped or character != '"':
            self._escaped = not self._escaped and character == "\\"
            return ""
        try:
            name = json.loads(self._held)
        except ValueError:
            return self._lose()
        self._is_secret = name not in self._shown
        self._state = "colon"
        return self._held

    def _take_of_value(self, character: str) -> str:
        if self._in_string:
            if not self._escaped and character == '"':
                self._in_string = False
            self._escaped = not self._escaped and character == "\\"
        elif character in ",}" and not self._depth:
            self._state = "key" if character == "," else "end"
            return self._end_of_value() + character if self._is_secret else character
        elif character in "]}":
            self._depth -= 1
        elif character in "[{":
            self._depth += 1
        elif character == '"':
            self._in_string = True
        if not self._is_secret:
            return character
        self._held += character
        return ""

    def _end_of_value(self) -> str:
        value = self._held.strip(_SPACE)
        before, _, after = self._held.partition(value) if value else (self._held, "", "")
        try:
            decoded = json.loads(value)
        except ValueError:
            return self._lose()
        # That nothing was given is no secret, and stands for the default.
        return before + (value if decoded is None else json.dumps(self._replace(decoded))) + after

    def _lose(self) -> str:
        """This is no object, so nobody can say what of it is a secret: what follows is left out."""
        self._state = "lost"
        return _NO_JSON
