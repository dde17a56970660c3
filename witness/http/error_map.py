"""One table: which HTTP status an outcome has, and what its reader should do next.

Rule: a status speaks of the request, the reason code of the cluster; programs match on the code. What was asked for
and is so already counts as done. 503 means that nothing was decided, 504 that nobody knows.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from proto.decisions import REASON_TEXT, Reason
from witness.core.effects import Outcome


class Problem(Enum):
    """What is refused before it becomes a command; reason codes of the API alone."""

    BAD_REQUEST = "bad-request"
    NO_CERTIFICATE = "no-certificate"
    ROLE_REQUIRED = "role-required"
    NOT_FOUND = "not-found"
    METHOD = "method-not-allowed"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many-requests"
    NO_NOTIFY = "no-notify-section"
    INTERNAL = "internal-error"


PROBLEM_STATUS: dict[Problem, int] = {
    Problem.BAD_REQUEST: 400,
    Problem.NO_CERTIFICATE: 401,
    Problem.ROLE_REQUIRED: 403,
    Problem.NOT_FOUND: 404,
    Problem.METHOD: 405,
    Problem.NO_NOTIFY: 409,
    Problem.TOO_LARGE: 413,
    Problem.TOO_MANY: 429,
    Problem.INTERNAL: 500,
}
CONFLICT = 409
"""Any reason that is not in the table: the cluster's state stands against it."""
REASON_STATUS: dict[Reason, int] = {
    Reason.OK: 200,
    Reason.ALREADY_SO: 200,
    Reason.ALREADY_THERE: 200,
    Reason.MALFORMED: 400,
    Reason.REASON_REQUIRED: 400,
    Reason.UNKNOWN_GROUP: 404,
    Reason.UNKNOWN_SITE: 404,
    Reason.UNKNOWN_ALARM: 404,
    Reason.UNKNOWN_LICENSE: 404,
    Reason.BAD_CONFIGURATION: 422,
    Reason.OVERLOADED: 429,
    Reason.NO_QUORUM: 503,
    Reason.OUTCOME_UNKNOWN: 504,
}
NEXT_STEP: dict[Reason, str] = {
    Reason.UNKNOWN_GROUP: "list the groups: witnessctl groups",
    Reason.UNKNOWN_SITE: "see the group's sites: witnessctl status GROUP",
    Reason.UNKNOWN_ALARM: "see what is open: witnessctl notify list",
    Reason.UNKNOWN_LICENSE: "see the group's licenses: witnessctl license status GROUP",
    Reason.ESCROW_CONFLICT: "look at the newest version (witnessctl license status GROUP), then decide again",
    Reason.NOTHING_TO_WAIVE: "see what each site holds: witnessctl license status GROUP",
    Reason.TOO_MANY_LICENSES: "remove licenses that are not used any more",
    Reason.VERSION_CONFLICT: "look at what changed (witnessctl status GROUP), then repeat",
    Reason.BAD_CONFIGURATION: "correct the field that is named, then apply again",
    Reason.TOO_MANY_GROUPS: "delete groups that are not used any more",
    Reason.LEASE_HELD: (
        "to remove its site: switch over first. To delete the group, or for observe: witnessctl mode GROUP manual, "
        "stop the agent of the active site in order (SIGTERM), then repeat"
    ),
    Reason.HOLDER_MAY_LIVE: (
        "start the agent of the last holder and wait until it is heard. When its machine is gone for good, look there "
        "and vouch for it: witnessctl maintenance GROUP SITE on --reason ..., and repeat"
    ),
    Reason.SESSION_MAY_LIVE: "wait for the lock delay, then repeat: witnessctl status GROUP",
    Reason.NOT_VACANT: "see who holds the lease: witnessctl status GROUP",
    Reason.EPOCH_CONFLICT: "the group moved meanwhile; look at the status, then decide again",
    Reason.EPOCH_TOO_LOW: "look at the status, then repeat",
    Reason.ALREADY_REVOKED: "a handover runs already; follow it: witnessctl status GROUP --watch",
    Reason.REVOKE_DUE: "the handover's deadline is over; the lease ends by itself: witnessctl status GROUP --watch",
    Reason.NOT_CLAIMED: "the site was granted the lease and starts; wait for it: witnessctl status GROUP --watch",
    Reason.MODE_FORBIDS: "change the mode first: witnessctl mode GROUP manual --reason ...",
    Reason.SITES_NOT_DOWN: "do that on each site that is named, then repeat (docs/operating/from-observe.md)",
    Reason.REASON_REQUIRED: "repeat it with --reason",
    Reason.NOT_QUARANTINED: "nothing to clear; see: witnessctl status GROUP",
    Reason.NO_CANDIDATE: "remove what stands against the site, then repeat",
    Reason.NOT_HEARD: "check the site's agent and its way to the witnesses",
    Reason.BARRED_AFTER_CREATION: "wait for one full lease, then repeat",
    Reason.NO_QUORUM: "check the other witnesses; nothing was changed",
    Reason.OUTCOME_UNKNOWN: "look at the status before you repeat it",
    Reason.FEATURE_LEVEL: "upgrade the witnesses that are named, then repeat: witnessctl status",
    Reason.OVERLOADED: "wait a moment, then repeat",
}
PROBLEM_NEXT: dict[Problem, str] = {
    Problem.BAD_REQUEST: "correct the request as the text says",
    Problem.NO_CERTIFICATE: "use a certificate made by: witness pki issue operator NAME --role ROLE",
    Problem.ROLE_REQUIRED: "use a certificate with that role (witness pki issue operator NAME --role ROLE)",
    Problem.NOT_FOUND: "see docs/reference for the paths of the API",
    Problem.METHOD: "see docs/reference for the methods of this path",
    Problem.NO_NOTIFY: (
        "add it to that witness's configuration, then restart it: every witness needs one, as each may lead "
        "(docs/operating/notifications.md)"
    ),
    Problem.TOO_LARGE: "send less at once",
    Problem.TOO_MANY: "wait a moment, then repeat",
    Problem.INTERNAL: "look for the request's number in the log of this witness, and report a bug",
}


def status_of(reason: Reason) -> int:
    return REASON_STATUS.get(reason, CONFLICT)


def outcome_body(outcome: Outcome) -> dict[str, Any]:
    """What every change is answered with, done or refused."""
    reason = outcome.reason
    return {
        "ok": status_of(reason) == 200,
        "changed": reason is Reason.OK,
        "reason": reason.value,
        "words": REASON_TEXT[reason],
        "detail": outcome.detail,
        "next": NEXT_STEP.get(reason, ""),
    }


def problem_body(problem: Problem, words: str) -> dict[str, Any]:
    return {
        "ok": False,
        "changed": False,
        "reason": problem.value,
        "words": words,
        "detail": "",
        "next": PROBLEM_NEXT[problem],
    }
