"""What a restore of all witnesses makes of the state that a backup kept: a new life in which the old one is barred.

Rule: a backup is older than the loss, so its leases prove nothing and its epochs, votes and reports may be outdated.
After a restore every group is barred under a new epoch: a lease that nobody can renew and only votes can end, for the
longest that any lease can have been in force (docs/lease-safety.md, statement 3 for the barred record). Every t0 of
the former life is before the restore, so when that bar has been voted away nothing of that life is active.

The lineage names the restore and says everything that must be alike on all witnesses: when it was begun (for the
ledger, and so that two restores of one backup do not give out the same epochs) and 96 random bits. The restore
generation, in the high bits of every epoch, is above all that the backup knows and above every earlier restore, as far
as the clock of the machine that drew the lineage is right; sites' durable bounds are the second lock, at each grant.

Kept: configurations, modes, maintenance, quarantine, the sites' store ids, tombstones, the ledger, which agents were
superseded, sealed keys of licenses (which may be outdated: witness.core.licenses, E7). Reset: leases, claims, votes,
revocations, successors, how the last lease ended (a release of the former life must vouch for nobody), reports and
lags. docs/adr/0009-restore-lineage.md has what was rejected.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from proto import limits
from proto.errors import BadValue
from proto.events import Event, EventKind
from proto.lease import LeaseConstants, longest, witness_wait
from proto.permit import AFTER_MS_MAX
from proto.units import (
    LINEAGE_BYTES,
    NO_LINEAGE,
    NS_PER_S,
    RESTORE_GENERATION_MAX,
    RESTORE_GENERATION_SHIFT,
    Epoch,
    GroupId,
    LogIndex,
    WallMs,
)
from witness.core import holds_rules, licenses
from witness.core.lease_rules import barred
from witness.core.ledger import Ledger
from witness.core.snapshot import decode_image, encode_image
from witness.core.state import Bar, Calendar, ClusterState, GroupState, SiteRecord
from witness.core.transitions import Phase

AUTHOR = "restore"
RANDOM_BYTES = 12
_YEAR_2024_S = 1_704_067_200
_GENERATION_S = 10
"""Generations are tens of seconds since 2024: two restores of one backup differ, and they last for 340 years."""
_TIME_BYTES = LINEAGE_BYTES - RANDOM_BYTES

FIRST_INDEX = 3
"""A log begins with two entries, of which the state stands at the second. The first is not entry 1: a blank log has one
too, of term 0, and a leader whose log begins there with another never finds what a blank witness lacks."""


def new_lineage(wall_ms: WallMs, random_bytes: bytes) -> bytes:
    """For the first witness of a restore; the others are told the same."""
    return (wall_ms // 1000).to_bytes(_TIME_BYTES, "big") + random_bytes[:RANDOM_BYTES]


def lineage_words(lineage: bytes) -> str:
    """For people to carry to the next machine: with a check, so that a digit copied wrong is noticed there at once."""
    return f"{lineage.hex()}-{_check(lineage)}"


def _check(lineage: bytes) -> str:
    return f"{zlib.crc32(lineage):08x}"


def read_lineage(text: str) -> bytes:
    """From what the first witness printed; raises BadValue."""
    digits, _, check = text.strip().lower().partition("-")
    try:
        lineage = bytes.fromhex(digits)
    except ValueError:
        lineage = b""
    if len(lineage) != LINEAGE_BYTES or lineage == NO_LINEAGE or not check:
        rule = f"{2 * LINEAGE_BYTES} hex digits, a dash and 8 more for the check are expected"
    elif check != _check(lineage):
        rule = f"was copied wrong: its check is {check}, but its digits give {_check(lineage)}"
    else:
        return lineage
    raise BadValue("--lineage", text, rule, "copy it from what `witness restore` printed on the first machine")


def begun_ms(lineage: bytes) -> WallMs:
    """When the restore was begun, by the clock of the machine that drew the lineage."""
    return WallMs(int.from_bytes(lineage[:_TIME_BYTES], "big") * 1000)


def bar_of(state: ClusterState, claimed: LeaseConstants) -> LeaseConstants:
    """The longest of what the operator vouches for and of all that the backup knows.

    The drift bound is always the greatest that can be configured: with a short ttl it costs little, and no one has to
    remember it.
    """
    known = [group.config.constants for group in state.groups.values()]
    known += [group.lease.constants for group in state.groups.values() if group.lease is not None]
    known += [group.hold_wait for group in state.groups.values() if group.hold_wait is not None]
    if state.bar is not None:
        known.append(state.bar.constants)
    return longest(LeaseConstants(claimed.ttl_ms, limits.DRIFT_MAX_PPM_MAX, claimed.lock_delay_ms), *known)


def next_generation(state: ClusterState, lineage: bytes) -> int:
    """Above every epoch that the backup knows of, and above every restore that was begun earlier."""
    by_clock = (begun_ms(lineage) // 1000 - _YEAR_2024_S) // _GENERATION_S
    return max(state.generation + 1, (_highest_epoch(state) >> RESTORE_GENERATION_SHIFT) + 1, by_clock)


def _highest_epoch(state: ClusterState) -> int:
    epochs = [0, *state.tombstones.values()]
    for group in state.groups.values():
        reports = (record.report for record in group.sites.values())
        epochs += [group.epoch, *(report.epoch_bound for report in reports if report is not None)]
    return max(epochs)


@dataclass(frozen=True, slots=True)
class Restored:
    state: ClusterState
    events: tuple[Event, ...]
    """What the ledger is continued with."""
    bar: LeaseConstants

    @property
    def wait_s(self) -> float:
        """How long nothing is granted, by the clock of a witness."""
        return witness_wait(self.bar) / NS_PER_S


def restore(before: ClusterState, lineage: bytes, claimed: LeaseConstants, feature_max: int) -> Restored:
    """The state that each witness starts from; equal bytes from equal arguments. `before` is left as it is.

    `claimed`: no lease was longer since the backup was taken, says the operator. Raises BadValue.
    """
    generation = next_generation(before, lineage)
    if generation > RESTORE_GENERATION_MAX:
        rule = f"the restore generation would be {generation}, at most {RESTORE_GENERATION_MAX} fits into an epoch"
        raise BadValue("--lineage", lineage.hex(), rule, "begin the restore anew on a machine with the right time")
    state = decode_image(encode_image(before), feature_max)
    bar = bar_of(state, claimed)
    state.generation, state.lineage, state.bar = generation, lineage, Bar(bar)
    state.applied_index = max(FIRST_INDEX, state.applied_index + 1)
    state.calendar = Calendar()
    for agent in state.agents.values():
        agent.clash_told, agent.heard_ms = False, 0
        agent.marks.clear()
        agent.clock.clear()
    ledger = Ledger(state.ledger)
    ledger.index, ledger.wall_ms = LogIndex(state.applied_index), begun_ms(lineage)
    wait_s = witness_wait(bar) // NS_PER_S + 1
    ledger.append(
        EventKind.RESTORED,
        f"all witnesses were restored as of entry {before.applied_index}: lineage {lineage.hex()}, generation "
        f"{generation}; nothing is granted for {wait_s} s",
        author=AUTHOR,
    )
    for name in sorted(state.groups):
        _restore_group(state.groups[name], generation, bar, ledger, name)
        # Whatever its configuration says: the one that was lost may have allowed holds.
        state.groups[name].hold_wait = bar if holds_rules.known(state) else None
    return Restored(state, ledger.take_new(), bar)


def _restore_group(group: GroupState, generation: int, bar: LeaseConstants, ledger: Ledger, name: GroupId) -> None:
    former, lease = group.epoch, group.lease
    holder = "nobody" if lease is None or lease.site is None else lease.site
    group.epoch = Epoch((generation << RESTORE_GENERATION_SHIFT) + 1)
    # Agents report the version that they know; one of the former life must not pass for one of this.
    group.version = max(group.version + 1, generation)
    group.phase, group.lease = Phase.BARRED, barred(group.epoch, bar)
    group.successor = group.last_end = group.last_holder = group.unclaimed_by = None
    group.permits.since_ms, group.permits.seen_ms = 0, AFTER_MS_MAX  # one may be in use: each site is heard first
    group.permits.session = None  # who was vouched for is away again: the next word begins the next wait
    group.former, group.settled = None, Epoch(0)
    licenses.restored(group)
    group.sites = {site: _restore_site(record) for site, record in group.sites.items()}
    text = f"barred; in the backup {holder} held epoch {former}"
    ledger.append(EventKind.RESTORED, text, group=name, epoch=group.epoch, author=AUTHOR)


def _restore_site(record: SiteRecord) -> SiteRecord:
    return SiteRecord(
        maintenance=record.maintenance,
        quarantine=record.quarantine,
        store_id=record.store_id,
        carried=record.carried,
    )
