"""Traces of the layer of holds in words."""

from __future__ import annotations

from leasemodel.holds.scenarios import HoldBounds
from leasemodel.holds.state import NOBODY, Ask, Attempt, Copy, Lease, State
from leasemodel.moves import Move
from leasemodel.report import copy_name, site_name


def move_words(move: Move, bounds: HoldBounds) -> str:
    kind, one, two, three = move
    about_copy = {
        "send", "answer", "forget", "commit_heartbeat", "ask", "forget_ask", "hold", "promise", "hold_end",
        "stand_down", "learn", "warm_restart", "cold_start", "commit_release", "decline",
    }  # fmt: skip
    who = copy_name(one, bounds.copies) if kind in about_copy else site_name(one) if "grant" in kind else ""
    other = copy_name(two, bounds.copies) if kind in {"promise", "hold_end"} else ""
    words = {
        "tick": "one tick of true time passes",
        "send": f"{who} reads t0 and sends a heartbeat for epoch {two}",
        "answer": f"{who} receives the answer to heartbeat {two} for epoch {three}",
        "forget": f"{who} forgets heartbeat {two}, or it is lost",
        "commit_heartbeat": f"heartbeat {two} of {who} is committed as claim or renewal of epoch {three}",
        "ask": f"{who} reads t0 and asks {site_name(two)} for a hold for epoch {three}",
        "forget_ask": f"{who} forgets hold request {two}, or it is lost",
        "hold": f"{who} receives a yes to hold request {two} for epoch {three}",
        "promise": f"{other} promises to {who} for epoch {three}, and answers",
        "hold_end": f"{other} hears that {who} ended epoch {three}: its promise is over",
        "stand_down": f"{who} stops, and sends the release and the end of epoch {two}",
        "learn": f"{who} learns version {two} of the sites",
        "warm_restart": f"a new process goes on for {who}, without what was not stored",
        "cold_start": f"{who} crashes and starts cold as incarnation {two}",
        "grant": f"epoch {three} is granted to {who}",
        "regrant": f"epoch {three} is granted to {who} in place",
        "expire": f"votes end the lease of epoch {one}",
        "commit_release": f"the release of epoch {two} by {who} is committed: vacant",
        "decline": f"{who} gives back epoch {two} unclaimed: vacant",
        "configure": f"an operator configures ttl {one}",
        "sites": f"an operator configures version {one} of the sites",
        "delete": f"the group is deleted and made again with version {one} of the sites",
        "recreate": "the witnesses are restored from a backup",
    }
    return words.get(kind, repr(move))


def state_words(state: State, bounds: HoldBounds) -> list[str]:
    machine = state.machine
    eligible = " ".join(site_name(s) for s in range(bounds.sites) if machine.eligible >> s & 1)
    held = f"vacant, epoch {machine.epoch}" if machine.lease is None else _lease_words(machine.lease, bounds)
    former = machine.former
    lived = "" if former is None else f"; {copy_name(former.claim, bounds.copies)} may live on in epoch {former.epoch}"
    copies = [f"{copy_name(i, bounds.copies)}: {_copy_words(c, bounds)}" for i, c in enumerate(state.copies)]
    return [f"lease: {held}{lived}; eligible: {eligible}; longest lease lived on: {machine.hold_wait}", *copies]


def _lease_words(lease: Lease, bounds: HoldBounds) -> str:
    if lease.site == NOBODY:
        return f"epoch {lease.epoch} barred, votes in {lease.wait}"
    claim = "unclaimed" if lease.claim == NOBODY else f"claimed by {copy_name(lease.claim, bounds.copies)}"
    return f"epoch {lease.epoch} held by {site_name(lease.site)}, {claim}, ttl {lease.ttl}, votes in {lease.wait}"


def _copy_words(copy: Copy, bounds: HoldBounds) -> str:
    parts = ["down"]
    if copy.left:
        parts = [f"ACTIVE under epoch {copy.epoch} for {copy.authority} more, by holds for {copy.hold} more"]
    elif copy.linger:
        parts = [f"session seen for {copy.linger} more"]
    if copy.promise.left:
        to = copy_name(copy.promise.claim, bounds.copies)
        parts.append(f"promised to {to} for epoch {copy.promise.epoch}, {copy.promise.left} left")
    if copy.up < bounds.wait_max:
        parts.append(f"up for {copy.up}")
    parts += [_attempt_words(a) for a in copy.attempts]
    parts += [_ask_words(a) for a in copy.asks]
    return "; ".join(parts)


def _attempt_words(attempt: Attempt) -> str:
    where = "under way" if attempt.sent else "answered" if attempt.yes else "lost"
    return f"[heartbeat for epoch {attempt.epoch}, age {attempt.age}, {where}{'' if attempt.live else ', void'}]"


def _ask_words(ask: Ask) -> str:
    where = "answer under way" if ask.yes else "under way"
    return f"[asks {site_name(ask.to)} for epoch {ask.epoch}, age {ask.age}, {where}{'' if ask.live else ', void'}]"
