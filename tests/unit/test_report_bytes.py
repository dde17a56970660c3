"""A report fits its frame whatever the words, and its bytes change only when something changed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from agent_rig import SETTINGS
from hypothesis import given
from hypothesis import strategies as st

from agents.core.health import HealthSummary
from agents.core.report import HoldsReport, report_bytes, timing_blockers
from proto import limits
from proto.codec import REPORTS
from proto.health import DataChecks, SiteState
from proto.lease import LeaseConstants
from proto.license import LICENSES_PER_GROUP_MAX, PROBLEM_CHARS_MAX, EscrowVersion, LicenseReport
from proto.timing import SiteBudgets
from proto.units import EPOCH_MAX, Epoch, LicenseName

WORDS = st.text(max_size=400)


def made(**changes) -> bytes:
    fields = {
        "state": SiteState.STANDBY,
        "health": HealthSummary(True, True, DataChecks.PASSED, 5),
        "stored": (Epoch(3), Epoch(2)),
        "group_version": 4,
        "containment": "pid-namespace",
        "timing": (),
        "trouble": "",
        "licenses": (),
        "closing": False,
        "terse": False,
        **changes,
    }
    said = {name: fields.pop(name) for name in ("state", "health", "group_version", "containment", "trouble")}
    timing, licenses = fields.pop("timing"), fields.pop("licenses")
    group = SimpleNamespace(
        **said, host_blockers=lambda: timing, holds=HoldsReport(), told_permit=None, license_reports=lambda: licenses
    )
    return report_bytes(SETTINGS.groups[0], SETTINGS, group, **fields)


LONGEST = tuple(
    LicenseReport(
        LicenseName(f"{number}" * 63), EscrowVersion(Epoch(EPOCH_MAX), EPOCH_MAX), True, "p" * PROBLEM_CHARS_MAX
    )
    for number in range(LICENSES_PER_GROUP_MAX)
)


@given(st.lists(WORDS, max_size=limits.BLOCKERS_MAX * 2), WORDS, WORDS, st.booleans(), st.sampled_from([(), LONGEST]))
def test_whatever_the_words_the_report_fits_and_can_be_read(blockers, trouble, containment, terse, licenses):
    health = HealthSummary(False, False, DataChecks.FAILED, 5, tuple(blockers))
    words = {"trouble": trouble, "containment": containment, "timing": ("t" * 300,)}
    data = made(health=health, terse=terse, licenses=licenses, **words)
    assert len(data) <= limits.REPORT_BYTES_MAX
    report = REPORTS.decode(data)
    assert len(report.blockers) <= limits.BLOCKERS_MAX
    assert not report.ready
    if terse:
        assert report.blockers == ()


def test_equal_facts_have_equal_bytes():
    assert made() == made()
    assert made() != made(group_version=5)
    assert made(health=HealthSummary(True, True, DataChecks.PASSED, 99)) == made(), "the lag travels beside it"


def test_the_durable_bounds_are_reported_and_nothing_else():
    report = REPORTS.decode(made(stored=(Epoch(9), Epoch(8))))
    assert (report.epoch_bound, report.finished_epoch) == (9, 8)


def test_trouble_and_timing_come_before_what_the_probes_found():
    health = HealthSummary(False, True, DataChecks.NONE, 5, ("ready probe: refused",))
    report = REPORTS.decode(made(health=health, trouble="fenced", timing=("stop_budget_ms",)))
    assert report.blockers == ("fenced", "stop_budget_ms", "ready probe: refused")


def test_unsafe_timing_and_closing_are_not_ready():
    constants = LeaseConstants(1_000, 10_000, 0)
    settings = replace(SETTINGS.groups[0], budgets=SiteBudgets(900, 100))
    timing = timing_blockers(constants, settings)
    assert timing
    assert not REPORTS.decode(made(timing=timing)).ready
    assert not REPORTS.decode(made(closing=True)).ready
    assert timing_blockers(constants, replace(settings, budgets=SiteBudgets(250, 100))) == ()
    assert timing_blockers(None, settings) == (), "nothing is known about the lease yet"


def test_service_words_are_told_only_while_active():
    health = HealthSummary(True, False, DataChecks.NONE, 5, ("service probe: 503",), 1)
    assert REPORTS.decode(made(health=health)).blockers == ()
    assert REPORTS.decode(made(health=health, state=SiteState.ACTIVE)).blockers == ("service probe: 503",)
