"""Which ports fell silent between two looks: what counts, in which order it is told, what is no such look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ports.tally import fallen, from_json, tally, to_json
from agents.ports.watch_table import table_name, watch_rules
from agents.settings import PortSpec
from proto.errors import BadValue

TCP, UDP = PortSpec("tcp", 47_661), PortSpec("udp", 47_661)
WEB = PortSpec("tcp", 443)
COUNTS = st.dictionaries(
    st.builds(PortSpec, st.sampled_from(["tcp", "udp"]), st.integers(1, 65_535)), st.integers(0, 10_000), max_size=8
)


def test_addresses_count_once_and_other_ports_not_at_all() -> None:
    elements = [(TCP, "192.0.2.1"), (TCP, "192.0.2.1"), (TCP, "2001:db8::1"), (UDP, "192.0.2.1"), (WEB, "192.0.2.9")]
    assert tally(elements, (UDP, TCP)) == {UDP: 1, TCP: 2}
    assert tally([], (UDP,)) == {UDP: 0}


def test_silent_ports_come_first_then_those_that_lost_most() -> None:
    before = {TCP: 10, UDP: 4, WEB: 100, PortSpec("tcp", 80): 0}
    found = fallen(before, {TCP: 4, UDP: 0, WEB: 20}, 0.5)
    assert [one.words for one in found] == [
        "47661/udp: 4 sources before, none now",
        "443/tcp: 100 sources before, 20 now",
        "47661/tcp: 10 sources before, 4 now",
    ]
    assert fallen(before, {TCP: 5, UDP: 2, WEB: 50}, 0.5) == []


@given(COUNTS, COUNTS, st.floats(0.0, 1.0))
def test_a_port_is_told_exactly_if_it_lost_its_share(
    before: dict[PortSpec, int], now: dict[PortSpec, int], share: float
) -> None:
    told = {one.port for one in fallen(before, now, share)}
    for port, count in before.items():
        left = now.get(port, 0)
        assert (port in told) == (count > 0 and (left == 0 or left < share * count))
    assert fallen(before, before, share) == []
    assert from_json(to_json("navixy", before), "BEFORE") == before


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"ports": []},
        {"ports": {"443": 1}},
        {"ports": {"443/sctp": 1}},
        {"ports": {"x/tcp": 1}},
        {"ports": {"443/tcp": -1}},
        {"ports": {"443/tcp": True}},
        {"ports": {"443/tcp": "1"}},
    ],
)
def test_what_show_did_not_print_is_refused(said: object) -> None:
    with pytest.raises(BadValue, match=r"BEFORE: .* is what `site-agent ports show --json` printed"):
        from_json(said, "BEFORE")


def test_the_table_names_each_port_and_no_group_of_ports_has_its_name() -> None:
    rules = watch_rules("navixy", (TCP, UDP), 900)
    assert "elements = { tcp . 47661, udp . 47661 }" in rules
    assert rules.count("timeout 900s") == 2
    assert "_" in table_name("navixy").removesuffix("navixy"), "the tables of ports are thirdsite-GROUP"
