"""The part of the site agent's configuration that names its members: further hosts of the site.

Rule: a member is told apart by the name in its certificate, HOST.SITE, and serves only groups that are named here and
there. Its commands are not here: they stand in its own file (agents/config_member.py), and a plan names the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Protocol

from pydantic import Field

from agents.config_fields import unique
from agents.settings import GroupSpec, MemberSpec, StepSpec
from proto.edge.config_file import ConfigModel, refusal
from proto.edge.config_types import Address, GroupName, MemberId
from proto.units import GroupId, MemberName

MEMBERS_MAX = 32


class MemberOfSiteConfig(ConfigModel):
    name: MemberId = Field(examples=["db1"], description="its certificate is for NAME.SITE")
    groups: Annotated[tuple[GroupName, ...], Field(min_length=1)] = Field(examples=[["erp"]])
    required: bool = Field(default=True, description="without it the site is not ready, and not fit while active")

    def spec(self) -> MemberSpec:
        return MemberSpec(self.name, self.groups, self.required)


def check_members(members: Sequence[MemberOfSiteConfig], listen: Address | None, groups: Sequence[GroupSpec]) -> None:
    """Raises pydantic's error for a member that cannot come, a group that is not there, a step on nobody."""
    unique([member.name for member in members], "member", "members")
    if bool(members) is not (listen is not None):
        raise refusal("members and members_listen belong together", "write both or none")
    known = {group.group for group in groups}
    for member in members:
        unique(member.groups, "group", f"groups of member {member.name}")
        for group in member.groups:
            if group not in known:
                raise refusal(f"member {member.name} serves {group}, which is no group here", "correct its groups")
    for name, step in _steps(groups):
        if step.member and not any(step.member == member.name and name in member.groups for member in members):
            raise refusal(
                f"step {step.name} of {name} runs on {step.member}, which is no member for {name}",
                f"add {step.member} under members with this group, or remove `member`",
            )


def _steps(groups: Sequence[GroupSpec]) -> Iterator[tuple[GroupId, StepSpec]]:
    for group in groups:
        for step in (*group.activation.steps, *group.deactivation.steps):
            yield group.group, step


class PlacedStep(Protocol):
    command: tuple[str, ...] | None
    member: MemberName | None
    env: dict[str, str]
    directory: str
    undo: tuple[str, ...] | None


def check_place(step: PlacedStep) -> None:
    """A step has its command here, or its place elsewhere."""
    if step.member is None:
        if step.command is None:
            raise refusal("a step needs a command", 'add for example command: ["/bin/true"]')
        return
    theirs = {"command": step.command, "undo": step.undo, "env": step.env, "directory": step.directory != "/"}
    written = [name for name, value in theirs.items() if value]
    if written:
        raise refusal(
            f"it runs on {step.member}, so {', '.join(written)} is that member's business",
            f"move it to the step of this name in {step.member}'s own file",
        )
