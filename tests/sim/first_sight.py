"""Whether a schedule shows a violation of some kinds, and no longer: what follows the first one costs time alone."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from witness.sim.campaign.result import Result
from witness.sim.raft.checkers import Findings


class Seen(BaseException):
    """The first violation of these kinds."""


def sees(kinds: Collection[str], run: Callable[[], Result]) -> bool:
    right = Findings.found

    def found(self: Findings, kind: str, text: str) -> None:
        right(self, kind, text)
        if kind in kinds:
            raise Seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Findings, "found", found)
        try:
            result = run()
        except Seen:
            return True
    return any(violation.kind in kinds for violation in result.violations)
