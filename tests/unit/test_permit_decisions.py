"""Break-glass in what a leader decides and in what people read: adoption, blockers, the way out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, G, W, entry, report, token
from node_rig import NodeRig
from permit_rig import AFTER_MS, KEY, MARK, P

from proto import codec
from proto.commands import Cause, ConfigureGroup, Grant, HeartbeatFrame, LogEntry, RaiseFeatureLevel, SetMode
from proto.decisions import DecisionKind, Reason
from proto.groups import Mode
from proto.health import SiteState
from proto.holds import NO_CHAIN, HoldMark
from proto.messages import Heartbeat
from proto.units import Claim, Epoch, Incarnation, InstantNs, Nonce, WallMs
from witness.core import node
from witness.core.state import Former
from witness.core.transitions import Phase
from witness.ctl.group_file import load_groups
from witness.ctl.render import group_detail
from witness.group_fields import from_fields, to_fields


class Leader(NodeRig):
    """A leading witness; everything is committed by another one, whose wall clock the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.wall_ms = 1_800_000_000_000
        self.seq = 100
        self.vacant()
        self.foreign(RaiseFeatureLevel(2))
        config = replace(self.group.config, break_glass_key=KEY, break_glass_after_ms=AFTER_MS)
        self.foreign(ConfigureGroup(config, self.group.version, AUTHOR))

    def foreign(self, *commands, age_ns: int | None = 0) -> None:
        made = LogEntry(W[1], b"t" * 16, self.index + 1, WallMs(self.wall_ms), tuple(commands))
        self.commit(codec.encode_entry(made, [codec.encode_command(command) for command in commands]), age_ns)

    def says(self, site, **said) -> None:
        self.seq += 1
        part = entry(said=report(group_version=self.group.version, **said))
        answered = self.seq - 2  # every second heartbeat is this site's
        beat = Heartbeat(site, Incarnation(token("i1")), self.seq, Nonce(token("n")), WallMs(1), (part,), answered)
        self.foreign(HeartbeatFrame(codec.AGENT_MESSAGES.encode(beat)))

    def both(self, **said_by_b) -> None:
        for _ in range(2):
            self.says(A)
            self.says(B, **said_by_b)

    def decision(self):
        return self.node.decision(self.group, InstantNs(self.now))


def test_after_a_long_outage_nothing_is_granted_until_both_were_heard_and_the_reason_names_the_silent_one():
    rig = Leader()
    rig.both()
    rig.wall_ms += AFTER_MS
    rig.says(A)
    rig.seq += 1
    rig.says(A)
    decision = rig.decision()
    assert decision.reason is Reason.NO_CANDIDATE
    assert (B, Reason.RECONCILING) in [(blocker.site, blocker.reason) for blocker in decision.blockers]
    rig.both()
    assert rig.decision().kind is DecisionKind.GRANT


@pytest.mark.parametrize("mode", [Mode.AUTOMATIC, Mode.MANUAL, Mode.PAUSED])
def test_a_site_under_permit_is_adopted_and_nobody_else_is_considered(mode):
    rig = Leader()
    if mode is not Mode.AUTOMATIC:
        rig.foreign(SetMode(G, mode, AUTHOR))
    rig.wall_ms += 10 * AFTER_MS
    rig.says(B, state=SiteState.ACTIVE, permit=MARK, epoch_bound=P)
    assert (rig.decision().kind, rig.decision().site) == (DecisionKind.GRANT, B)
    rig.commit_all()
    assert rig.group.phase is Phase.GRANTED
    assert rig.group.lease is not None
    assert (rig.group.lease.site, rig.group.lease.cause.value) == (B, "adopted")
    assert rig.group.epoch == P + 1


def test_people_read_why_a_site_counts_as_away_though_it_speaks():
    rig = Leader()
    rig.both()
    rig.wall_ms += AFTER_MS
    for _ in range(2):
        rig.says(A)
        rig.says(B, store_id=token("other"))
    status = rig.node.group_status(G, InstantNs(rig.now))
    assert status is not None
    assert status["permits"]["away"] == [B]
    from rich.console import Console

    console = Console(width=300)
    with console.capture() as shown:
        console.print(group_detail({**status, "config": to_fields(rig.group.config)}))
    assert "dc-b: only an agent with another store speaks there" in shown.get()
    assert "away for so long" not in shown.get()


DISPUTED = "no move: the permit of dc-b is disputed"


def test_people_read_that_another_agent_speaks_for_a_site_under_a_permit():
    rig = Leader()
    rig.says(B, state=SiteState.ACTIVE, permit=MARK, epoch_bound=P)
    rig.group.permits.used[MARK.permit].incarnation = Incarnation(token("i0"))
    rig.says(B)
    status = rig.node.group_status(G, InstantNs(rig.now))
    assert status is not None
    assert status["permits"]["disputed"] == [B]
    from rich.console import Console

    console = Console(width=300)
    with console.capture() as shown:
        console.print(group_detail({**status, "config": to_fields(rig.group.config)}))
    assert "dc-b: disputed: another agent speaks for it" in shown.get()
    assert "it is adopted in place" not in shown.get()
    assert f"decision  {DISPUTED}" in shown.get()
    assert f"takeover  none now: {DISPUTED.removeprefix('no move: ')}" in shown.get()
    assert "does not hold the lease" not in shown.get(), "nobody does; what is to be done stands beside it"


def test_observe_only_tells_of_it():
    rig = Leader()
    rig.foreign(SetMode(G, Mode.OBSERVE, AUTHOR))
    rig.both(state=SiteState.ACTIVE, permit=MARK, epoch_bound=P)
    assert rig.decision().kind is DecisionKind.NOTHING


def test_a_clash_names_the_other_site_and_decides_nothing():
    rig = Leader()
    for _ in range(2):
        rig.says(A, state=SiteState.ACTIVE)
        rig.says(B, state=SiteState.ACTIVE, permit=MARK, epoch_bound=P)
    decision = rig.decision()
    assert (decision.kind, decision.reason) == (DecisionKind.NOTHING, Reason.PERMIT_CLASH)
    assert [blocker.site for blocker in decision.blockers] == [A]


def test_people_read_what_is_under_a_permit_what_is_away_and_how_to_go_on():
    rig = Leader()
    rig.both()
    rig.wall_ms += AFTER_MS
    rig.says(B, state=SiteState.ACTIVE, permit=MARK, epoch_bound=P)
    status = rig.node.group_status(G, InstantNs(rig.now))
    assert status is not None
    found = {"enabled": True, "after_ms": AFTER_MS, "away": [A, B], "under_permit": [B]}
    assert status["permits"] == {**found, "disputed": [], "session_ms": None}
    from rich.console import Console

    def shown(heard_ms_ago: int) -> str:
        console = Console(width=300)
        sites = [{**site, "heard_ms_ago": heard_ms_ago} for site in status["sites"]]
        with console.capture() as shown:
            console.print(group_detail({**status, "sites": sites, "config": to_fields(rig.group.config)}))
        return shown.get()

    for words in ("active under a break-glass permit", f"witnessctl reconcile {G}", "dc-a, dc-b: away"):
        assert words in shown(60_000)
    heard = shown(200)
    assert "dc-a: its agent is heard and does not say yet that it was answered" in heard
    assert "dc-b: its agent" not in heard
    assert f"witnessctl reconcile {G}" not in heard, "nobody vouches for a site that is heard"


def test_a_group_file_takes_the_key_that_init_prints_and_refuses_another(tmp_path):
    path = tmp_path / "groups.yaml"
    base = "groups:\n  - group: shop\n    sites: [dc-a, dc-b]\n"
    path.write_text(base + f"    break_glass: {{key: {KEY}, after: 20m}}\n")
    (config,) = load_groups(path)
    assert (config.break_glass_key, config.break_glass_after_ms) == (KEY, 1_200_000)
    assert from_fields(to_fields(config)) == config
    path.write_text(base)
    assert not load_groups(path)[0].permits.enabled
    for bad in ("{key: short}", "{}", f"{{key: {KEY}, after: 5s}}"):
        path.write_text(base + f"    break_glass: {bad}\n")
        with pytest.raises(Exception, match="break_glass"):
            load_groups(path)


def test_a_holder_on_holds_waits_for_the_silent_site_and_nothing_is_proposed_meanwhile():
    rig = Leader()
    rig.both()
    group = rig.group
    group.former = Former(A, Incarnation(token("i1")), Claim(token("claim")), group.epoch, group.epoch)
    rig.wall_ms += AFTER_MS
    holding = HoldMark(Epoch(group.epoch), 7, NO_CHAIN)
    rig.proposed.clear()
    for _ in range(4):
        rig.says(A, state=SiteState.ACTIVE, holding=holding, epoch_bound=Epoch(group.epoch))
    found = rig.decision()
    assert (found.kind, found.reason) == (DecisionKind.NOTHING, Reason.HOLDER_HOLDS)
    assert (B, Reason.RECONCILING) in [(one.site, one.reason) for one in found.blockers]
    assert A not in [one.site for one in found.blockers]
    assert rig.commands() == []


def test_what_the_machine_refused_is_not_proposed_again_at_once(monkeypatch):
    rig = Leader()
    a_while_ago = Epoch(99)
    refused = Grant(G, a_while_ago, Epoch(100), A, Incarnation(token("i1")), Cause.FIRST, Reason.HOLDER_EXPIRED, AUTHOR)
    monkeypatch.setattr(node, "command_for", lambda _group, _decision: refused)
    rig.proposed.clear()
    rig.says(A)
    made = []
    for _ in range(20):
        if rig.proposed:
            made += rig.commands()
            rig.commit(rig.proposed.pop(0))
    assert made == [refused]
    rig.passes(250_000_000)
    assert rig.commands() == [refused]
