"""Traces of the layer of permits in words."""

from __future__ import annotations

from leasemodel.moves import Move
from leasemodel.permits.scenarios import PermitBounds
from leasemodel.permits.state import NO_PERMIT, NOBODY, Attempt, Copy, State
from leasemodel.report import copy_name, site_name


def move_words(move: Move, bounds: PermitBounds) -> str:
    kind, one, two, three = move
    about_copy = {"send", "answer", "forget", "commit_heartbeat", "stand_down", "take_permit", "cold_start"}
    who = copy_name(one, bounds.copies) if kind in about_copy else site_name(one)
    about = f"for epoch {three}" if three else "that is about no epoch"
    words = {
        "tick": "one tick of true time passes",
        "send": f"{who} sends a heartbeat " + (f"for epoch {two}" if two else "that is about no epoch"),
        "answer": f"{who} receives the answer to heartbeat {two} {about}",
        "forget": f"{who} forgets heartbeat {two}, or it is lost",
        "commit_heartbeat": f"heartbeat {two} of {who} {about} is committed",
        "stand_down": f"{who} stops, epoch {two} is over",
        "take_permit": f"{who} is active by its permit, under epoch {two}",
        "cold_start": f"{who} crashes and starts cold as incarnation {two}",
        "grant": f"epoch {three} is granted to {who}",
        "expire": f"votes end the lease of epoch {one}",
        "clear": "an operator vouches that there are no permits and clears the group",
        "recreate": "the witnesses are restored from a backup",
    }
    return words.get(kind, repr(move))


def state_words(state: State, bounds: PermitBounds) -> list[str]:
    machine = state.machine
    lease = machine.lease
    held = f"vacant, epoch {machine.epoch}"
    if lease is not None:
        claim = "unclaimed" if lease.claim == NOBODY else "claimed"
        opened = f", not before epoch {lease.open_until} is over" if lease.open_until else ""
        held = f"epoch {lease.epoch} held by {site_name(lease.site)}, {claim}, votes in {lease.wait}{opened}"
    under = "" if machine.under == NO_PERMIT else f"; {site_name(machine.under[0])} said that it has a permit"
    unheard = ", ".join(f"{site_name(s)} {age}" for s, age in enumerate(machine.unheard))
    copies = [f"{copy_name(i, bounds.copies)}: {_copy_words(c)}" for i, c in enumerate(state.copies)]
    return [f"lease: {held}{under}; not heard for: {unheard}", *copies]


def _copy_words(copy: Copy) -> str:
    standing = "down"
    if copy.permit:
        standing = f"ACTIVE by permit, epoch {copy.epoch}"
    elif copy.authority:
        standing = f"ACTIVE under epoch {copy.epoch} for {copy.authority} more"
    told = f"incarnation {copy.incarnation}, finished {copy.finished}, without an answer for {copy.silence}"
    return f"{standing} ({told})" + "".join(f" [{_attempt_words(a)}]" for a in copy.attempts)


def _attempt_words(attempt: Attempt) -> str:
    about = f"heartbeat for epoch {attempt.epoch}" if attempt.epoch else "heartbeat"
    where = "under way" if attempt.done < 0 else "answer: yes" if attempt.yes else "answered"
    return f"{about}, {where}{', by permit' if attempt.permit else ''}{'' if attempt.live else ', void'}"
