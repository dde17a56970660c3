"""What one witness has seen: who was heard, and whether it still held the lease when it fell silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, Rig, entry, frame, report, token

from proto.commands import ConfigureGroup
from proto.decisions import DecisionKind, Reason
from proto.health import SiteState
from proto.units import NS_PER_S, Epoch, InstantNs
from witness.core.decide import decide
from witness.core.sight import Sights

CLAIM = token("claim")
ACTIVE = report(state=SiteState.ACTIVE, epoch_bound=Epoch(2))


class Scene:
    """A rig, and a witness that takes in every entry at the instant at which it is applied."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.now = InstantNs(0)
        self.sights = Sights(self.now)
        self.beat(A)
        self.beat(B)

    def beat(self, site, *, fresh: bool = True, **said) -> None:
        self.rig.beat(site, **said)
        self.note(fresh=fresh)

    def note(self, *, fresh: bool = True) -> None:
        self.sights.note(self.rig.machine.state, self.rig.last.changes, fresh=fresh, now=self.now)

    def hold(self) -> None:
        self.rig.one(self.rig.grant_command())
        self.beat(A, epoch=2, claim=CLAIM, said=ACTIVE)

    def wait(self, seconds: float) -> None:
        self.now = InstantNs(self.now + int(seconds * NS_PER_S))

    def decide(self):
        group = self.rig.group
        return decide(group, self.sights.of(group.config.group, self.now), self.now)

    def raise_ttl(self, ttl_ms: int) -> None:
        config = self.rig.group.config
        changed = replace(config, constants=replace(config.constants, ttl_ms=ttl_ms))
        assert self.rig.one(ConfigureGroup(changed, self.rig.group.version, AUTHOR)).ok


def test_a_longer_ttl_of_the_next_epoch_does_not_hold_up_the_takeover_from_a_holder_that_fell_silent():
    scene = Scene()
    scene.hold()
    scene.raise_ttl(600_000)
    scene.wait(30)
    scene.rig.expire()
    scene.beat(B)
    assert (scene.decide().kind, scene.decide().site) == (DecisionKind.GRANT, B)


@pytest.mark.parametrize("said", [ACTIVE, report(state=SiteState.UNKNOWN), report(state=SiteState.FENCING)])
def test_a_holder_that_spoke_again_without_renewing_is_asked_before_another_one_starts(said):
    scene = Scene()
    scene.hold()
    scene.raise_ttl(600_000)
    scene.wait(1)
    scene.beat(A, incarnation="i2", said=said)
    scene.wait(29)
    scene.rig.expire()
    scene.beat(B)
    decision = scene.decide()
    assert decision.kind is DecisionKind.NOTHING
    assert Reason.OTHER_SITE_NOT_DOWN in {one.reason for one in decision.blockers if one.site == B}


def test_what_is_applied_while_catching_up_is_nobody_heard():
    scene = Scene()
    scene.rig.one(scene.rig.grant_command())
    scene.beat(A, fresh=False, epoch=2, claim=CLAIM, said=ACTIVE)
    assert scene.sights.of(scene.rig.group.config.group, scene.now).renewing == set()


@pytest.mark.parametrize(
    ("epochs", "kind"),
    [((2, 2), DecisionKind.GRANT), ((0, 2), DecisionKind.GRANT), ((2, 0), DecisionKind.NOTHING)],
)
def test_of_several_heartbeats_in_one_entry_the_last_one_counts(epochs, kind):
    scene = Scene()
    scene.hold()
    scene.raise_ttl(600_000)
    beats = [
        frame(A, entry(epoch=epoch, claim=CLAIM if epoch else bytes(16), said=ACTIVE), seq=scene.rig.seqs[A, "i1"] + n)
        for n, epoch in enumerate(epochs, start=1)
    ]
    scene.rig.run(*beats)
    scene.note()
    scene.wait(30)
    scene.rig.expire()
    scene.beat(B)
    assert scene.decide().kind is kind


def test_a_renewal_that_was_applied_while_catching_up_is_not_taken_for_what_the_site_says_now():
    scene = Scene()
    scene.hold()
    scene.beat(A, fresh=False, epoch=2, claim=CLAIM, said=ACTIVE)
    scene.beat(A, said=ACTIVE)
    assert scene.sights.of(scene.rig.group.config.group, scene.now).renewing == set()
