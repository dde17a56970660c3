"""What a site's file says of its members, and a member's own: taken whole, or refused with field, rule and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.config import parse_agent_config
from agents.config_member import load_member_config, parse_member_config
from agents.settings import Endpoint, MemberSpec, member_from_json, to_json
from proto.edge.config_file import ConfigRefused

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "member.yaml"
SITE = """
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
tls: {ca: ca, cert: cert, key: key}
state_dir: state
runtime_dir: run
witnesses: [{id: w1, address: "w1:1"}]
%s
groups:
  - group: shop
    activation: {steps: [%s]}
  - group: mail
"""
MEMBER = """
cluster: 0123456789abcdef0123456789abcdef
site: dc-a
member: db1
lead: "10.0.0.1:7420"
tls: {ca: ca, cert: cert, key: key}
state_dir: state
runtime_dir: run
groups:
  - group: shop
    steps: [%s]
"""
LISTEN = 'members_listen: "10.0.0.1:7420"\n'
ONE = LISTEN + "members: [{name: db1, groups: [shop]}]"
STEP = "{name: start-db, member: db1, timeout: 5s}"


def site(members: str = ONE, step: str = STEP):
    return parse_agent_config(SITE % (members, step))


def test_members_and_their_steps_are_taken():
    found = site()
    assert found.members == (MemberSpec("db1", ("shop",), required=True),)
    assert found.members_listen == Endpoint("10.0.0.1", 7420)
    (step,) = found.groups[0].activation.steps
    assert (step.name, step.member, step.argv, step.timeout_ms) == ("start-db", "db1", (), 5_000)
    assert found.members_of("shop") == ("db1",)
    assert found.members_of("mail") == ()


@pytest.mark.parametrize(
    ("members", "step", "says"),
    [
        (LISTEN, "", "belong together"),
        ("members: [{name: db1, groups: [shop]}]", "", "belong together"),
        (LISTEN + "members: [{name: db1, groups: [shop]}, {name: db1, groups: [mail]}]", "", "stands in members twice"),
        (LISTEN + "members: [{name: db1, groups: [other]}]", "", "which is no group here"),
        (LISTEN + "members: [{name: db1, groups: [mail]}]", STEP, "which is no member for shop"),
        (ONE, "{name: x}", "a step needs a command"),
        (ONE, "{name: x, member: db1, command: [/bin/true]}", "command is that member's business"),
        (ONE, "{name: x, member: db1, undo: [/bin/true], directory: /srv}", "undo, directory is that member's"),
        (ONE, "{name: x, member: web1}", "runs on web1"),
    ],
)
def test_what_contradicts_itself_is_refused(members, step, says):
    with pytest.raises(ConfigRefused, match=says):
        site(members, step)


def test_a_members_own_file_and_its_way_to_the_process():
    found = parse_member_config(MEMBER % '{name: start-db, command: ["/bin/true"]}')
    assert (found.site, found.member, found.lead) == ("dc-a", "db1", Endpoint("10.0.0.1", 7420))
    assert found.groups[0].held.activation.steps == ()
    assert [step.name for step in found.groups[0].steps] == ["start-db"]
    assert member_from_json(to_json(found)) == found


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("{name: a, member: db2}", "a member has no members"),
        ("{name: a}", "a step needs a command"),
        ('{name: a, command: ["/a"]}, {name: a, command: ["/a"]}', "stands in steps twice"),
    ],
)
def test_a_members_file_that_cannot_work_is_refused(step, says):
    with pytest.raises(ConfigRefused, match=says):
        parse_member_config(MEMBER % step)


def test_the_example_loads():
    found = load_member_config(EXAMPLE)
    assert found.groups[0].held.ladder.required == ("cgroup",)
