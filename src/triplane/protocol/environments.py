"""Where commands and code run: in containers of the server or on the client's machine; and skills."""

from typing import ClassVar

import attrs

from ._families import Family
from ._wire import Wire


@attrs.frozen(eq=False, repr=False)
class NetworkPolicy(Wire):
    """What a container may reach. Base of the policy classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {"disabled": "environments:NetworkDisabled", "allowlist": "environments:NetworkAllowlist"},
        "environments:UnknownNetworkPolicy",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownNetworkPolicy(NetworkPolicy):
    """A policy of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


class NetworkDisabled(NetworkPolicy):
    """Nothing."""

    __slots__ = ()
    type: ClassVar[str] = "disabled"


@attrs.frozen(eq=False, repr=False)
class DomainSecret(Wire):
    """A secret that the server puts into requests to one domain. Its value is in no repr."""

    tagged: ClassVar[bool] = False
    domain: str
    name: str
    value: str = attrs.field(repr=False)


@attrs.frozen(eq=False, repr=False)
class NetworkAllowlist(NetworkPolicy):
    """These domains."""

    type: ClassVar[str] = "allowlist"
    allowed_domains: tuple[str, ...]
    domain_secrets: tuple[DomainSecret, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class Skill(Wire):
    """A bundle of instructions and files in a container. Base of the skill classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {"skill_reference": "environments:SkillReference", "inline": "environments:InlineSkill"},
        "environments:UnknownSkill",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownSkill(Skill):
    """A skill of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class SkillReference(Skill):
    """A skill that was uploaded before; the latest version unless one is named."""

    type: ClassVar[str] = "skill_reference"
    skill_id: str
    version: str | None = None


@attrs.frozen(eq=False, repr=False)
class InlineSkillSource(Wire):
    """A zip file in base64: ``type`` is ``base64``, ``media_type`` ``application/zip``."""

    tagged: ClassVar[bool] = False
    data: str
    media_type: str
    type: str


@attrs.frozen(eq=False, repr=False)
class InlineSkill(Skill):
    """A skill that comes with the request."""

    type: ClassVar[str] = "inline"
    name: str
    description: str
    source: InlineSkillSource


@attrs.frozen(eq=False, repr=False)
class LocalSkill(Wire):
    """A skill in a directory of the client."""

    tagged: ClassVar[bool] = False
    name: str
    description: str
    path: str


@attrs.frozen(eq=False, repr=False)
class Environment(Wire):
    """Where commands run. Base of the environment classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "local": "environments:LocalEnvironment",
            "container_reference": "environments:ContainerReference",
            "container_auto": "environments:ContainerAuto",
        },
        "environments:UnknownEnvironment",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownEnvironment(Environment):
    """An environment of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class LocalEnvironment(Environment):
    """The client runs the commands."""

    type: ClassVar[str] = "local"
    skills: tuple[LocalSkill, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class ContainerReference(Environment):
    """The server runs the commands in a container that exists."""

    type: ClassVar[str] = "container_reference"
    container_id: str


@attrs.frozen(eq=False, repr=False)
class ContainerAuto(Environment):
    """The server makes a container."""

    type: ClassVar[str] = "container_auto"
    file_ids: tuple[str, ...] | None = None
    memory_limit: str | None = None
    network_policy: NetworkPolicy | None = None
    skills: tuple[Skill, ...] | None = None
