"""One certificate, one identity; whatever is not fully understood is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.edge.identity import (
    GROUPS_PER_CERTIFICATE_MAX,
    OperatorRole,
    PeerRefused,
    Role,
    agent_identity,
    operator_identity,
    parse_identity,
    require_cluster,
    require_operator,
    require_role,
    witness_identity,
)
from proto.errors import BadValue
from proto.units import ClusterId

C = ClusterId("0123456789abcdef" * 2)
OTHER = ClusterId("f" * 32)
BASE = f"thirdsite://{C}"
NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)

IDENTITIES = st.one_of(
    st.builds(witness_identity, st.just(C), NAMES),
    st.builds(agent_identity, st.just(C), NAMES, st.lists(NAMES, min_size=1, max_size=5)),
    st.builds(agent_identity, st.just(C), NAMES, st.just(["*"])),
    st.builds(operator_identity, st.just(C), NAMES, st.sampled_from(OperatorRole)),
)


@given(IDENTITIES)
def test_an_identity_comes_back_from_its_uris(identity):
    assert parse_identity(identity.uris()) == identity
    assert parse_identity(reversed(identity.uris())) == identity


def test_what_stands_in_an_agents_certificate():
    identity = parse_identity([f"{BASE}/agent/dc-a", f"{BASE}/group/erp", f"{BASE}/group/web"])
    assert (identity.role, identity.name) == (Role.AGENT, "dc-a")
    assert identity.may_serve("erp")
    assert not identity.may_serve("mail")
    assert parse_identity([f"{BASE}/agent/dc-a", f"{BASE}/group/*"]).may_serve("mail")


REFUSED = {
    "nothing": [],
    "two identities": [f"{BASE}/witness/w1", f"{BASE}/agent/dc-a", f"{BASE}/group/*"],
    "twice the same": [f"{BASE}/witness/w1", f"{BASE}/witness/w1"],
    "groups alone": [f"{BASE}/group/erp"],
    "two clusters": [f"{BASE}/agent/dc-a", f"thirdsite://{OTHER}/group/erp"],
    "unknown role": [f"{BASE}/root/w1"],
    "unknown operator role": [f"{BASE}/operator/ann?role=god"],
    "operator without role": [f"{BASE}/operator/ann"],
    "operator with empty role": [f"{BASE}/operator/ann?role="],
    "operator with two roles": [f"{BASE}/operator/ann?role=viewer&role=admin"],
    "witness with role": [f"{BASE}/witness/w1?role=admin"],
    "witness with groups": [f"{BASE}/witness/w1", f"{BASE}/group/erp"],
    "agent without groups": [f"{BASE}/agent/dc-a"],
    "every group and one": [f"{BASE}/agent/dc-a", f"{BASE}/group/*", f"{BASE}/group/erp"],
    "star as a name": [f"{BASE}/witness/*"],
    "short cluster": ["thirdsite://0123/witness/w1"],
    "upper-case cluster": [f"thirdsite://{'A' * 32}/witness/w1"],
    "upper-case scheme": [f"THIRDSITE://{C}/witness/w1"],
    "another scheme": [f"{BASE}/witness/w1", "https://example.org/"],
    "trailing slash": [f"{BASE}/witness/w1/"],
    "fragment": [f"{BASE}/witness/w1#x"],
    "newline": [f"{BASE}/witness/w1\n"],
    "null byte": [f"{BASE}/witness/w1\0"],
    "percent": [f"{BASE}/witness/w%31"],
    "no name": [f"{BASE}/witness/"],
    "long name": [f"{BASE}/witness/" + "a" * 64],
    "name with a dash at its end": [f"{BASE}/witness/w1-"],
    "too many groups": [f"{BASE}/agent/dc-a", *(f"{BASE}/group/g{n}" for n in range(GROUPS_PER_CERTIFICATE_MAX + 1))],
}


@pytest.mark.parametrize("uris", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_exactly_one_identity_is_refused(uris):
    with pytest.raises(PeerRefused, match="certificate"):
        parse_identity(uris)


def test_wrong_role_site_and_cluster_are_refused():
    agent = agent_identity(C, "dc-a", ["*"])
    assert require_role(agent, Role.AGENT, Role.WITNESS, name="dc-a") is agent
    with pytest.raises(PeerRefused, match="agent dc-a is refused: the role witness is needed"):
        require_role(agent, Role.WITNESS)
    with pytest.raises(PeerRefused, match="does not speak for 'dc-b'"):
        require_role(agent, Role.AGENT, name="dc-b")
    with pytest.raises(PeerRefused, match=OTHER):
        require_cluster(agent, OTHER)
    require_cluster(agent, C)


@pytest.mark.parametrize("has", OperatorRole)
@pytest.mark.parametrize("needs", OperatorRole)
def test_operator_roles_are_ordered(has, needs):
    operator = operator_identity(C, "ann", has)
    if has >= needs:
        assert require_operator(operator, needs) is operator
    else:
        with pytest.raises(PeerRefused, match=f"needs the role {needs.name.lower()}"):
            require_operator(operator, needs)


def test_only_operators_are_operators():
    with pytest.raises(PeerRefused):
        require_operator(witness_identity(C, "w1"), OperatorRole.VIEWER)
    assert not witness_identity(C, "w1").may_serve("erp")


@pytest.mark.parametrize("groups", [[], ["*", "erp"], ["ERP"], ["a b"]])
def test_an_agent_is_not_made_with_bad_groups(groups):
    with pytest.raises(BadValue, match="groups"):
        agent_identity(C, "dc-a", groups)
