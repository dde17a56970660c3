"""The operators' API over real TLS: roles, bodies, statuses, and errors that give nothing away."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from http_witness import SHOP, Pki, serve

from proto.commands import (
    Author,
    Cause,
    ConfigureGroup,
    DeleteGroup,
    QuarantineCause,
    Reconcile,
    Revoke,
    SetMaintenance,
    SetMode,
    SetQuarantine,
    WaiveEscrow,
)
from proto.decisions import REASON_TEXT, Reason
from proto.groups import GroupConfig, Mode
from proto.lease import LeaseConstants
from proto.license import EscrowVersion, LicenseSpec
from proto.permit import VOUCHED
from proto.units import Epoch, LicenseName, SiteId
from witness.core.effects import Outcome
from witness.settings import LimitSettings

FIELDS = {"sites": ["dc-a", "dc-b"], "ttl_ms": 3_000, "drift_max_ppm": 10_000, "lock_delay_ms": 0}
CONFIG = GroupConfig(SHOP, (SiteId("dc-a"), SiteId("dc-b")), LeaseConstants(3_000, 10_000, 0))

READS = [("GET", "/v1/status"), ("GET", "/v1/groups"), ("GET", "/v1/groups/shop"), ("GET", "/v1/events")]
MOVES: list[tuple[str, str, Any]] = [
    ("POST", "/v1/groups/shop/switchover", {"to": "dc-b", "reason": "r"}),
    ("POST", "/v1/groups/shop/mode", {"mode": "manual", "reason": "r"}),
    ("POST", "/v1/groups/shop/maintenance", {"site": "dc-a", "on": True, "reason": "r"}),
    ("POST", "/v1/groups/shop/quarantine", {"site": "dc-a", "on": True, "reason": "r"}),
    ("POST", "/v1/groups/shop/reconcile", {"reason": "r", "confirm": VOUCHED}),
    ("POST", "/v1/groups/shop/waive", {"license": "key", "newest": "7.12", "reason": "r"}),
]
CONFIGURES: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/groups/shop", {"config": FIELDS, "expected_version": 0, "reason": "r"}),
    ("DELETE", "/v1/groups/shop", {"reason": "r"}),
]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def test_each_role_may_do_what_the_ones_below_it_may_and_no_more(pki: Pki) -> None:
    rank = {"viewer": 1, "operator": 2, "admin": 3}
    calls = [(1, *read, None) for read in READS] + [(2, *move) for move in MOVES] + [(3, *call) for call in CONFIGURES]
    async with serve(pki) as running:
        running.cluster.plan = SetMode(SHOP, Mode.MANUAL, Author("x", "y"))
        for who, rank_of_who in rank.items():
            for needed, method, path, body in calls:
                status, answer = await running.call(who, method, path, body)
                allowed = rank_of_who >= needed
                assert (status, who, path) == (200 if allowed else 403, who, path)
                if not allowed:
                    role = next(name for name, number in rank.items() if number == needed)
                    assert answer["reason"] == "role-required"
                    assert answer["words"] == f"operator {who} ({who}) is refused: this needs the role {role}"
                    assert "witness pki issue operator" in answer["next"]


async def test_agents_are_no_operators(pki: Pki) -> None:
    async with serve(pki) as running, running.session("agent-dc-a") as session, session.get("/v1/status") as got:
        assert got.status == 403


async def test_bodies_become_commands_with_the_author_of_the_certificate(pki: Pki) -> None:
    author = Author("admin", "r")
    async with serve(pki) as running:
        running.cluster.plan = Revoke(SHOP, Epoch(7), SiteId("dc-b"), Cause.HANDOVER, Reason.OPERATOR_ASKED, author)
        for method, path, body in [*MOVES, *CONFIGURES]:
            status, answer = await running.call("admin", method, path, body)
            assert (status, answer["ok"], answer["reason"]) == (200, True, "ok")
        body = {"site": "dc-a", "on": False, "causes": ["unclean-end"], "reason": "r"}
        await running.call("admin", "POST", "/v1/groups/shop/quarantine", body)
        assert running.cluster.commands == [
            running.cluster.plan,
            SetMode(SHOP, Mode.MANUAL, author),
            SetMaintenance(SHOP, SiteId("dc-a"), True, author),
            SetQuarantine(SHOP, SiteId("dc-a"), True, (), author),
            Reconcile(SHOP, author),
            WaiveEscrow(SHOP, LicenseName("key"), EscrowVersion(Epoch(7), 12), author),
            ConfigureGroup(CONFIG, 0, author),
            DeleteGroup(SHOP, author),
            SetQuarantine(SHOP, SiteId("dc-a"), False, (QuarantineCause.UNCLEAN_END,), author),
        ]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.NO_QUORUM, 503),
        (Reason.OUTCOME_UNKNOWN, 504),
        (Reason.VERSION_CONFLICT, 409),
        (Reason.UNKNOWN_GROUP, 404),
        (Reason.ALREADY_SO, 200),
        (Reason.OVERLOADED, 429),
    ],
)
async def test_outcomes_have_a_status_words_and_a_next_step(pki: Pki, reason: Reason, status: int) -> None:
    async with serve(pki) as running:
        running.cluster.outcome = Outcome(reason, "as seen")
        got, answer = await running.call("operator", *MOVES[1])
        assert got == status
        assert (answer["reason"], answer["detail"], answer["changed"]) == (reason.value, "as seen", False)
        assert answer["words"]
        assert answer["next"] or answer["ok"]


async def test_a_refusal_of_an_unknown_group_repeats_its_name(pki: Pki) -> None:
    async with serve(pki) as running:
        for says in ("", REASON_TEXT[Reason.UNKNOWN_GROUP]):  # a node's plan, and what the machine refuses with
            running.cluster.outcome = Outcome(Reason.UNKNOWN_GROUP, says)
            status, answer = await running.call("operator", *MOVES[1])
            assert (status, answer["detail"]) == (404, "group shop")
        status, answer = await running.call("operator", "GET", "/v1/groups/shpo")
        assert (status, answer["detail"]) == (404, "group shpo")


@pytest.mark.parametrize("says", ["", REASON_TEXT[Reason.UNKNOWN_SITE], "the plan's own words"])
async def test_a_refusal_of_an_unknown_site_repeats_its_name_and_lists_those_there_are(pki: Pki, says: str) -> None:
    refusal = Outcome(Reason.UNKNOWN_SITE, says)
    async with serve(pki) as running:
        running.cluster.outcome = running.cluster.plan = refusal
        for path, body in (
            ("maintenance", {"site": "dc-x", "on": True, "reason": "r"}),
            ("quarantine", {"site": "dc-x", "on": True, "reason": "r"}),
            ("switchover", {"to": "dc-x", "reason": "r"}),
        ):
            status, answer = await running.call("operator", "POST", f"/v1/groups/shop/{path}", body)
            assert (status, answer["detail"]) == (404, "site dc-x; shop has: dc-a, dc-b"), path


@pytest.mark.parametrize(("named", "words"), [((), "none"), (("key", "map"), "key, map")])
async def test_a_refusal_of_an_unknown_license_repeats_its_name_and_lists_those_there_are(
    pki: Pki, named: tuple[str, ...], words: str
) -> None:
    async with serve(pki) as running:
        running.cluster.licenses = tuple(LicenseSpec(LicenseName(name)) for name in named)
        running.cluster.outcome = Outcome(Reason.UNKNOWN_LICENSE, REASON_TEXT[Reason.UNKNOWN_LICENSE])
        body = {"license": "kez", "newest": "7.12", "reason": "r"}
        status, answer = await running.call("operator", "POST", "/v1/groups/shop/waive", body)
        assert (status, answer["detail"]) == (404, f"license kez; shop has: {words}")


async def test_a_switchover_is_refused_by_plan_or_by_another_epoch(pki: Pki) -> None:
    async with serve(pki) as running:
        status, answer = await running.call("operator", *MOVES[0])
        assert (status, answer["reason"], answer["detail"]) == (409, "no-candidate", "shop dc-b operator")
        body = {"to": "dc-b", "reason": "r", "expected_epoch": 6}
        status, answer = await running.call("operator", "POST", "/v1/groups/shop/switchover", body)
        assert (status, answer["reason"]) == (409, "epoch-conflict")
        assert running.cluster.commands == []


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "mode", {"mode": "manul"}, "mode: 'manul' is refused: is none of: automatic, manual, observe, paused"),
        ("POST", "mode", {"mod": "manual"}, "mode: None is refused: is required"),
        ("POST", "mode", {"mode": "manual", "reson": "x"}, "unknown field; did you mean 'reason'?"),
        ("POST", "mode", ["manual"], "the body must be a JSON object"),
        ("POST", "maintenance", {"site": "dc-a", "on": "yes"}, "on: 'yes' is refused: true or false is expected"),
        ("POST", "maintenance", {"site": "DC", "on": True}, "site: 'DC' is refused"),
        ("POST", "switchover", {"to": "dc-b", "expected_epoch": -1}, "expected_epoch: -1 is refused"),
        ("POST", "mode", {"mode": "manual", "reason": "x" * 600}, "at most 512 characters"),
        ("POST", "quarantine", {"site": "a", "on": True, "causes": ["operator"]}, "only for clearing"),
        ("POST", "reconcile", {"reason": "r", "confirm": "yes"}, "none is left unused"),
        ("POST", "waive", {"license": "key", "newest": "12", "reason": "r"}, "newest: '12' is refused: a version is"),
        ("POST", "waive", {"license": "A Key", "newest": "7.1", "reason": "r"}, "license: 'A Key' is refused"),
        ("PUT", "", {"config": FIELDS}, "expected_version: None is refused: is required"),
    ],
)  # fmt: skip
async def test_bodies_are_checked(pki: Pki, method: str, path: str, body: Any, words: str) -> None:
    async with serve(pki) as running:
        status, answer = await running.call("admin", method, f"/v1/groups/shop/{path}".rstrip("/"), body)
        assert (status, answer["reason"]) == (400, "bad-request")
        assert words in answer["words"]
        assert running.cluster.commands == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ttl_ms": 100}, "groups.shop.ttl_ms: '100' is refused: must lie between 500 and 600000"),
        ({"ttl": 100}, "ttl: 100 is refused: unknown field; did you mean 'ttl_ms'?"),
        ({"sites": ["dc-a"]}, "a group has 2 to 5 sites"),
        ({"ttl_ms": "3s"}, "a number from"),
        ({"labels": {"a": 1}}, "text to text"),
        ({"licenses": {"name": "key"}}, "licenses: {'name': 'key'} is refused: a list of at most"),
        ({"licenses": [{"escrow": "required"}]}, "licenses.0: {'escrow': 'required'} is refused: a mapping with name"),
        ({"licenses": [{"name": "key", "lock": 1}]}, "a mapping with name, and escrow if you like; write {name:"),
        ({"licenses": [{"name": "key", "escrow": "maybe"}]}, "licenses.0.escrow: 'maybe' is refused: is none of: req"),
        ({"licenses": [{"name": "Key"}]}, "licenses.0.name: 'Key' is refused: 1 to 63 of"),
        ({"licenses": [{"name": "key"}, {"name": "key"}]}, "groups.shop.licenses: ['key', 'key'] is refused"),
    ],
)
async def test_a_group_that_breaks_a_rule_is_refused_with_the_field(pki: Pki, changed: Any, words: str) -> None:
    async with serve(pki) as running:
        body = {"config": {**FIELDS, **changed}, "expected_version": 0}
        status, answer = await running.call("admin", "PUT", "/v1/groups/shop", body)
        assert (status, answer["reason"]) == (422, "bad-configuration")
        assert words in answer["detail"]


async def test_reads(pki: Pki) -> None:
    async with serve(pki) as running:
        _, page = await running.call("viewer", "GET", "/v1/groups?limit=2")
        assert [group["group"] for group in page["groups"]] == ["billing", "mail"]
        _, page = await running.call("viewer", "GET", f"/v1/groups?limit=2&after={page['next']}")
        assert ([group["group"] for group in page["groups"]], page["next"]) == (["shop"], None)
        _, group = await running.call("viewer", "GET", "/v1/groups/shop")
        assert (group["version"], group["config"]["ttl_ms"]) == (3, 3_000)
        status, _ = await running.call("viewer", "GET", "/v1/groups/nothing")
        assert status == 404
        _, events = await running.call("viewer", "GET", "/v1/events?limit=2")
        assert ([event["seq"] for event in events["events"]], events["head"]) == ([4, 5], 5)
        _, events = await running.call("viewer", "GET", "/v1/events?after=0&limit=2")
        assert [event["seq"] for event in events["events"]] == [1, 2]
        status, answer = await running.call("viewer", "GET", "/v1/events?after=x")
        assert (status, answer["reason"]) == (400, "bad-request")


async def test_a_test_of_a_witness_that_tells_nobody_names_it_and_what_it_lacks(pki: Pki) -> None:
    async with serve(pki) as running:
        status, said = await running.call("operator", "POST", "/v1/notify/test", {})
        assert (status, said["ok"], said["reason"], said["witness"]) == (409, False, "no-notify-section", "w1")
        assert said["words"] == "w1 has no notify section: it tells nobody of anything"
        assert "docs/operating/notifications.md" in said["next"]


async def test_errors_give_nothing_away(pki: Pki) -> None:
    async with serve(pki) as running:
        running.cluster.fails = True
        status, answer = await running.call("operator", *MOVES[1])
        assert (status, answer["reason"]) == (500, "internal-error")
        assert "4711" not in str(answer)
        status, answer = await running.call("operator", "GET", "/nothing")
        assert (status, answer["reason"]) == (404, "not-found")
        status, answer = await running.call("operator", "PATCH", "/v1/status")
        assert (status, answer["reason"]) == (405, "method-not-allowed")


async def test_bodies_and_requests_are_bounded(pki: Pki) -> None:
    async with serve(pki, LimitSettings(requests_max=0)) as running:
        status, answer = await running.call("viewer", "GET", "/v1/status")
        assert (status, answer["reason"]) == (429, "too-many-requests")
    async with serve(pki) as running:
        body = {"mode": "manual", "reason": "x" * 70_000}
        status, answer = await running.call("operator", "POST", "/v1/groups/shop/mode", body)
        assert (status, answer["reason"]) == (413, "too-large")


async def test_what_is_not_json_is_refused(pki: Pki) -> None:
    async with serve(pki) as running, running.session("operator-operator") as session:
        for raw in (b"{", b"[" * 60_000, b"\xff"):
            async with session.post("/v1/groups/shop/mode", data=raw) as got:
                assert got.status == 400
                assert "not JSON" in (await got.json())["words"]


async def test_health_and_metrics(pki: Pki) -> None:
    async with serve(pki) as running:
        assert (await running.call("viewer", "GET", "/healthz"))[0] == 200
        assert (await running.call("viewer", "GET", "/readyz"))[0] == 200
        running.cluster.quorum = False
        assert (await running.call("viewer", "GET", "/readyz"))[0] == 503
        async with running.session("operator-viewer") as session, session.get("/metrics") as got:
            text = await got.text()
            assert 'thirdsite_http_requests_total{status="503"} 1.0' in text
            assert got.headers["X-Request-Id"]


async def test_without_a_certificate_nothing_is_said(pki: Pki) -> None:
    async with serve(pki) as running:
        connector = aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"https://127.0.0.1:{running.port}/healthz")
