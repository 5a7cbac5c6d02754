"""Who the model is asked to be: model, instructions, tools, settings and limits, as one frozen value."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from triplane.core.errors import ApprovalRequired, ConfigError
from triplane.core.identity import parts_of
from triplane.core.options import AmbiguousSends, RunLimits, one_of
from triplane.core.retry import has_server_effects
from triplane.core.tool_records import child_run_id
from triplane.core.transport import TransportSetting
from triplane.net.endpoint import Endpoint, check_transport
from triplane.protocol import ModelSettings, to_wire
from triplane.tools import Tool, ToolContext, ToolMethod, by_name, check_together, definitions, tool
from triplane.tools.options import NeedsApproval, OnError, Siblings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triplane.core.continuation import Plan
    from triplane.core.records import ApprovalGiven


def _check_text(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"an agent's {attribute.name} must be text that is not empty, not {value!r}")


def _as_tools(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    if isinstance(tools, Tool) or not isinstance(tools, Iterable):
        raise ConfigError(f"an agent's tools= takes a list of tools, not {type(tools).__name__}")
    return tuple(tools)


def _instance_of(kind: type, words: str) -> Callable[..., None]:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kind):
            raise ConfigError(f"an agent's {attribute.name}= takes {words}, not {type(value).__name__}")

    return check


def _check_tools(_instance: object, _attribute: attrs.Attribute[Any], value: tuple[object, ...]) -> None:
    for each in value:
        if not isinstance(each, Tool) and not isinstance(each, ToolMethod):
            name = getattr(each, "__name__", None) or repr(each)
            raise ConfigError(f"an agent's tools are made with @triplane.tool; {name} was not")
    tools = by_name(value)  # type: ignore[arg-type]  # the loop above has just shown that they are tools
    check_together(tools.values())


@attrs.frozen
class Agent:
    """What every request of a run says about who answers it.

    Attributes:
        model: The model's name, sent with every request.
        instructions: The system prompt, sent with every request, since the server does not inherit it.
        tools: What the model may call, sent with every request.
        name: For logs and statistics.
        settings: Model settings, sent with every request.
        limits: How far one run may go.
        store: Whether the server stores the responses. Off by default: the run's log is the memory.
        endpoint: Where this agent runs, else at the engine's endpoint.
        on_error: What a tool call that failed or was late does, where its tool does not say: ``"report"`` tells the model,
            ``"raise"`` ends the run with `RunFailed`.
        siblings: What becomes of the other calls of its response, where its tool does not say: they ``"continue"``, or
            it is ``"cancel"``.
        ambiguous_sends: What becomes of a turn when the model may have run for a request whose answer was lost, else
            what `EngineOptions.ambiguous_sends` says.
        transport: By which transport, else as the endpoint says; see `Endpoint`.

    Raises:
        ConfigError: A tool twice, something that is no tool, an empty name or model, or a transport that needs an extra.
    """

    model: str = attrs.field(validator=_check_text)
    instructions: str = attrs.field(default="", validator=_instance_of(str, "text"))
    tools: tuple[Tool, ...] = attrs.field(default=(), converter=_as_tools, validator=_check_tools)
    name: str = attrs.field(default="agent", kw_only=True, validator=_check_text)
    settings: ModelSettings = attrs.field(
        factory=ModelSettings,
        kw_only=True,
        validator=_instance_of(ModelSettings, "triplane.ModelSettings(…)"),
    )
    limits: RunLimits = attrs.field(
        factory=RunLimits, kw_only=True, validator=_instance_of(RunLimits, "triplane.RunLimits(…)")
    )
    store: bool = attrs.field(default=False, kw_only=True, validator=_instance_of(bool, "True or False"))
    endpoint: Endpoint | None = attrs.field(
        default=None,
        kw_only=True,
        validator=attrs.validators.optional(_instance_of(Endpoint, "a triplane.Endpoint")),
    )
    on_error: OnError = attrs.field(default="report", kw_only=True, validator=one_of(OnError))
    siblings: Siblings = attrs.field(default="continue", kw_only=True, validator=one_of(Siblings))
    ambiguous_sends: AmbiguousSends | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(one_of(AmbiguousSends))
    )
    transport: TransportSetting | None = attrs.field(
        default=None, kw_only=True, validator=attrs.validators.optional(check_transport)
    )

    def __attrs_post_init__(self) -> None:
        """Show now, and not in the middle of a run, what JSON cannot hold."""
        try:
            _ = self.fingerprint
        except TypeError as error:
            raise ConfigError(f"the agent {self.name!r} holds something that JSON cannot: {error}") from None

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that a request says apart from its input."""
        canonical = orjson.dumps(self._body, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()

    @cached_property
    def parts(self) -> Mapping[str, str]:
        """What the fingerprint consists of: digests by what they are of, see `core.identity`."""
        return parts_of(orjson.loads(orjson.dumps(self._body)))

    @cached_property
    def tools_by_name(self) -> Mapping[str, Tool]:
        """The tools by their full names."""
        return by_name(self.tools)

    @cached_property
    def has_server_effects(self) -> bool:
        """Whether the server may do things for a request that must not happen twice, such as calling MCP servers."""
        return has_server_effects(self._body)

    @property
    def conversation(self) -> str | None:
        """The server's conversation that every request belongs to, as the settings say; None for none."""
        conversation = self._body.get("conversation")
        if isinstance(conversation, dict):
            conversation = conversation.get("id")
        return conversation if isinstance(conversation, str) else None

    @cached_property
    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"type": "response.create", "model": self.model, "store": self.store}
        body |= to_wire(self.settings)
        if self.instructions:
            body["instructions"] = self.instructions
        if self.tools:
            body["tools"] = definitions(each for each in self.tools if each.is_offered)
        return body

    def request(self, plan: Plan, stream_id: str | None = None, extra: Sequence[Tool] = ()) -> str:
        """The text of a ``response.create`` for a turn, on the lane that `stream_id` names.

        Args:
            plan: What it carries.
            stream_id: The lane's name.
            extra: Tools that are offered besides the agent's; one whose name the agent uses itself is not.
        """
        body = dict(self._body)
        added = [each.definition() for each in extra if each.name not in self.tools_by_name]
        if added:
            body["tools"] = [*body.get("tools", ()), *added]
        if stream_id is not None:
            body["stream_id"] = stream_id
        if plan.previous_response_id is not None:
            body["previous_response_id"] = plan.previous_response_id
        body["input"] = plan.items
        return orjson.dumps(body).decode()

    def warm_up_request(self, stream_id: str | None = None) -> str:
        """The text of a ``response.create`` that prepares instructions and tools and generates nothing."""
        body = {**self._body, "generate": False, "input": []}
        if stream_id is not None:
            body["stream_id"] = stream_id
        return orjson.dumps(body).decode()

    def as_tool(
        self,
        *,
        name: str | None = None,
        description: str = "",
        timeout: float = 600,
        needs_approval: NeedsApproval = False,
    ) -> Tool:
        """A tool that runs this agent on the engine that runs the caller, and answers with its text.

        The tool has one parameter, ``question``, which becomes the input of the child's run.
        The parent lends its lane out while its tools run, so agents of agents need no more connections than one.
        A parent that is resumed goes on with the child's run where its log ends, also if this agent sends something else by
        now: the run's id is that of the call, see `ToolContext.idempotency_key`.

        Args:
            name: The tool's name, by default the agent's.
            description: What the model is told about it.
            timeout: Seconds the whole child run may take.
            needs_approval: See `ToolOptions`. A call of the child's that needs approval is another matter: both runs are
                parked, the parent asks what the child asks, and goes on with it once that is decided.

        Raises:
            ConfigError: As `tool` does, for instance if the agent's name cannot be a tool's.
        """

        async def ask(question: str, context: ToolContext) -> str:
            run_id = child_run_id(context.idempotency_key)
            # What it sends is what this tool does, which may change under a run. Its own log says that it did.
            engine = context.engine
            decisions: Sequence[ApprovalGiven] = ()
            while True:
                try:
                    if decisions:
                        approve = [given.call_id for given in decisions if given.approved]
                        deny = {given.call_id: given.reason for given in decisions if not given.approved}
                        state = await engine.resume(
                            run_id, self, allow_changes=True, approve=approve, deny=deny
                        )
                    else:
                        state = await engine.run(self, question, run_id=run_id, allow_changes=True)
                except ApprovalRequired as parked:
                    decided = context.ask(parked.approvals)
                    if decided is None:
                        return str(parked)
                    decisions = decided
                else:
                    return str(state.text)

        made = tool(
            name=name or self.name,
            description=description or f"Ask the agent {self.name}.",
            timeout=timeout,
            needs_approval=needs_approval,
            # Asked again it goes on with the same run, whose own tools keep what they promise.
            effect="idempotent",
        )(ask)
        # All that it does is to wait for calls of its own, which are counted.
        return attrs.evolve(made, is_counted=False)
