"""The part of the configuration that says what the kernel takes away at a group's deadline: addresses, ports.

Rule: an address or a port belongs to one group of this agent, because the dormant one of two would take it from the
active one; and a port that would close the agent's own endpoint is refused. Whether the interface is there, and
whether the rights are, is looked at when a guard starts (agents/fencing/timed_resources.py): interfaces come and go.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from agents.config_fields import unique
from agents.settings import AddressSpec, PortSpec, ResourceSpec
from proto.edge.config_file import ConfigModel, refusal
from proto.edge.config_types import Address
from proto.units import GroupId

ADDRESSES_MAX = 32
PORTS_MAX = 256
"""Lines of the file; each may be a range."""
OPEN_PORTS_MAX = 1_024
"""Of a group. All of them travel in one attribute of netlink (64 KiB, about 40 bytes each) with every renewal."""
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?/(tcp|udp)")


def _address(value: Any) -> Any:
    try:
        found = ipaddress.ip_interface(value if isinstance(value, str) and "/" in value else "")
    except ValueError:
        remedy = 'write for example "192.0.2.10/24" or "2001:db8::10/64"'
        raise refusal("an address is written with the length of its prefix", remedy) from None
    if found.is_loopback or found.is_multicast or found.is_unspecified or found.is_link_local:
        raise refusal("clients of another host must be able to reach it", "choose an address of a network of yours")
    return str(found)


class PortRange(NamedTuple):
    """Both ends belong to it."""

    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        numbers = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{numbers}/{self.protocol}"

    def specs(self) -> Iterator[PortSpec]:
        return (PortSpec(self.protocol, number) for number in range(self.first, self.last + 1))


def _port(value: Any) -> Any:
    if isinstance(value, PortRange):
        return value
    match = _PORT.fullmatch(value) if isinstance(value, str) else None
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if match is None or not 0 < first <= last <= 65_535:
        raise refusal(
            "a port is a number from 1 to 65535, or a range of them, with its protocol",
            'write for example "443/tcp", "53/udp" or "47650-47780/udp"',
        )
    return PortRange(match[3], first, last)


PrefixedAddress = Annotated[str, BeforeValidator(_address)]
Port = Annotated[
    PortRange,
    BeforeValidator(_port),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _PORT.pattern, "examples": ["443/tcp", "47650-47780/udp"]}),
]
Interface = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,14}$")]


class AddressConfig(ConfigModel):
    address: PrefixedAddress = Field(examples=["192.0.2.10/24"])
    interface: Interface = Field(examples=["eth0"])

    def spec(self) -> AddressSpec:
        found = ipaddress.ip_interface(self.address)
        return AddressSpec(str(found.ip), found.network.prefixlen, self.interface)


class ResourcesConfig(ConfigModel):
    addresses: tuple[AddressConfig, ...] = Field(
        default=(), max_length=ADDRESSES_MAX, description="added while the lease lasts, with a lifetime in the kernel"
    )
    ports: tuple[Port, ...] = Field(
        default=(),
        max_length=PORTS_MAX,
        description="single ones or ranges, closed by the firewall, except while the lease lasts",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        unique([one.address.split("/")[0] for one in self.addresses], "address", "addresses")
        ports = self._ports()
        unique(ports, "port", "ports")
        if len(ports) > OPEN_PORTS_MAX:
            raise refusal(
                f"these are {len(ports)} ports, a group takes {OPEN_PORTS_MAX}: every renewal prolongs each of them",
                "name the ports that the platform really serves",
            )
        return self

    def _ports(self) -> tuple[PortSpec, ...]:
        return tuple(spec for one in self.ports for spec in one.specs())

    def spec(self) -> ResourceSpec:
        return ResourceSpec(tuple(one.spec() for one in self.addresses), self._ports())


def check_shared(groups: Mapping[GroupId, ResourceSpec], own: Mapping[str, Address | None]) -> None:
    """Raises pydantic's error when two groups, or a group and the agent's own endpoints, would share something."""
    owners = {str(PortSpec("tcp", at.port)): name for name, at in own.items() if at is not None}
    for group, resources in groups.items():
        for thing in (*(one.address for one in resources.addresses), *map(str, resources.ports)):
            owner = owners.setdefault(thing, group)
            if owner != group:
                raise refusal(
                    f"{thing} belongs to {owner} and to {group}: the one that is dormant takes it from the other",
                    "give each its own",
                )
