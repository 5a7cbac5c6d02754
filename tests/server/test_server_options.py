"""Options: what they do to which model answers, and what is not an option."""

from __future__ import annotations

import inspect

import attrs
import pytest

from triplane.server import (
    FunctionCall,
    Model,
    OptionError,
    Server,
    Text,
    Wait,
)
from triplane.server.catalog import Catalog
from triplane.server.errors import Refused
from triplane.server.models import Directive, Surveyor
from triplane.server.options import OptionArguments, Options


class Parrot:
    name = "parrot"

    def respond(self, request):
        yield Text("squawk")


@pytest.mark.parametrize(
    ("choice", "strict", "answers"),
    [
        (None, False, {"directive": "directive", "surveyor": "surveyor", "gpt-5.5": None}),
        ("surveyor", False, {"directive": "directive", "surveyor": "surveyor", "gpt-5.5": "surveyor"}),
        ("surveyor", True, {"directive": "directive", "surveyor": "surveyor", "gpt-5.5": None}),
        (Parrot(), False, {"directive": "directive", "parrot": "parrot", "gpt-5.5": "parrot"}),
        (Parrot(), True, {"directive": "directive", "parrot": "parrot", "gpt-5.5": None}),
        ({"gpt-5.5": "surveyor", "p": Parrot()}, False, {"gpt-5.5": "surveyor", "p": "parrot", "directive": "directive", "parrot": None}),
        ({"directive": Parrot()}, False, {"directive": "parrot", "surveyor": "surveyor", "x": None}),
    ],
)  # fmt: skip
def test_which_model_answers(choice, strict, answers):
    catalog = Catalog.of(choice, strict=strict)

    for name, model in answers.items():
        if model is None:
            with pytest.raises(Refused) as caught:
                catalog.pick(name)
            assert (caught.value.code, caught.value.param, caught.value.status) == (
                "model_not_found",
                "model",
                400,
            )
        else:
            assert catalog.pick(name).name == model


async def test_a_model_of_your_own(connect):
    client = await connect(model=Parrot())

    turn = await client.ask("hello", model="gpt-5.5")

    assert turn.text == "squawk"
    assert turn.response["model"] == "gpt-5.5"


def test_the_built_in_models_are_models():
    assert isinstance(Directive(), Model)
    assert isinstance(Surveyor(), Model)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "gpt-5.5"},
        {"model": 3},
        {"model": Parrot},
        {"model": {"a": "b"}},
        {"model": {"a": None}},
        {"strict_models": "no"},
        {"latency": -1},
        {"latency": "1"},
        {"latency": float("nan")},
        {"delta_delay": -0.1},
        {"api_key": ""},
        {"warm_up": "maybe"},
        {"faults": [None]},
        {"faults": "drop"},
        {"chaos": 7},
        {"faults": 3},
        {"max_stored": -1},
        {"max_message_size": 0},
        {"max_queued_bytes": 0},
        {"handshake_timeout": 0},
        {"send_timeout": 0},
        {"close_timeout": -1},
        {"no_such_option": 1},
    ],
    ids=str,
)
def test_bad_options(options):
    with pytest.raises(OptionError) as caught:
        Server(**options)

    (name,) = options
    assert name in str(caught.value) or "model" in name


def test_the_least_of_everything():
    Server(
        latency=0, delta_delay=0, max_stored=0, max_message_size=1, max_queued_bytes=1, faults=[], api_key="k"
    )


@pytest.mark.parametrize("text", ["\ud800", 3, None])
def test_steps_hold_what_json_can_hold(text):
    for step in (Text, lambda text: FunctionCall(text, ""), lambda text: FunctionCall("t", text)):
        with pytest.raises((TypeError, ValueError)):
            step(text)


def test_a_wait_is_not_negative():
    with pytest.raises(ValueError, match="seconds"):
        Wait(-1)


def test_the_arguments_are_the_options():
    """Two lists of the same names, because type checkers cannot derive one from the other."""
    options = {field.name for field in attrs.fields(Options) if field.init}

    assert set(OptionArguments.__annotations__) == options
    documented = inspect.getdoc(Options)
    assert all(f"\n    {name}: " in documented for name in options)
