"""An MCP server of the standard library alone, which starts at once and does what servers should not do.

Its arguments say how it behaves as a whole, and the name of a tool says what a call of it does.
"""

import json
import os
import signal
import sys
import time

HOW = set(sys.argv[1:])
LINE = "0123456789abcde\n"
NUMBER = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "additionalProperties": False,
}
TOOLS = [
    "text", "raise", "refuse", "hang", "late", "much", "bytes", "die", "forks", "stray", "long", "wrong", "environment",
    "progress", "change", "deaf", "unfit", "shut",
]  # fmt: skip
waiting = set()
late = set()


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(number, *texts, error=False, **more):
    send(
        id=number,
        result={"content": [{"type": "text", "text": text} for text in texts], "isError": error, **more},
    )


def listed():
    hints = {"text": {"readOnlyHint": True}, "much": {"idempotentHint": True}}
    tools = [
        {
            "name": name,
            "inputSchema": NUMBER,
            "description": f"Does {name}.",
            "annotations": hints.get(name, {}),
        }
        for name in TOOLS
    ]
    unfit = next(tool for tool in tools if tool["name"] == "unfit")
    unfit["outputSchema"] = {"type": "object", "properties": {"x": {"type": "integer"}}}
    if "odd" in HOW:
        return "none", None
    if "endless" in HOW:
        return tools[:1], tools[:1]
    if "paged" in HOW:
        return tools[:8], tools[8:]
    return tools, None


def call(number, params):
    name = params["name"]
    if name == "text":
        answer(number, "fine")
    elif name == "raise":
        answer(number, "begun", "no sk-abcdefghijkl", error=True)
    elif name == "refuse":
        send(id=number, error={"code": -32602, "message": f"no {os.environ.get('TOKEN')}"})
    elif name == "late":
        print("called", file=sys.stderr, flush=True)
        late.add(number)
    elif name == "much":
        answer(number, LINE * 163_840)
    elif name == "bytes":
        answer(number, "a\ufffdb" + "ä" * 16_384)
    elif name == "die":
        sys.stderr.write(f"Traceback of sorts\nlast words, {os.environ.get('TOKEN')}\n")
        sys.stderr.flush()
        os._exit(3)
    elif name == "forks":
        if not os.fork():
            time.sleep(60)
        answer(number, str(os.getpgid(0)))
    elif name == "stray":
        print("Debug: here I am")
        sys.stdout.buffer.write(b"\xff\xfe{}\n")
        answer(number, "fine")
    elif name == "long":
        sys.stdout.write("x" * 17 * 2**20)
        sys.stdout.flush()
    elif name == "wrong":
        send(id=number, result={"content": "not a list"})
    elif name == "unfit":
        answer(number, "words", structuredContent={"x": "one"})
    elif name == "environment":
        answer(number, " ".join(sorted(os.environ)), os.getcwd())
    elif name == "progress":
        token = params["_meta"]["progressToken"]
        for done, words in ((1, "one"), (2, None)):
            said = {
                "progressToken": token,
                "progress": done,
                "total": 2,
                **({"message": words} if words else {}),
            }
            send(method="notifications/progress", params=said)
        waiting.add(number)
    elif name == "change":
        TOOLS.remove("wrong")
        TOOLS.append("new")
        send(method="notifications/tools/list_changed")
        answer(number, "changed")
    elif name == "shut":
        answer(number, "shut")
        os.close(0)
        while True:
            time.sleep(60)
    elif name == "deaf":
        answer(number, "deaf from now on")
        while True:
            time.sleep(60)


def initialised(number):
    if "slow" in HOW:
        return
    said = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {"listChanged": True}},
        "instructions": "Be kind.",
    }
    send(id=number, result={**said, "serverInfo": {"name": "plain", "version": "1"}})


def serve():
    for line in sys.stdin:
        message = json.loads(line)
        method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
        if method == "initialize":
            initialised(number)
        elif method == "tools/list":
            first, rest = listed()
            if rest is None:
                send(id=number, result={"tools": first})
            elif params.get("cursor") and "endless" not in HOW:
                send(id=number, result={"tools": rest})
            else:
                send(id=number, result={"tools": first, "nextCursor": "2"})
        elif method == "tools/call":
            call(number, params)
        elif method == "notifications/cancelled":
            print(f"cancelled {params['requestId']}", file=sys.stderr, flush=True)
            if params["requestId"] in late:
                answer(params["requestId"], "too late")
        elif number is not None:
            if "touchy" in HOW:
                sys.exit("expected the handshake")
            send(id=number, error={"code": -32601, "message": "no such method"})


if "ends" in HOW:
    sys.exit("usage: something else")
if "noise" in HOW:
    while True:
        print(f"{'y' * 150} {os.environ['TOKEN']}" if "TOKEN" in os.environ else "y")
if "stubborn" in HOW:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
serve()
if "stubborn" in HOW or "stays" in HOW:
    while True:
        time.sleep(60)
