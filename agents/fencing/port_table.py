"""Service ports that are open for a time: a table of our own in nftables, closed unless the kernel says otherwise.

Rule: one table per group, `thirdsite-GROUP`, with the set `declared`, the set `open` (its elements have time-outs, in
milliseconds) and two rules, before any address translation: what goes to a declared port of this host and finds no
living element in `open` is refused (TCP, by a reset) or dropped (the rest). Nothing else in the firewall is touched,
and no accept elsewhere undoes it.
`lay` puts the whole table in place in one transaction, closed; `open_for` replaces the elements in one transaction;
an element that has run out no longer matches at the very next packet, whichever process runs.
A reset, because clients then turn away at once, connections that stand included, and because "the port refuses" is
what a down check asks for. Needs Linux 5.9 (a refusal before translation).
"""

from __future__ import annotations

import struct

from agents.fencing import netlink
from agents.fencing.netlink import Request, attribute, attributes, be32, be64, nested, text

PROTOCOLS = {"tcp": 6, "udp": 17}
PRIORITY = -310
"""Before connection tracking and translation: a published port of a container engine passes here first."""

_SUBSYSTEM = 10
_BEGIN, _END = 16, 17
_TABLE, _DEL_TABLE, _CHAIN, _RULE, _GET_RULE, _SET = 0, 2, 3, 6, 7, 9
_ELEMENTS, _GET_ELEMENTS, _DEL_ELEMENTS = 12, 13, 14
_INET = 1
_CHAIN_NAME, _DECLARED, _OPEN = "inbound", "declared", "open"
_TIMEOUT = 0x10
_KEY_TYPE = 12 << 6 | 13
"""inet_proto . inet_service, so that `nft list` shows it in words."""
_KEY_BYTES = 8
_HEADER = struct.Struct(">BBH")
_REGISTER, _REGISTER_PORT = 1, 9
_DATA_VALUE, _LIST_ITEM = 1, 1


class PortTable:
    """One group's ports, each a pair of protocol and number. Stateless: each call opens a socket and closes it."""

    __slots__ = ("_keys", "name", "table")

    def __init__(self, group: str, ports: list[tuple[str, int]]) -> None:
        self.table = f"thirdsite-{group}"
        self.name = "ports " + " ".join(_in_words(ports))
        self._keys = sorted(struct.pack(">B3xH2x", PROTOCOLS[protocol], port) for protocol, port in ports)

    def lay(self) -> None:
        """The table anew, with every port closed."""
        self._commit(*self._layout())

    def open_for(self, lifetime_ms: int) -> bool:
        """From now, instead of whatever was left; True when somebody had taken our table away."""
        elements = (self._flush(_OPEN), self._elements(_OPEN, lifetime_ms))
        try:
            self._commit(*elements)
        except FileNotFoundError:
            self._commit(*self._layout(), elements[1])
            return True
        return False

    def still_open(self) -> str:
        """'' when every port is proven closed, else what was seen."""
        try:
            rules = self._dump(_GET_RULE, text(1, self.table), text(2, _CHAIN_NAME))
            held = sorted(key for key, _left in self._living(_DECLARED))
            alive = [left for _key, left in self._living(_OPEN)]
        except FileNotFoundError:
            return "the table is not there"
        if len(rules) != len(_rules()) or held != self._keys:
            return "the table was changed"
        return f"open for {max(alive)} ms more" if alive else ""

    # -- messages -----------------------------------------------------------------------------------------

    def _layout(self) -> tuple[Request, ...]:
        table = text(1, self.table)
        hook = nested(4, be32(1, 0), be32(2, PRIORITY))
        chain = table + text(3, _CHAIN_NAME) + hook + be32(5, 1) + text(7, "filter")
        return (
            self._request("table", _TABLE, table),
            self._request("table", _DEL_TABLE, table),
            self._request("table", _TABLE, table),
            self._request("chain", _CHAIN, chain),
            self._set(_DECLARED, 1, 0),
            self._elements(_DECLARED),
            self._set(_OPEN, 2, _TIMEOUT),
            *(self._request("rule", _RULE, table + text(2, _CHAIN_NAME) + nested(4, *rule)) for rule in _rules()),
        )

    def _set(self, name: str, number: int, flags: int) -> Request:
        payload = text(1, self.table) + text(2, name) + be32(3, flags) + be32(4, _KEY_TYPE) + be32(5, _KEY_BYTES)
        return self._request(f"set {name}", _SET, payload + be32(10, number))

    def _elements(self, name: str, lifetime_ms: int = 0) -> Request:
        timeout = be64(4, lifetime_ms) if lifetime_ms else b""
        items = [nested(_LIST_ITEM, nested(1, attribute(_DATA_VALUE, key)), timeout) for key in self._keys]
        return self._request(f"set {name}", _ELEMENTS, text(1, self.table) + text(2, name) + nested(3, *items))

    def _flush(self, name: str) -> Request:
        return self._request(f"set {name}", _DEL_ELEMENTS, text(1, self.table) + text(2, name))

    def _request(self, what: str, kind: int, payload: bytes) -> Request:
        flags = netlink.CREATE if kind in (_TABLE, _CHAIN, _RULE, _SET, _ELEMENTS) else 0
        flags |= netlink.APPEND if kind == _RULE else 0
        return Request(f"{self.table}, {what}", _SUBSYSTEM << 8 | kind, flags, _HEADER.pack(_INET, 0, 0) + payload)

    def _commit(self, *requests: Request) -> None:
        mark = _HEADER.pack(0, 0, _SUBSYSTEM)
        with netlink.Netlink(netlink.NETLINK_NETFILTER) as link:
            link.batch(requests, Request("begin", _BEGIN, 0, mark), Request("end", _END, 0, mark))

    def _dump(self, kind: int, *payload: bytes) -> list[bytes]:
        with netlink.Netlink(netlink.NETLINK_NETFILTER) as link:
            found = link.dump(self._request("look", kind, b"".join(payload)))
        return [one[_HEADER.size :] for one in found]

    def _living(self, name: str) -> list[tuple[bytes, int]]:
        """Elements of a set with the milliseconds that they have left (0: without a time-out)."""
        living = []
        for answer in self._dump(_GET_ELEMENTS, text(1, self.table), text(2, name)):
            for _number, item in netlink.attribute_list(attributes(answer).get(3, b"")):
                held = attributes(item)
                left = int.from_bytes(held.get(5, b""), "big")
                if 4 not in held or left > 0:
                    living.append((attributes(held.get(1, b"")).get(_DATA_VALUE, b""), left))
        return living


def _in_words(ports: list[tuple[str, int]]) -> list[str]:
    """In their order; neighbours that count up are one range."""
    runs: list[tuple[str, int, int]] = []
    for protocol, port in ports:
        if runs and (protocol, port - 1) == (runs[-1][0], runs[-1][2]):
            runs[-1] = (protocol, runs[-1][1], port)
        else:
            runs.append((protocol, port, port))
    return [f"{first}/{protocol}" if first == last else f"{first}-{last}/{protocol}" for protocol, first, last in runs]


def _expression(name: str, *details: bytes) -> bytes:
    return nested(_LIST_ITEM, text(1, name), nested(2, *details))


def _lookup(name: str, number: int, *inverted: bytes) -> bytes:
    return _expression("lookup", be32(2, _REGISTER), text(1, name), be32(4, number), *inverted)


def _protocol_and_port() -> tuple[bytes, bytes]:
    """The protocol into one register, the destination port into the next: together a key of the sets."""
    return (
        _expression("meta", be32(2, 16), be32(1, _REGISTER)),
        _expression("payload", be32(1, _REGISTER_PORT), be32(2, 2), be32(3, 2), be32(4, 2)),
    )


def _equals(value: bytes) -> bytes:
    return _expression("cmp", be32(1, _REGISTER), be32(2, 0), nested(3, attribute(_DATA_VALUE, value)))


def _rules() -> tuple[tuple[bytes, ...], ...]:
    """To an address of this host; to a declared port; not open: counted, and refused (TCP) or dropped."""
    closed = (
        _expression("fib", be32(3, 2), be32(2, 3), be32(1, _REGISTER)),
        _equals(struct.pack("=I", 2)),
        *_protocol_and_port(),
        _lookup(_DECLARED, 1),
        *_protocol_and_port(),
        _lookup(_OPEN, 2, be32(5, 1)),
    )
    counter = nested(_LIST_ITEM, text(1, "counter"), nested(2))
    tcp = (_expression("meta", be32(2, 16), be32(1, _REGISTER)), _equals(bytes((PROTOCOLS["tcp"],))))
    drop = _expression("immediate", be32(1, 0), nested(2, nested(2, be32(1, 0))))
    return (
        (*closed, *tcp, counter, _expression("reject", be32(1, 1), attribute(2, b"\0"))),
        (*closed, counter, drop),
    )
