"""All mutants, by name. They differ in what they break, so a kill of one says nothing of another."""

from __future__ import annotations

import mutants_agent
import mutants_claims
import mutants_clocks
import mutants_copies
import mutants_disk
import mutants_entries
import mutants_escrow
import mutants_fencing
import mutants_heed
import mutants_holds
import mutants_identity
import mutants_lease
import mutants_machine
import mutants_members
import mutants_permits
import mutants_plans
import mutants_raft
import mutants_restore
import mutants_review
import mutants_speaker
import mutants_standing
import mutants_takeover
from mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *mutants_lease.MUTANTS,
    *mutants_claims.MUTANTS,
    *mutants_copies.MUTANTS,
    *mutants_machine.MUTANTS,
    *mutants_agent.MUTANTS,
    *mutants_raft.MUTANTS,
    *mutants_disk.MUTANTS,
    *mutants_review.MUTANTS,
    *mutants_entries.MUTANTS,
    *mutants_standing.MUTANTS,
    *mutants_identity.MUTANTS,
    *mutants_speaker.MUTANTS,
    *mutants_heed.MUTANTS,
    *mutants_restore.MUTANTS,
    *mutants_plans.MUTANTS,
    *mutants_fencing.MUTANTS,
    *mutants_takeover.MUTANTS,
    *mutants_holds.MUTANTS,
    *mutants_members.MUTANTS,
    *mutants_permits.MUTANTS,
    *mutants_escrow.MUTANTS,
    *mutants_clocks.MUTANTS,
)
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
