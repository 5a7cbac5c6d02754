"""Spoken answers. These events are old and do not say which item they belong to."""

from typing import ClassVar

import attrs

from ._base import ServerEvent


@attrs.frozen(eq=False, repr=False)
class ResponseAudioDelta(ServerEvent):
    """The next piece of audio, in base64."""

    type: ClassVar[str] = "response.audio.delta"
    delta: str


class ResponseAudioDone(ServerEvent):
    """The audio is whole."""

    __slots__ = ()
    type: ClassVar[str] = "response.audio.done"


@attrs.frozen(eq=False, repr=False)
class ResponseAudioTranscriptDelta(ServerEvent):
    """The next piece of what the audio says."""

    type: ClassVar[str] = "response.audio.transcript.delta"
    delta: str


class ResponseAudioTranscriptDone(ServerEvent):
    """The transcript is whole."""

    __slots__ = ()
    type: ClassVar[str] = "response.audio.transcript.done"
