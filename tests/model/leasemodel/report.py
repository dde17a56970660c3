"""Traces in words: what happened, and what stood where afterwards.

w0 is the witness with the mad clock, where there is one. w1 and w2 are alike and sorted, so they may change places
from one step to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from leasemodel.moves import Move
from leasemodel.scenarios import Bounds
from leasemodel.state import NO_RECORD, NOBODY, Attempt, Copy, State, Witness

S = TypeVar("S")


def copy_name(index: int, copies: tuple[int, ...]) -> str:
    """dc-a, dc-b, ...; dc-a' is a clone of dc-a."""
    site = copies[index]
    clones = copies[:index].count(site)
    return site_name(site) + "'" * clones


def site_name(site: int) -> str:
    return "nobody" if site == NOBODY else f"dc-{chr(ord('a') + site)}"


def move_words(move: Move, bounds: Bounds) -> str:
    kind, one, two, three = move
    about_site = kind in {"propose_grant", "commit_grant", "lose_grant"}
    about_witness = kind in {"apply", "cast_vote", "commit_vote", "witness_restart", "replica_answer"}
    nobody = about_site or about_witness or kind in {"tick", "configure", "recreate"}
    number = "" if nobody else copy_name(one, bounds.copies)
    who = site_name(one) if about_site else f"w{one}" if about_witness else number
    words = {
        "tick": "one tick of true time passes",
        "send": f"{who} reads t0 and sends a heartbeat",
        "answer": f"{who} receives the answer to attempt {two} for epoch {three}",
        "forget": f"{who} forgets attempt {two}, or it is lost",
        "stand_down": f"{who} stops and sends its release of epoch {two}",
        "decline": f"{who} declines or gives back epoch {two}",
        "grant_seen": f"{who} hears of the grant of epoch {two}",
        "commit_release": f"the release of epoch {two} by {who} is committed: vacant",
        "cold_start": f"{who} crashes and starts cold as incarnation {two}",
        "commit_heartbeat": f"attempt {two} of {who} is committed as renewal {three}",
        "repeat_heartbeat": f"attempt {two} of {who} is committed as renewal {three} and may be committed again",
        "new_incarnation_heard": f"a heartbeat of another incarnation comes from {who}",
        "heard_down": f"a heartbeat of {who} that holds nothing is committed: it says that it is down",
        "replica_answer": f"{who} answers an attempt from its own replica, without a commit",
        "propose_grant": f"a grant to {who}, incarnation {two}, is proposed",
        "commit_grant": f"the grant of epoch {three} to {who} is committed",
        "lose_grant": f"the grant to {who} is lost",
        "apply": f"{who} applies ({two}, {three}) and starts its timer",
        "cast_vote": f"{who} sends its vote to expire ({two}, {three})",
        "commit_vote": f"the vote of {who} for ({two}, {three}) is committed",
        "witness_restart": f"{who} restarts",
        "configure": f"an operator configures ttl {one}",
        "revoke": "the revoke deadline strikes",
        "delete_group": "the group is deleted and made again",
        "recreate": f"the witnesses are restored from a backup; configured ttl is {one}",
    }
    return words.get(kind, repr(move))


def state_words(state: State, bounds: Bounds) -> list[str]:
    lease = state.machine.lease
    if lease is None:
        held = f"vacant, epoch {state.machine.epoch}"
    else:
        claim = "unclaimed" if lease.claim == NOBODY else f"claimed by {copy_name(lease.claim, bounds.copies)}"
        holder = f"{site_name(lease.site)}, incarnation {lease.incarnation}, {claim}"
        if lease.site == NOBODY:
            holder = "nobody (barred)"
        refusing = ", renewals refused" if lease.refusing else ""
        held = f"epoch {lease.epoch} held by {holder}, renewal {lease.renewal}, ttl {lease.ttl}{refusing}"
    copies = [f"{copy_name(i, bounds.copies)}: {_copy_words(c)}" for i, c in enumerate(state.copies)]
    witnesses = "; ".join(f"w{i} {_witness_words(w)}" for i, w in enumerate(state.witnesses))
    return [f"lease: {held}", *copies, f"witnesses: {witnesses}"]


def _copy_words(copy: Copy) -> str:
    if copy.authority:
        standing = f"ACTIVE under epoch {copy.epoch} for {copy.authority} more"
    else:
        standing = f"session seen for {copy.linger} more" if copy.linger else "down"
    release = "" if copy.release == NO_RECORD else f", release of epoch {copy.release[0]} under way"
    attempts = "".join(f" [{_attempt_words(a)}]" for a in copy.attempts)
    return f"{standing} (incarnation {copy.incarnation}, finished {copy.finished}{release}){attempts}"


def _attempt_words(attempt: Attempt) -> str:
    parts = [f"age {attempt.age}"]
    if attempt.epoch:
        parts.append(f"epoch {attempt.epoch}")
    if not attempt.live:
        parts.append("void")
    if attempt.sent:
        parts.append("under way")
    parts += [f"answer: yes for epoch {epoch}, ttl {ttl}" for epoch, ttl in attempt.answers]
    return ", ".join(parts)


def _witness_words(witness: Witness) -> str:
    if witness.applied == NO_RECORD:
        timer = "no timer"
    else:
        left = "never" if witness.timer < 0 else f"{witness.timer} left" if witness.timer else "out"
        timer = f"timer for {witness.applied} {left}"
    votes = "".join(f", vote {vote} under way" for vote in witness.votes)
    return timer + votes + (", counted" if witness.counted else "")


def trace_words(trace: list[tuple[Move | None, State]], bounds: Bounds) -> str:
    """Every step with the lines that it changed; the last state in full."""
    return story(trace, lambda move: move_words(move, bounds), lambda state: state_words(state, bounds))


def story(trace: Sequence[tuple[Move | None, S]], moved: Callable[[Move], str], stood: Callable[[S], list[str]]) -> str:
    """The same for the states of any layer."""
    lines: list[str] = []
    shown: list[str] = []
    for step, (move, state) in enumerate(trace):
        lines.append(f"{step:3d}. {'start' if move is None else moved(move)}")
        now = stood(state)
        lines += [f"       {line}" for line in now if line not in shown or step == len(trace) - 1]
        shown = now
    return "\n".join(lines)
