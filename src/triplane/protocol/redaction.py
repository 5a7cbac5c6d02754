"""What of a frame may be shown in an error or a log."""

import re
from typing import Final

MASK: Final = "***"

# Patterns are text here: `re` compiles each when it is first used and keeps it. Most programs never need one.

_CREDENTIAL: Final = (
    r"\b(?i:bearer|basic)\s+[^\s\"',;]+"  # of an Authorization header
    r"|\b(?:sk|rk|pk|sess|ak|gh[pousr]|glpat|xox[a-z]|AKIA|ASIA|AIza|eyJ)[-_A-Za-z0-9.]{6,}"  # known prefixes, JWTs
    r"|[A-Za-z0-9+/_=-]{24,}"  # long base64, hex, UUIDs, or a long name
    r"|\d{9,}"  # long numbers
)
"""Things that look like credentials, wherever they stand."""

_NAME: Final = r"[a-z_]+"

_HEADER: Final = r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=]\s*)[^\r\n\"]+"
"""Headers of which every word is secret."""

_NAMED: Final = r"(?i)\b((?:api|access|secret|private)[-_ ]?key|[a-z_]{0,40}token|secret|passwo?r?d)(['\"]?\s*[:=]\s*['\"]?)[^\s,;&'\"]+"
"""``name: value`` and ``name=value`` in text that is not JSON."""

_STRING: Final = r'(?s)"((?:[^"\\]|\\.)*)("?)(\s*:)?'
_SHOWN_KEYS: Final = frozenset({"type", "code", "status", "role", "object"})
_VOCABULARY: Final = r"[a-z_]{1,64}(?:\.[a-z_]{1,64}){0,3}"


def redact(text: str) -> str:
    """Mask whatever in a frame, or in other text, may be secret.

    In JSON the keys and short numbers stay and every string becomes ``"***"``, except lower-case words under
    the keys ``type``, ``code``, ``status``, ``role`` and ``object``: they are vocabulary of the protocol. A
    string that is cut off is masked up to the end. Everywhere, things that look like credentials are masked:
    bearer tokens, keys with known prefixes, what follows names such as ``api_key=``, and long runs of base64
    or of digits.
    """
    shown = []
    end = 0
    key = ""
    for match in re.finditer(_STRING, text):
        shown.append(_mask_plain(text[end : match.start()]))
        body, closing, colon = match.groups()
        if colon:
            key = body
            shown.append(f'"{_mask_tokens(body)}"{colon}')
        else:
            vocabulary = closing and key in _SHOWN_KEYS and re.fullmatch(_VOCABULARY, body)
            shown.append(match.group() if vocabulary or not body else f'"{MASK}{closing}')
            key = ""
        end = match.end()
    shown.append(_mask_plain(text[end:]))
    return "".join(shown)


def excerpt(data: str | bytes, limit: int = 200) -> str:
    """The beginning of a frame, redacted, at most ``limit`` bytes of UTF-8."""
    head = data[: 4 * limit]
    text = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
    if len(head) < len(data):
        # Half a credential may not look like one.
        text = re.sub(_LAST_WORD, MASK, text)
    return redact(text).encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


_LAST_WORD: Final = r"[^\s\"{}\[\],:]+\Z"


# The shortest that can be a secret with its name: "basic x", "token:x".
_SHORTEST: Final = 7


def _mask_tokens(text: str) -> str:
    if len(text) < _SHORTEST:
        return text
    return re.sub(
        _CREDENTIAL, lambda match: match.group() if re.fullmatch(_NAME, match.group()) else MASK, text
    )


def _mask_plain(text: str) -> str:
    if len(text) < _SHORTEST:
        return text
    return _mask_tokens(re.sub(_NAMED, rf"\1\2{MASK}", re.sub(_HEADER, rf"\1\2{MASK}", text)))
