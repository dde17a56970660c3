"""The engine's timing and compaction limits, with their relations checked where they are made.

Rule: append period x 3 <= election_min < election_max < leader_fallback, so that one lost append never starts an
election and a leader without a majority stops leading soon after the others may have elected another one (D-14).
These are floors: measured round trips stretch the election timeouts beyond them (witness.raft.pace). A leader's death
costs at most one election timeout and two round trips; less when its connections end with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.errors import BadValue

APPENDS_PER_ELECTION_MIN = 3
FALLBACK_ELECTIONS_MAX = 2
PERIOD_MS_MIN = 5
ELECTION_MS_MAX = 60_000


@dataclass(frozen=True, slots=True)
class RaftTimers:
    append_period_ms: int = 50
    election_min_ms: int = 300
    election_max_ms: int = 600
    leader_fallback_ms: int = 1_200

    def __post_init__(self) -> None:
        self._bound("append_period_ms", self.append_period_ms, PERIOD_MS_MIN, self.election_min_ms)
        self._bound("election_max_ms", self.election_max_ms, PERIOD_MS_MIN, ELECTION_MS_MAX)
        floor_ms = self.append_period_ms * APPENDS_PER_ELECTION_MIN
        if self.election_min_ms <= floor_ms:
            raise BadValue(
                "raft.election_min_ms",
                self.election_min_ms,
                f"must be more than {APPENDS_PER_ELECTION_MIN} x append_period_ms = {floor_ms}",
                "raise it, or lower append_period_ms",
            )
        if self.election_max_ms <= self.election_min_ms:
            raise BadValue(
                "raft.election_max_ms",
                self.election_max_ms,
                f"must be more than election_min_ms = {self.election_min_ms}",
                "twice election_min_ms spreads the candidates well",
            )
        lowest, highest = self.election_max_ms, self.election_max_ms * FALLBACK_ELECTIONS_MAX
        if not lowest < self.leader_fallback_ms <= highest:
            raise BadValue(
                "raft.leader_fallback_ms",
                self.leader_fallback_ms,
                f"must be more than election_max_ms = {lowest} and at most {highest}",
                "twice election_max_ms is usual",
            )

    @staticmethod
    def _bound(name: str, value: int, lowest: int, highest: int) -> None:
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise BadValue(
                f"raft.{name}",
                value,
                f"must be {lowest} to {highest}",
                "leave it out for the default, which suits witnesses in one location",
            )


PROFILES = {
    "fast": RaftTimers(20, 125, 250, 500),
    "standard": RaftTimers(),
    "wide": RaftTimers(150, 1_500, 3_000, 6_000),
}
"""`fast`: witnesses on one quiet local network. `standard`: one location, round trips below some 20 ms, shared
machines. `wide`: witnesses apart from one another, round trips up to some 200 ms."""


@dataclass(frozen=True, slots=True)
class CompactionLimits:
    """When the log is folded into a snapshot: by count or by bytes, whichever comes first."""

    entries_max: int = 20_000
    log_bytes_max: int = 64 * 1024 * 1024
    tail_entries: int = 2_000
    """Kept behind the snapshot, so that a follower that lags a little needs no image ..."""

    @property
    def tail_bytes(self) -> int:
        """... as far as they fit into this: what is kept must leave the log well below its limit."""
        return self.log_bytes_max // 4

    def __post_init__(self) -> None:
        if not 0 <= self.tail_entries <= self.entries_max // 2:
            raise BadValue(
                "raft.tail_entries",
                self.tail_entries,
                f"must be 0 to half of entries_max = {self.entries_max // 2}",
                "the log must shrink when it is folded",
            )
        if self.entries_max < 16 or self.log_bytes_max < 1024 * 1024:
            raise BadValue(
                "raft.compaction",
                (self.entries_max, self.log_bytes_max),
                "needs at least 16 entries and 1 MiB",
                "leave the defaults unless memory is short",
            )
