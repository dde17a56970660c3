"""The site link in the agent's file: taken whole, or refused with rule and remedy; told where it is missing."""

from __future__ import annotations

import pytest

from agents.config import parse_agent_config
from agents.runtime.check import site_link_words
from agents.settings import Endpoint, PeerSiteSpec, SiteSettings, core_settings, from_json, to_json
from proto.edge.config_file import ConfigRefused

SITE = """
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {ca: ca, cert: cert, key: key}
state_dir: state
runtime_dir: run
witnesses: [{id: w1, address: "w1:1"}]
local: {http: "10.0.0.1:7480"}
%s
groups: [{group: shop, resources: {ports: [%s]}}]
"""
LISTEN = 'listen: "10.0.0.1:7430"'
B, C = '{site: dc-b, address: "b:7430"}', '{site: dc-c, address: "c:7430"}'


def site(link: str, ports: str = "") -> SiteSettings:
    return parse_agent_config(SITE % (link, ports))


def test_it_reaches_the_running_agent_and_its_core() -> None:
    found = site(f"site_link: {{{LISTEN}, peers: [{B}, {C}]}}")
    link = found.site_link
    assert link is not None
    assert link.listen == Endpoint("10.0.0.1", 7430)
    assert link.peers == (PeerSiteSpec("dc-b", Endpoint("b", 7430)), PeerSiteSpec("dc-c", Endpoint("c", 7430)))
    assert core_settings(found, store_id=b"s" * 16).peers == ("dc-b", "dc-c")
    assert from_json(to_json(found)) == found
    assert "dc-c at c:7430" in site_link_words(found)


def test_without_it_nobody_is_asked_and_check_says_so() -> None:
    found = site("")
    assert core_settings(found, store_id=b"s" * 16).peers == ()
    assert "fenced at the end of its lease" in site_link_words(found)


@pytest.mark.parametrize(
    ("link", "ports", "says"),
    [
        (f"site_link: {{{LISTEN}}}", "", "site_link.peers: is required"),
        (f"site_link: {{{LISTEN}, peers: []}}", "", "site_link.peers"),
        (f"site_link: {{peers: [{B}]}}", "", "site_link.listen: is required"),
        (f"site_link: {{{LISTEN}, peers: [{B}, {B}]}}", "", "dc-b stands in site_link.peers twice"),
        (f"site_link: {{{LISTEN}, peers: [{B.replace('dc-b', 'dc-a')}]}}", "", "which is this very site"),
        (f"site_link: {{{LISTEN.replace('7430', '7480')}, peers: [{B}]}}", "", "choose another port"),
        (f"site_link: {{{LISTEN}, peers: [{B}]}}", "7430/tcp", "belongs to site_link.listen and to shop"),
    ],
)
def test_refusals_say_what_to_change(link: str, ports: str, says: str) -> None:
    with pytest.raises(ConfigRefused) as caught:
        site(link, ports)
    assert says in str(caught.value)
