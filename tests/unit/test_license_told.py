"""E2, E12 and what is told of licenses: problems and their end, each once, and words that are not believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, C, G
from escrow_rig import KEY, EscrowRig, licensed, sealed, version
from test_license_rules import NOT_CURRENT, against, alarms, vacant

from proto.commands import ConfigureGroup, SetMode
from proto.decisions import Reason
from proto.groups import Mode
from proto.health import SiteState
from proto.license import NOT_BELIEVED, VERSION_MAX, VERSION_SKIP_MAX, EscrowPolicy, LicenseSpec
from proto.messages import Verdict
from proto.permit import EPOCH_LEAP
from proto.units import Epoch
from witness.core import licenses
from witness.core.snapshot import encode_image


def told(rig: EscrowRig) -> list[tuple[str, str]]:
    return [(event.kind.value, event.text) for event in rig.last.events if event.kind.value.startswith("license")]


def test_problems_and_their_end_are_told_once_each():
    rig = EscrowRig()
    rig.say(B, licensed(problem="no-sealing-key"))
    assert told(rig) == [("license-problem", "fingerprint: no-sealing-key")]
    rig.say(B, licensed(problem="no-sealing-key"))
    assert told(rig) == []
    rig.say(B, licensed(problem="does-not-open"))
    assert told(rig) == [("license-problem", "fingerprint: does-not-open")]
    assert rig.put(sealed(rig.epoch, 1)).ok
    rig.say(B, licensed(version(rig.epoch, 1)))
    assert told(rig) == [("license-current", f"fingerprint: it holds {rig.epoch}.1")]


def test_a_site_that_has_the_newest_again_is_told_and_the_one_that_sealed_it_is_not():
    rig = EscrowRig()
    rig.say(A, licensed(version(rig.epoch, 1)), epoch=rig.epoch)
    assert rig.put(sealed(rig.epoch, 1)).ok
    rig.say(A, licensed(version(rig.epoch, 2)), epoch=rig.epoch)
    assert told(rig) == []
    rig.say(B, licensed(version(rig.epoch, 1)))
    assert told(rig) == [], "not the newest"
    rig.say(B, licensed(version(rig.epoch, 2)))
    assert told(rig) == [("license-current", f"fingerprint: it holds {rig.epoch}.2")]


def test_a_license_that_the_group_does_not_name_is_a_problem_of_its_site_before_a_takeover_needs_it():
    """Nothing is kept of it: after a takeover the site would start with whatever key its replica has."""
    rig = EscrowRig()
    maps = replace(licensed(), name="maps")
    words = (
        "maps: the group names no such license, so nothing is kept of it and no site is kept back for it: name it in "
        "the group's file, or remove it from the agent's"
    )
    rig.say(B, licensed(), maps)
    assert told(rig) == [("license-problem", words)]
    rig.say(B, licensed(problem="x"), maps)
    assert told(rig) == [("license-problem", "fingerprint: x")], "once"
    named = replace(rig.group.config, licenses=(LicenseSpec(KEY), LicenseSpec("maps")))
    assert rig.one(ConfigureGroup(named, rig.group.version, AUTHOR)).ok
    assert told(rig) == [("license-current", "maps: the group names it now")]
    assert rig.one(ConfigureGroup(replace(named, licenses=()), rig.group.version, AUTHOR)).ok
    kinds = [(event.site, event.text.split(":")[0]) for event in rig.last.events if event.kind.value.startswith("lic")]
    assert kinds == [(A, "fingerprint"), (B, "fingerprint"), (B, "maps")]
    rig.say(B)
    assert told(rig) == [], "its end is no news: the agent's file says so"


@pytest.mark.parametrize(
    "bad",
    [
        tuple(replace(licensed(), name=f"l{number}") for number in range(5)),
        (licensed(), licensed()),
        (licensed(version(0, 1)),),
        (licensed(version(1, 0)),),
        (licensed(version(1, VERSION_MAX + 1)),),
        (licensed(problem="x" * 41),),
    ],
    ids=["many", "twice", "epoch", "number", "far", "problem"],
)
def test_an_absurd_word_about_licenses_is_refused_as_a_whole(bad):
    rig = EscrowRig()
    answer = rig.say(B, *bad)
    assert (answer.verdict, answer.reason) == (Verdict.REFUSED, Reason.MALFORMED)
    assert rig.group.sites[B].report.licenses == (licensed(),)


def test_a_number_that_nobody_can_have_reached_is_not_believed_and_keeps_no_later_key_out():
    """Without that the holder's next number would be above the last that may be put, for good."""
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    last = 2 + VERSION_SKIP_MAX
    rig.say(B, licensed(version(rig.epoch, last)))
    assert [kind for kind, _ in told(rig)] == ["license-current"], "so many may have been sealed without witnesses"
    rig.say(B, licensed(version(rig.epoch, VERSION_MAX)))
    words = (
        f"fingerprint: it says that it holds {rig.epoch}.{VERSION_MAX}, but no number above {last} can have been given "
        "yet: not believed, so it counts as holding none"
    )
    assert told(rig) == [("license-problem", words)]
    assert rig.group.sites[B].report.licenses == (licensed(problem=NOT_BELIEVED),)
    assert (licenses.newest(rig.group, KEY), licenses.next_number(rig.group, KEY)) == (version(rig.epoch, 1), 2)
    rig.say(B, licensed(version(rig.epoch, VERSION_MAX), problem="again"))
    assert told(rig) == [], "once"
    assert rig.put(sealed(rig.epoch, 2)).ok
    rig.say(B, licensed(version(rig.epoch, 2)))
    assert told(rig) == [("license-current", f"fingerprint: it holds {rig.epoch}.2")]


def test_a_site_cannot_lead_the_numbers_up_by_its_own_word_step_after_step():
    rig = EscrowRig()
    for number in (VERSION_SKIP_MAX, 2 * VERSION_SKIP_MAX, 3 * VERSION_SKIP_MAX):
        rig.say(B, licensed(version(rig.epoch, number)))
    assert rig.group.sites[B].report.licenses == (licensed(problem=NOT_BELIEVED),)


def test_a_key_of_an_epoch_that_nobody_here_granted_or_bound_is_the_newest_all_the_same():
    """It may have been sealed under a permit, and its site's file of epochs removed since, as the remedy for a damaged
    one says: not believed, the other site would start the platform with a dead key. An operator gives it up."""
    rig = vacant()
    rig.held[A] = version(rig.epoch, 1)
    newest = version(rig.epoch + EPOCH_LEAP, 2)
    rig.say(B, licensed(newest), epoch_bound=Epoch(0), finished_epoch=Epoch(0))
    seen = f"fingerprint: it holds {rig.epoch}.1, the newest is {rig.epoch + EPOCH_LEAP}.2 (dc-b)"
    assert against(rig, A) == [(NOT_CURRENT, seen)]
    assert rig.unchanged(rig.grant_command(A)).reason is NOT_CURRENT
    assert against(rig, B) == []
    assert rig.waive(newest).ok
    assert against(rig, A) == []


def test_of_three_sites_those_that_hold_it_are_current():
    rig = vacant(EscrowPolicy.REQUIRED, A, B, C)
    rig.held[C] = version(rig.epoch, 1)
    rig.say(C)
    assert [against(rig, site) for site in (A, C)] == [[], []]
    assert [reason for reason, _ in against(rig, B)] == [NOT_CURRENT]


def test_what_is_told_of_several_active_sites_is_the_same_on_a_witness_installed_from_an_image():
    rig, other = (EscrowRig(EscrowPolicy.REQUIRED, B, C, hold=False) for _ in range(2))
    for one in (rig, other):
        wanted = replace(one.group.config, sites=(A, B, C))
        assert one.one(ConfigureGroup(wanted, one.group.version, AUTHOR)).ok
        one.held[A] = None
    other.machine.restore(encode_image(other.machine.state))
    for one in (rig, other):
        assert one.one(SetMode(G, Mode.OBSERVE, AUTHOR)).ok
        for site in (A, B, C):
            one.say(site, licensed(active=True), state=SiteState.ACTIVE)
    assert alarms(rig) == [
        ("both-active", "fingerprint: its probe sees it activated, and dc-a, dc-b said the same last")
    ]
    assert alarms(rig) == alarms(other)
    assert rig.machine.state.ledger.head_chain == other.machine.state.ledger.head_chain
