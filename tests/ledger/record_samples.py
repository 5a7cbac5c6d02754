"""What each version wrote of each kind, and what that has to be read as for ever.

`python tests/ledger/record_samples.py` adds the kinds and versions that are not in the file yet. It changes no line that
is there: if one of those is wrong, a record has changed without a new version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from triplane.core import records
from triplane.core.outcome import ToolOutcome
from triplane.ledger.encoding import Encoded, encode, kinds

if TYPE_CHECKING:
    from triplane.core.records import Body

FILE = Path(__file__).parent / "data" / "records.jsonl"

ITEM = {"content": 'é "\\ \u2028 \U0001f600', "n": [1, 2.5, None, True], "role": "user", "type": "message"}
# For fields whose values are not any of their type.
VALUES: dict[str, Any] = {
    "plan": "full",
    "status": "failed",
    "effect": "write",
    "phase": "socket_silent",
    "outcome": ToolOutcome(
        "failed",
        "no",
        "exception",
        0.25,
        2,
        2,
        queue_seconds=0.5,
        attempts=2,
        artifact="art_0",
        content=({"text": "é", "type": "input_text"},),
    ),
    "forked_from": records.ForkedFrom("run_0", "resp_0", "c0", 3, stored=True),
    "transport": "http",
    "frames": ('{"type":"x"}', "{", ""),
    "input": (ITEM,),
    "items": (ITEM, {}),
    "differences": ({"kind": "text"},),
    "irregularities": (),
    "parts": {"instructions": "00ff", "tool é": "é"},
    "changes": ("é changed",),
    "approvals": ("call_é", ""),
}
REASONS = {
    "RequestSent": "first_turn",
    "ResponseRetracted": "stalled",
    "SteersRequeued": "connection_lost",
    "TransportChanged": "websocket_again",
}
BY_TYPE: dict[str, Any] = {"int": 3, "str": "é", "bool": True, "float": 1.5}


def sample(cls: Any) -> Body:
    """A body with something in every field."""
    fields = {}
    for field in attrs.fields(cls):
        kind = str(field.type).removesuffix(" | None")
        if field.name == "reason":
            fields[field.name] = REASONS.get(cls.__name__, "é")
        elif field.name in VALUES and not (field.name == "items" and kind == "int"):
            fields[field.name] = VALUES[field.name]
        else:
            fields[field.name] = BY_TYPE[kind]
    body: Body = cls(**fields)
    return body


def read() -> list[tuple[Encoded, list[str], str]]:
    """Each sample: its bytes, the names of the fields it has, and the text of what it is read as."""
    found = []
    for line in FILE.read_text().splitlines():
        each = json.loads(line)
        data = each["data"].encode()
        encoded = Encoded(each["kind"], each["version"], each["essential"], data)
        found.append((encoded, each["fields"], each["reads_as"]))
    return found


def main() -> None:
    there = {(encoded.kind, encoded.version) for encoded, _, _ in read()} if FILE.exists() else set()
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a") as file:
        for kind in kinds().values():
            if (kind.name, kind.version) not in there:
                body = sample(kind.cls)
                encoded = encode(body)
                line = {
                    "kind": kind.name,
                    "version": encoded.version,
                    "essential": encoded.essential,
                    "fields": [field.name for field in attrs.fields(kind.cls)],
                    "data": encoded.data.decode(),
                    "reads_as": repr(body),
                }
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
