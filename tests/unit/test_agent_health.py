"""Hysteresis of probe results, and what roles without probes mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.health import NOT_PROBED, HealthFold
from agents.core.settings import ProbeRole, ProbeSettings
from proto.health import DataChecks
from proto.invariants import InvariantViolation
from proto.limits import BLOCKERS_MAX
from proto.messages import LAG_UNKNOWN_MS


def probe(name: str, role: ProbeRole, rise: int = 1, fall: int = 1) -> ProbeSettings:
    return ProbeSettings(name, role, rise, fall)


def test_roles_without_probes_pass() -> None:
    summary = HealthFold(()).summary()
    assert summary.ready
    assert summary.healthy
    assert summary.data_checks is DataChecks.NONE
    assert summary.lag_ms == LAG_UNKNOWN_MS
    assert summary.blockers == ()


def test_a_probe_fails_before_its_first_result() -> None:
    fold = HealthFold((probe("web", ProbeRole.READY), probe("db", ProbeRole.DATA)))
    summary = fold.summary()
    assert not summary.ready
    assert summary.data_checks is DataChecks.FAILED
    assert summary.blockers == (f"ready probe web: {NOT_PROBED}", f"data probe db: {NOT_PROBED}")


def test_service_blockers_are_left_out_while_dormant() -> None:
    fold = HealthFold((probe("svc", ProbeRole.SERVICE), probe("disk", ProbeRole.READY)))
    fold.observe("svc", False, "refused")
    summary = fold.summary()
    assert not summary.healthy
    assert summary.blockers_while(active=False) == (f"ready probe disk: {NOT_PROBED}",)
    assert summary.blockers_while(active=True)[-1] == "service probe svc: refused"


def test_a_service_that_was_just_started_is_unfit_only_when_it_fails_in_a_row() -> None:
    """While the site was dormant its probes failed, as they should."""
    fold = HealthFold((probe("svc", ProbeRole.SERVICE, fall=2), probe("disk", ProbeRole.READY)))
    fold.observe("svc", False, "refused")
    assert not fold.summary().healthy
    fold.service_began()
    assert fold.summary().healthy
    assert not fold.summary().ready, "what is not about the service is as it was"
    fold.observe("svc", False, "refused")
    assert fold.summary().healthy
    fold.observe("svc", False, "refused")
    assert not fold.summary().healthy


def test_lag_is_the_largest_and_unknown_when_one_fails() -> None:
    fold = HealthFold((probe("a", ProbeRole.LAG), probe("b", ProbeRole.LAG, fall=2)))
    fold.observe("a", True, "", 10)
    assert fold.summary().lag_ms == LAG_UNKNOWN_MS
    fold.observe("b", True, "", 70)
    assert fold.summary().lag_ms == 70
    fold.observe("b", False, "gone")
    assert fold.summary().lag_ms == 70
    fold.observe("b", False, "gone")
    assert fold.summary().lag_ms == LAG_UNKNOWN_MS


def test_blockers_are_bounded() -> None:
    fold = HealthFold(tuple(probe(f"p{n}", ProbeRole.READY) for n in range(BLOCKERS_MAX + 5)))
    assert len(fold.summary().blockers) == BLOCKERS_MAX


def test_an_unknown_probe_is_our_bug() -> None:
    with pytest.raises(InvariantViolation):
        HealthFold(()).observe("x", True, "")


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_hysteresis_equals_its_definition(rise: int, fall: int, results: list[bool]) -> None:
    """The verdict is that of the last run long enough; before any such run it is 'failing'."""
    fold = HealthFold((probe("p", ProbeRole.READY, rise, fall),))
    for result in results:
        fold.observe("p", result, "" if result else "no")
    expected = False
    run: list[bool] = []
    for result in results:
        run = [*run, result] if run and run[-1] == result else [result]
        if len(run) >= (rise if result else fall):
            expected = result
    assert fold.summary().ready is expected
    assert bool(fold.summary().blockers) is not expected


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_probes_do_not_touch_each_other(steps: list[tuple[str, bool]]) -> None:
    roles = {"a": ProbeRole.READY, "b": ProbeRole.SERVICE, "c": ProbeRole.DATA}
    together = HealthFold(tuple(probe(name, role, 2, 2) for name, role in roles.items()))
    alone = {name: HealthFold((probe(name, role, 2, 2),)) for name, role in roles.items()}
    for name, passed in steps:
        together.observe(name, passed, "no")
        alone[name].observe(name, passed, "no")
    summary = together.summary()
    assert summary.ready == alone["a"].summary().ready
    assert summary.healthy == alone["b"].summary().healthy
    assert summary.data_checks == alone["c"].summary().data_checks
