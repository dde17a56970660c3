"""All mutants, by name. They differ in what they break, so a kill of one says nothing of another."""

from __future__ import annotations

import mutants_agent
import mutants_claims
import mutants_disk
import mutants_lease
import mutants_machine
import mutants_raft
import mutants_review
from mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *mutants_lease.MUTANTS,
    *mutants_claims.MUTANTS,
    *mutants_machine.MUTANTS,
    *mutants_agent.MUTANTS,
    *mutants_raft.MUTANTS,
    *mutants_disk.MUTANTS,
    *mutants_review.MUTANTS,
)
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
