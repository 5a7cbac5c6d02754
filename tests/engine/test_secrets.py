"""Secrets that the model writes: in the tool, and nowhere else that a run leaves something."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import attrs
import orjson
import pytest
from played_server import Frame, Played, call, message, open_stage
from resuming import cut_off

import triplane
from triplane.core.reducer import RunReducer
from triplane.protocol import ResponseFunctionCallArgumentsDelta
from triplane.tools import Vault, Vaults

PASSWORD = 'correct horse "battery" staple'
RUN = "run_1"


def mask(number: int = 1) -> str:
    """What stands for a secret in `RUN`, by the order in which it was told them."""
    vault = Vault(RUN)
    return [vault.hide(value) for value in range(number)][-1]


@attrs.define
class Bank:
    """What the tools were given."""

    got: list[Any] = attrs.field(factory=list)

    @triplane.tool
    async def login(self, user: str, password: Annotated[str, triplane.Secret()]) -> str:
        """Log in."""
        self.got.append(password)
        return f"welcome, {user}"

    @triplane.tool(effect="read", early=True)
    async def peek(self, password: Annotated[str, triplane.Secret()]) -> str:
        """Look."""
        self.got.append(password)
        return f"{len(password)} characters"

    @triplane.tool
    async def fail(self, password: Annotated[str, triplane.Secret()]) -> str:
        """Fail."""
        self.got.append(password)
        raise RuntimeError(f"not {password}")

    def agent(self, **more: Any) -> triplane.Agent:
        return triplane.Agent("m", tools=triplane.tools_of(self), **more)


def login(password: str, number: int = 1) -> Frame:
    arguments = json.dumps({"user": "me", "password": password})
    return call("login", arguments, f"call_{number}", f"fc_{number}")


async def say_call_in_pieces(peer: Played, item: Frame, size: int, response_id: str = "resp_1") -> None:
    """Say a call as servers do: its arguments bit by bit, then whole, then in the item, then in the response."""
    arguments = item["arguments"]
    where = {"item_id": item["id"], "output_index": 0}
    await peer.created(response_id)
    begun = item | {"arguments": "", "status": "in_progress"}
    await peer.say("response.output_item.added", output_index=0, item=begun)
    for at in range(0, len(arguments), size):
        await peer.say("response.function_call_arguments.delta", delta=arguments[at : at + size], **where)
    await peer.say("response.function_call_arguments.done", arguments=arguments, **where)
    await peer.done(item)
    await peer.completed(response_id, item)


def check_masked(log: Any) -> None:
    """Nobody can read the password in a log, and what the log says makes the same state again."""
    records = log.records
    assert "horse" not in repr(records)
    reducer = RunReducer()
    for record in records:
        reducer.apply(record)
    assert "horse" not in repr(reducer.settled()) + repr(reducer.snapshot())


@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_the_frames_of_a_call_lose_its_secrets(autojump_clock, size) -> None:
    bank = Bank()

    async def play(peer: Played) -> None:
        await peer.request()
        await say_call_in_pieces(peer, login(PASSWORD), size)
        await peer.request()
        await peer.answer("resp_2", message("Done."))

    async with (
        open_stage(play, strict=True) as stage,
        stage.engine.open_run(bank.agent(), "Go.", run_id=RUN) as run,
    ):
        events = [event async for event in run]

    masked = json.dumps({"user": "me", "password": mask()})
    deltas = [event.delta for event in events if isinstance(event, ResponseFunctionCallArgumentsDelta)]
    assert [PASSWORD] == bank.got
    assert masked == "".join(deltas)
    assert [masked] == [event.arguments for event in events if isinstance(event, triplane.ToolStarted)]
    assert not any(isinstance(event, triplane.DifferencesFound) for event in events)
    assert "horse" not in repr(events) + repr(run.state) + repr(run)
    check_masked(run.log)
    # What was not touched is as it came.
    assert any('"Done."' in frame for event in run.log.records for frame in getattr(event.body, "frames", ()))


async def test_the_model_is_sent_the_mask_and_may_use_it(autojump_clock) -> None:
    bank = Bank()

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.answer("resp_1", login(PASSWORD))
            await peer.request()
            await peer.close(1012)
            return
        await peer.answer("resp_2", login(mask(), 2))
        await peer.request()
        await peer.answer("resp_3", message("Done."))

    async with open_stage(play) as stage, stage.engine.open_run(bank.agent(), "Go.", run_id=RUN) as run:
        await run.wait()

    assert [PASSWORD, PASSWORD] == bank.got
    again = stage.requests[2]["input"]
    assert [mask()] == [
        orjson.loads(item["arguments"])["password"] for item in again if item["type"] == "function_call"
    ]
    check_masked(run.log)


async def test_what_is_said_of_a_call_that_failed_has_no_secret(autojump_clock) -> None:
    bank = Bank()

    async def play(peer: Played) -> None:
        for number in range(1, 10):
            await peer.request()
            arguments = json.dumps({"password": f"{PASSWORD} {number}"})
            await peer.answer(f"resp_{number}", call("fail", arguments, f"call_{number}", f"fc_{number}"))

    agent = bank.agent(limits=triplane.RunLimits(repeated_failure=3, max_turns=5))
    async with open_stage(play) as stage, stage.engine.open_run(agent, "Go.", run_id=RUN) as run:
        with pytest.raises(triplane.LimitReached) as caught:
            await run.wait()

    # Each is another call than the one before: that much a mask tells.
    assert "max_turns" == caught.value.which
    assert f"RuntimeError: not {mask(2)}" in run.state.tool_calls[1].outcome.output
    check_masked(run.log)

    bank = Bank()
    async with (
        open_stage(play) as stage,
        stage.engine.open_run(bank.agent(on_error="raise"), "Go.", run_id=RUN) as run,
    ):
        with pytest.raises(triplane.RunFailed, match=re.escape(f"not {mask()}")) as failed:
            await run.wait()
    assert None is failed.value.__cause__


async def test_a_secret_does_not_outlive_the_process(bench, autojump_clock) -> None:
    bank = Bank()

    async def play(peer: Played) -> None:
        await peer.request()
        if not peer_answers:
            await peer.answer("resp_1", login(PASSWORD))
        else:
            await peer.answer("resp_2", message("Then not."))

    peer_answers = False
    async with open_stage(play) as stage, stage.engine.open_run(bank.agent(), "Go.", run_id=RUN) as run:
        async for event in run:
            if isinstance(event, triplane.ToolQueued):
                break
        records = run.log.records
    before = next(place for place, each in enumerate(records) if isinstance(each.body, triplane.ToolQueued))

    peer_answers = True
    bank.got.clear()
    ledger = cut_off(records, before)
    async with open_stage(play, ledger=ledger) as stage:
        state = await stage.engine.resume(run.run_id, bank.agent())

    assert [] == bank.got
    (told,) = [
        item["output"] for item in stage.requests[0]["input"] if item["type"] == "function_call_output"
    ]
    assert f"{mask()} stands for a secret that is not known any more" in told
    assert "Then not." == state.text


async def test_a_fork_knows_the_secrets_of_its_source(autojump_clock) -> None:
    bank = Bank()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("resp_1", login(PASSWORD))
        await peer.request()
        await peer.answer("resp_2", message("Done."))
        await peer.request()
        await peer.answer("resp_3", login(mask(), 2), login("another", 3))
        await peer.request()
        await peer.answer("resp_4", message("Again."))

    async with open_stage(play) as stage, stage.engine.open_run(bank.agent(), "Go.", run_id=RUN) as run:
        await run.wait()
        async with run.fork("And now?") as fork:
            await fork.wait()
            check_masked(fork.log)

    assert [PASSWORD, PASSWORD, "another"] == [bank.got[0], *sorted(bank.got[1:], reverse=True)]
    started = [each.body for each in fork.log.records if isinstance(each.body, triplane.ToolStarted)]
    assert {mask(1), mask(2)} == {orjson.loads(each.arguments)["password"] for each in started}


async def test_an_early_call_is_not_taken_for_one_with_another_secret(autojump_clock) -> None:
    bank = Bank()

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("resp_1")
            await peer.done(call("peek", '{"password": "first"}', "call_1", "fc_1"))
            await peer.close(1012)
            return
        await peer.answer("resp_2", call("peek", '{"password": "second one"}', "call_2", "fc_2"))
        await peer.request()
        await peer.answer("resp_3", message("Done."))

    async with open_stage(play) as stage, stage.engine.open_run(bank.agent(), "Go.", run_id=RUN) as run:
        await run.wait()

    assert ["first", "second one"] == bank.got
    assert "10 characters" == run.state.tool_calls[-1].outcome.output


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"response.function_call_arguments.delta","delta":"{\\"password\\": \\"correct horse',
        "correct horse",
        '[{"type": "function_call", "name": "login", "arguments": "{\\"password\\": \\"correct horse\\"}"}]',
        "[" * 5_000 + '"correct horse"' + "]" * 5_000,
    ],
)
async def test_a_frame_that_nobody_understands_is_not_quoted(autojump_clock, frame) -> None:
    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("resp_1")
        await peer._websocket.send_message(frame)

    options = {"replay_attempts": 0}
    async with (
        open_stage(play, **options) as stage,
        stage.engine.open_run(Bank().agent(), "Go.", run_id=RUN) as run,
    ):
        with pytest.raises(triplane.ProtocolViolation) as caught:
            await run.wait()

    assert "horse" not in repr(caught.value) + str(caught.value)
    check_masked(run.log)


async def test_calls_of_tools_that_nobody_knows_keep_everything_to_themselves(autojump_clock) -> None:
    async def play(peer: Played) -> None:
        await peer.request()
        where = {"item_id": "fc_1", "output_index": 0}
        await peer.created("resp_1")
        # Without an announcement, and by a name that is misspelt.
        await peer.say("response.function_call_arguments.delta", delta='{"password": "correct ', **where)
        await peer.say("response.function_call_arguments.delta", delta='horse"}', **where)
        await peer.completed("resp_1", call("logon", '{"password": "correct horse"}'))
        await peer.request()
        await peer.answer("resp_2", message("Done."))

    async with open_stage(play) as stage, stage.engine.open_run(Bank().agent(), "Go.", run_id=RUN) as run:
        state = await run.wait()

    assert "unknown_tool" == state.tool_calls[0].outcome.reason
    check_masked(run.log)


async def test_an_agent_without_secrets_keeps_its_frames_as_they_came(autojump_clock) -> None:
    @triplane.tool
    async def note(password: str) -> str:
        return password

    said = {}

    async def play(peer: Played) -> None:
        await peer.request()
        said.update(call("note", '{ "password" :  "p" }'))
        await peer.answer("resp_1", said)
        await peer.request()
        await peer.answer("resp_2", message("Done."))

    async with (
        open_stage(play) as stage,
        stage.engine.open_run(triplane.Agent("m", tools=[note]), "Go.") as run,
    ):
        await run.wait()

    frames = "".join(frame for each in run.log.records for frame in getattr(each.body, "frames", ()))
    assert orjson.dumps(said).decode() in frames


@pytest.mark.parametrize("asks", [True, lambda arguments: arguments["pin"] > 1_000])
async def test_who_is_asked_about_a_call_sees_the_mask(autojump_clock, asks) -> None:
    """And is asked, whatever the type of the secret."""
    got: list[int] = []

    @triplane.tool(needs_approval=asks)
    async def unlock(pin: Annotated[int, triplane.Secret()]) -> str:
        got.append(pin)
        return "unlocked"

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("resp_1", call("unlock", '{"pin": 24680}'))
        await peer.request()
        await peer.answer("resp_2", message("Done."))

    agent = triplane.Agent("m", tools=[unlock])
    async with open_stage(play) as stage, stage.engine.open_run(agent, "Go.", run_id=RUN) as run:
        async for event in run:
            if isinstance(event, triplane.ApprovalAsked):
                assert json.dumps({"pin": mask()}) == event.arguments
                assert [] == got
                run.approve(event.call_id)

    assert [24680] == got
    assert "24680" not in repr(run.log.records)


async def test_a_question_that_fails_does_not_quote_the_secret(autojump_clock) -> None:
    def asks(arguments: Any) -> bool:
        raise ValueError(f"what is {arguments['password']}?")

    @triplane.tool(needs_approval=asks)
    async def unlock(password: Annotated[str, triplane.Secret()]) -> str:
        return "unlocked"

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("resp_1", call("unlock", json.dumps({"password": PASSWORD})))

    agent = triplane.Agent("m", tools=[unlock])
    async with open_stage(play) as stage, stage.engine.open_run(agent, "Go.", run_id=RUN) as run:
        async for event in run:
            if isinstance(event, triplane.ApprovalAsked):
                assert f"what is {mask()}?" in event.note
                break
        check_masked(run.log)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_parked_run_goes_on_with_its_secrets_where_they_are_known(autojump_clock, elsewhere) -> None:
    got: list[str] = []

    @triplane.tool(needs_approval=True)
    async def unlock(password: Annotated[str, triplane.Secret()]) -> str:
        got.append(password)
        return "unlocked"

    async def play(peer: Played) -> None:
        frame = await peer.request()
        if len(frame["input"]) == 1:
            await peer.answer("resp_1", call("unlock", json.dumps({"password": PASSWORD})))
            frame = await peer.request()
        await peer.answer("resp_2", message(frame["input"][-1]["output"]))

    agent = triplane.Agent("m", tools=[unlock])
    ledger = triplane.MemoryLedger()
    async with open_stage(play, ledger=ledger) as stage:
        with pytest.raises(triplane.ApprovalRequired) as parked:
            await stage.engine.run(agent, "Go.")
        run_id = parked.value.run_id
        yes = [asked.call_id for asked in parked.value.approvals]
        if not elsewhere:
            state = await stage.engine.resume(run_id, agent, approve=yes)
    if elsewhere:
        async with open_stage(play, ledger=ledger) as stage:
            state = await stage.engine.resume(run_id, agent, approve=yes)

    assert ([] if elsewhere else [PASSWORD]) == got
    assert elsewhere == ("stands for a secret that is not known any more" in state.text)
    check_masked(ledger.logs[run_id])


def test_not_everything_is_kept_for_ever() -> None:
    vaults = Vaults()
    for number in range(1_500):
        vault = Vault()
        if number % 3:
            vault.hide("secret")
        vaults.keep(f"run_{number}", vault)

    assert None is vaults.take("run_0")
    assert None is vaults.take("run_1497")
    kept = vaults.take("run_1499")
    assert kept is not None
    assert 1 == len(kept)
    assert None is vaults.take("run_1499")


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_what_is_secret_to_one_tool_is_none_to_its_namesake(autojump_clock, in_pieces) -> None:
    got: list[str] = []

    @triplane.tool(name="find")
    async def find_customer(query: str, password: Annotated[str, triplane.Secret()]) -> str:
        """Find a customer."""
        got.append(password)
        return "found"

    @triplane.tool
    async def find(query: str) -> str:
        """Find a page."""
        got.append(query)
        return "found"

    @triplane.tool(name="find")
    async def find_secretly(query: Annotated[str, triplane.Secret()]) -> str:
        """Find what nobody may know of."""
        got.append(query)
        return "found"

    crm = call("find", json.dumps({"query": "me", "password": PASSWORD}), "call_1", "fc_1")
    calls = (
        crm | {"namespace": "crm"},
        call("find", '{"query": "trio"}', "call_2", "fc_2") | {"namespace": "docs"},
        call("find", '{"query": "horse"}', "call_3", "fc_3"),
    )

    async def play(peer: Played) -> None:
        for number, said in enumerate(calls, 1):
            await peer.request()
            if in_pieces:
                await say_call_in_pieces(peer, said, 7, f"resp_{number}")
            else:
                await peer.answer(f"resp_{number}", said)
        await peer.request()
        await peer.answer("resp_4", message("Done."))

    tools = [
        *triplane.namespace("crm", "Customers.", [find_customer]),
        *triplane.namespace("docs", "Pages.", [find]),
        find_secretly,
    ]
    agent = triplane.Agent("m", tools=tools)
    async with open_stage(play) as stage, stage.engine.open_run(agent, "Go.", run_id=RUN) as run:
        events = [event async for event in run]

    assert [PASSWORD, "trio", "horse"] == got
    started = [orjson.loads(event.arguments) for event in events if isinstance(event, triplane.ToolStarted)]
    assert ["me", "trio"] == [each["query"] for each in started[:2]]
    check_masked(run.log)
    assert not any(isinstance(event, triplane.DifferencesFound) for event in events)


async def test_whoever_takes_up_a_fork_gives_out_no_mask_of_its_source(autojump_clock) -> None:
    """Though both were taken up as often, and have told their model one secret each."""
    bank = Bank()

    async def play(peer: Played) -> None:
        request = await peer.request()
        if "And now?" in str(request["input"]):
            await peer.answer("resp_3", login("another", 2))
            await peer.request()
            (old,) = (item for item in request["input"] if item["type"] == "function_call")
            await peer.answer("resp_4", old | {"id": "fc_3", "call_id": "call_3"})
            await peer.request()
            await peer.answer("resp_5", message("Again."))
        else:
            await peer.answer("resp_1", login(PASSWORD))
            await peer.request()
            await peer.answer("resp_2", message("Done."))

    begun = triplane.RunStarted(RUN, "agent", "m", bank.agent().fingerprint, (message("Go."),))
    ledger = cut_off([triplane.Record(0, 0.0, begun)], 1)
    async with open_stage(play, ledger=ledger) as stage:
        async with stage.engine.open_resumed(RUN, bank.agent(), allow_changes=True) as run:
            await run.wait()
            async with run.fork("And now?") as fork:
                await anext(aiter(fork))
                first = fork.log.records[:1]
    assert [PASSWORD] == bank.got

    async with open_stage(play, ledger=cut_off(first, 1)) as stage:
        state = await stage.engine.resume(fork.run_id, bank.agent())

    assert [PASSWORD, "another"] == bank.got
    assert ["ok", "failed"] == [each.outcome.kind for each in state.tool_calls]
