"""What makes a guard hard to push aside, asked for in the order in which it may be had (privileges.py)."""

from __future__ import annotations

import pytest

from agents.fencing import kernel_calls, privileges

NOW, LATER, ON_FAULT = kernel_calls.MCL_CURRENT, kernel_calls.MCL_FUTURE, kernel_calls.MCL_ONFAULT


@pytest.mark.parametrize(
    ("unlimited", "old_kernel", "asked", "locked"),
    [
        (True, False, [NOW | LATER | ON_FAULT], True),
        (False, False, [NOW | ON_FAULT], True),
        (True, True, [NOW | LATER | ON_FAULT, NOW | LATER], True),
        (False, True, [NOW | ON_FAULT, NOW], True),
    ],
)
def test_what_comes_later_is_locked_only_where_no_limit_could_make_an_allocation_fail(
    monkeypatch: pytest.MonkeyPatch, unlimited: bool, old_kernel: bool, asked: list[int], locked: bool
) -> None:
    seen: list[int] = []

    def lock(flags: int) -> None:
        seen.append(flags)
        if old_kernel and flags & ON_FAULT:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(kernel_calls, "lock_memory", lock)
    monkeypatch.setattr(privileges, "has_capability", lambda _number: unlimited)
    monkeypatch.setattr(privileges, "set_oom_score", lambda _score: True)
    monkeypatch.setattr(privileges, "claim_realtime", lambda: False)
    assert privileges.claim() == {"oom_score": True, "memory_locked": locked, "realtime": False}
    assert seen == asked


def test_a_refusal_is_reported_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_flags: int) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(kernel_calls, "lock_memory", refuse)
    monkeypatch.setattr(privileges, "set_oom_score", lambda _score: False)
    monkeypatch.setattr(privileges, "claim_realtime", lambda: False)
    assert not any(privileges.claim().values())
