"""What an answer to another witness's question leaves behind: a mark that is tentative until somebody lets in (O4).

Rule. Whoever is asked about a process and does not object has *vouched*: the one that asked may let that process in
from then on, so its mark says so, durably, before the answer leaves. It is tentative: the mark keeps what it was
before, and who asked (by its disk). Nobody else can have let that process in on our word, so only they give it back:

    one of them asks about a process that the former mark takes    its own mark takes it too: it let in nothing else
    one of them answers about such a process without objecting     the same, and from then on it objects to the other

What stays without a word from one of them refuses, for as long as that lasts: it may have let the vouched one in. An
asker on another disk gives nothing back, since that disk may not know what the former one let in. A mark is definite
when that peer is let in here, when the vouch replaced a disk, or beyond ASKERS_MAX. Pure.
Rejected: giving back after a time, or when the asker is not reached: two copies would count, one on each side of a cut.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from proto.units import WitnessId
from witness.raft.admission import ASKERS_MAX, Admitted, Mark, Refused, Speaker, judge, judge_elsewhere


def given_back(mark: Mark | None, askers: Collection[bytes]) -> Mark | None:
    """The mark once these have said that they let in nobody on our word."""
    if mark is None or not mark.askers:
        return mark
    left = tuple(asker for asker in mark.askers if asker not in askers)
    if left:
        return replace(mark, askers=left)
    if mark.before is not None:
        return replace(mark.before, retired=mark.retired)
    return replace(mark, askers=()) if mark.retired else None


def own_part(mark: Mark | None) -> Mark | None:
    """What is told to others: what we know for ourselves."""
    return None if mark is None else given_back(mark, mark.askers)


def judge_introduced(mark: Mark | None, speaker: Speaker, connected: Collection[bytes]) -> Admitted | Refused:
    """`connected`: the disks of the witnesses that are going to be asked, and that can give back."""
    verdict = judge(mark, speaker)
    if isinstance(verdict, Admitted) or mark is None or not mark.askers:
        return verdict
    asked = judge(given_back(mark, connected), speaker)
    return asked if isinstance(asked, Admitted) else _open(mark, speaker, verdict)


def judge_admitted(mark: Mark | None, speaker: Speaker) -> Admitted | Refused:
    """All were asked: what is still tentative stands."""
    verdict = judge(mark, speaker)
    return verdict if isinstance(verdict, Admitted) or mark is None else _open(mark, speaker, verdict)


def judge_vouch(mark: Mark | None, speaker: Speaker, asker: bytes, *, here: bool = False) -> Admitted | Refused:
    """The mark that vouching leaves; what the asker gave back by asking is not in `mark` any more (`settle`)."""
    verdict = judge_elsewhere(mark, speaker, here=here)
    if isinstance(verdict, Refused):
        return verdict if mark is None else _open(mark, speaker, verdict)
    return Admitted(_tentative(mark, verdict.mark, asker))


def settle(mark: Mark | None, speaker: Speaker, asker: bytes) -> Mark | None:
    """`asker`, whose connection counts, asked about `speaker`, or answered about it without objecting."""
    if isinstance(judge_elsewhere(mark, speaker, here=True), Admitted):
        return mark
    if isinstance(judge_elsewhere(own_part(mark), speaker, here=True), Refused):
        return mark
    return given_back(mark, (asker,))


def _tentative(base: Mark | None, taken: Mark, asker: bytes) -> Mark:
    if base is None:
        return replace(taken, askers=(asker,))
    if taken.disk != base.disk or (taken.process == base.process and not base.askers):
        return taken
    askers = base.askers if asker in base.askers else (*base.askers, asker)
    if len(askers) > ASKERS_MAX:
        return taken
    return replace(taken, askers=askers, before=base.before if base.askers else replace(base, retired=()))


def _open(mark: Mark, speaker: Speaker, verdict: Refused) -> Refused:
    """In other words when it is not decided for good. What is to be heeded stands whoever gives back, or nobody."""
    if not mark.askers:
        return verdict
    own = judge(own_part(mark), speaker)
    if isinstance(own, Refused):
        return replace(verdict, forgot=verdict.forgot and own.forgot)
    return Refused(_words(speaker.peer))


def _words(peer: WitnessId) -> str:
    return (
        f"another copy of {peer}'s disk was introduced to a witness that is not reached from here and may have let it "
        f"in; this is decided by itself once {peer} or we reach that witness: start it and mend the network. Run "
        f"`witness readmit -c FILE` on {peer}'s machine only if that witness, or its disk, is gone for good"
    )
