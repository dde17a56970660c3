"""Every size and time that is not configured, with the relations that they must keep, proved at import."""

from __future__ import annotations

from proto.invariants import require
from proto.units import NS_PER_MS, NS_PER_S

# -- leases -----------------------------------------------------------------------------------------------
TTL_MS_MIN = 500
"""Below this, scheduling noise of ordinary machines eats the lease."""
TTL_MS_MAX = 600_000
TTL_MS_DEFAULT = 10_000
DRIFT_MAX_PPM_DEFAULT = 10_000
"""1 %: a hundred times what crystals do, room for bad virtual machines."""
DRIFT_MAX_PPM_MIN = 100
DRIFT_MAX_PPM_MAX = 100_000
LOCK_DELAY_MS_MAX = 600_000
RENEWALS_PER_TTL = 3
"""A site renews this often per ttl, so that two renewals may be lost before authority is short."""
GUARD_FLOOR_LEAD_NS = 50 * NS_PER_MS
"""The kernel's timer is armed this long before the deadline. Signal and teardown took at most 3.4 ms for one guard, and
up to 22.7 ms for ten that ended at once on two loaded cores."""
TIMER_STEP_MAX_NS = 200 * NS_PER_MS
"""A witness timer counts at most this per wake-up: a paused or stepped witness shortens nobody's lease."""
TIMER_WAKE_NS = 50 * NS_PER_MS
"""Witnesses with armed timers wake at least this often, so that a healthy one counts true time."""
HANDOVER_TIMEOUT_MS_DEFAULT = 120_000
HANDOVER_TIMEOUT_MS_MAX = 3_600_000

# -- sizes ------------------------------------------------------------------------------------------------
FRAME_BYTES_MAX = 128 * 1024
"""One message on an agent's stream: 512 groups with long reports fit twice."""
REPORT_BYTES_MAX = 2_048
HEARTBEAT_GROUPS_MAX = 512
COMMAND_BYTES_MAX = 160 * 1024
ENTRY_BYTES_MAX = 256 * 1024
"""One Raft entry; equals witness.raft.port.ENTRY_BYTES_MAX (tested)."""
ENTRY_COMMANDS_MAX = 1_024
GROUPS_MAX = 10_000
SITES_PER_GROUP_MAX = 5
WITNESSES_MAX = 5
TEXT_CHARS_MAX = 512
ITEMS_MAX = 1_024
BLOCKERS_MAX = 16
SUPERSEDED_KEPT_MAX = 8
ENDED_NAMED_MAX = 7
"""Ended incarnations that a heartbeat names. Kept beside those that were heard: names push nobody out of these."""

# -- waits and queues -------------------------------------------------------------------------------------
ENTRY_IN_FLIGHT_MAX_NS = 2 * NS_PER_S
"""An own entry not seen committed for this long is taken as lost, and the next one is proposed."""
PROPOSAL_TIMEOUT_NS = 10 * NS_PER_S
"""An operator's request is answered within this, if only by 'outcome unknown'."""
COMMANDS_PENDING_MAX = 4_096
HEARTBEAT_PENDING_MAX_NS = 1 * NS_PER_S
"""A heartbeat that waited longer for its turn is not proposed any more; its agent has long sent another."""
LEDGER_EVENTS_KEPT = 1_000
"""Events kept in memory and in snapshots; the disk keeps all."""
NONCES_PENDING_MAX = 64
PING_INTERVAL_NS = 1 * NS_PER_S
FRESH_AGE_MAX_NS = 1 * NS_PER_S
"""An applied heartbeat of a higher (or unknown) age does not make its site look alive."""


def prove_relations() -> None:
    """Raises InvariantViolation with both numbers when constants contradict each other."""
    require(TTL_MS_MIN <= TTL_MS_DEFAULT <= TTL_MS_MAX, f"ttl {TTL_MS_MIN} {TTL_MS_DEFAULT} {TTL_MS_MAX}")
    require(
        GUARD_FLOOR_LEAD_NS * 10 <= TTL_MS_MIN * NS_PER_MS,
        f"floor lead {GUARD_FLOOR_LEAD_NS} ns must be at most a tenth of the shortest ttl {TTL_MS_MIN} ms",
    )
    require(
        TIMER_WAKE_NS * 2 <= TIMER_STEP_MAX_NS,
        f"wake-ups every {TIMER_WAKE_NS} ns must fit twice into the capped step {TIMER_STEP_MAX_NS} ns",
    )
    require(
        TIMER_WAKE_NS * RENEWALS_PER_TTL <= TTL_MS_MIN * NS_PER_MS,
        f"wake-ups every {TIMER_WAKE_NS} ns are too coarse for the shortest ttl {TTL_MS_MIN} ms",
    )
    require(
        HEARTBEAT_GROUPS_MAX * 200 <= FRAME_BYTES_MAX,
        f"{HEARTBEAT_GROUPS_MAX} groups of about 200 bytes must fit a frame of {FRAME_BYTES_MAX} bytes",
    )
    require(
        FRAME_BYTES_MAX < COMMAND_BYTES_MAX < ENTRY_BYTES_MAX,
        f"frame {FRAME_BYTES_MAX} < command {COMMAND_BYTES_MAX} < entry {ENTRY_BYTES_MAX}",
    )
    require(
        ENTRY_IN_FLIGHT_MAX_NS < PROPOSAL_TIMEOUT_NS,
        f"in flight {ENTRY_IN_FLIGHT_MAX_NS} ns must end before the proposal timeout {PROPOSAL_TIMEOUT_NS} ns",
    )


prove_relations()
