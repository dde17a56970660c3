"""Who talks to the service ports of a group: a table of its own in nftables, in which the kernel keeps the sources.

Rule: it only looks. A packet to one of the ports puts its source address into a set, from which it vanishes by itself
after the window; nothing is refused, changed or kept of it. It stands behind the table that closes the ports
(agents/fencing/port_table.py), so what is refused there does not count, and before address translation, so published
ports of containers do. Needs the program `nft`: no guard uses this, and it may fail without harm.
Rejected: conntrack (not there by default, and it keeps no window), the platform's own logs (each has its own format).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from agents.settings import PortSpec
from proto.errors import LocalFault

PRIORITY = -290
SOURCES_MAX = 65_536
"""Of each address family; more are not counted."""
NFT_S = 20.0
_FAMILIES = (("seen4", "ipv4", "ip"), ("seen6", "ipv6", "ip6"))


def table_name(group: str) -> str:
    """The underscore keeps it apart from the tables of ports, which are `thirdsite-GROUP`."""
    return f"thirdsite_seen-{group}"


def watch_rules(group: str, ports: Iterable[PortSpec], window_s: int) -> str:
    """In the words of `nft -f`; laid anew it forgets what it saw."""
    key = "inet_proto . inet_service"
    elements = ", ".join(f"{port.protocol} . {port.port}" for port in ports)
    sets = "".join(
        f"  set {name} {{ type {key} . {family}_addr; size {SOURCES_MAX}; flags dynamic,timeout; "
        f"timeout {window_s}s; }}\n"
        for name, family, _ in _FAMILIES
    )
    updates = "".join(
        f"    meta nfproto {family} update @{name} {{ meta l4proto . th dport . {header} saddr }}\n"
        for name, family, header in _FAMILIES
    )
    table = table_name(group)
    return (
        f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n"
        f"  set ports {{ type {key}; elements = {{ {elements} }} }}\n{sets}"
        f"  chain inbound {{\n    type filter hook prerouting priority {PRIORITY}; policy accept;\n"
        "    fib daddr type != local accept\n    meta l4proto . th dport != @ports accept\n"
        f"{updates}  }}\n}}\n"
    )


def watch(group: str, ports: Iterable[PortSpec], window_s: int) -> None:
    """Raises LocalFault."""
    _nft(["-f", "-"], watch_rules(group, ports, window_s))


def unwatch(group: str) -> None:
    """Raises LocalFault."""
    table = table_name(group)
    _nft(["-f", "-"], f"table inet {table}\ndelete table inet {table}\n")


def seen(group: str) -> list[tuple[PortSpec, str]]:
    """Port and source of whoever talked within the window. Raises LocalFault, also where nobody watches."""
    found: list[tuple[PortSpec, str]] = []
    for name, _, _ in _FAMILIES:
        said = json.loads(_nft(["-j", "list", "set", "inet", table_name(group), name], ""))
        found += _elements(said)
    return found


def _elements(said: Any) -> Iterator[tuple[PortSpec, str]]:
    for part in said["nftables"]:
        for one in part.get("set", {}).get("elem", ()):
            value = one["elem"]["val"] if "elem" in one else one
            protocol, port, source = value["concat"]
            yield PortSpec(str(protocol), int(port)), str(source)


def _nft(arguments: list[str], said: str) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=said, capture_output=True, text=True, timeout=NFT_S, check=False
        )
    except FileNotFoundError:
        raise LocalFault("the program nft is not installed: install the package nftables") from None
    except subprocess.TimeoutExpired:
        raise LocalFault(f"nft did not end within {NFT_S:.0f} s: look at the host's firewall") from None
    if done.returncode != 0:
        words = " ".join(done.stderr.split())[:200]
        remedy = "begin with `site-agent ports watch`" if "No such file" in words else "run as root"
        raise LocalFault(f"nft refused: {words}; {remedy}")
    return done.stdout
