"""A member is HOST.SITE in its certificate: nobody at another site, and never an agent."""

from __future__ import annotations

import pytest

from proto.edge.identity import PeerRefused, Role, agent_identity, member_identity, parse_identity, require_role
from proto.errors import BadValue
from proto.units import ClusterId

C = ClusterId("0123456789abcdef" * 2)


def test_a_member_comes_back_from_its_uris_and_serves_its_groups():
    one = member_identity(C, "db1.dc-a", ["shop"])
    assert parse_identity(one.uris()) == one
    assert one.may_serve("shop")
    assert not one.may_serve("mail")


def test_a_member_is_no_agent_and_no_member_of_another_site():
    one = member_identity(C, "db1.dc-a", ["*"])
    with pytest.raises(PeerRefused):
        require_role(one, Role.AGENT)
    with pytest.raises(PeerRefused):
        require_role(one, Role.MEMBER, name="db1.dc-b")
    with pytest.raises(PeerRefused):
        require_role(agent_identity(C, "dc-a", ["*"]), Role.MEMBER)


@pytest.mark.parametrize("name", ["db1", "db1.", ".dc-a", "a.b.c", "Db1.dc-a", "d" * 40 + "." + "s" * 40])
def test_a_name_that_is_not_host_and_site_is_refused(name):
    with pytest.raises(BadValue):
        member_identity(C, name, ["shop"])
