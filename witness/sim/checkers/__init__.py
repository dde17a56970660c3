"""What must hold, judged from outside: true time, real processes, and the ledger as anybody may read it.

Rule: nothing here asks the code under test whether it was right, and each checker is small enough to be fed a trace by
hand. A violation is kept, never raised: the schedule goes on and tells all that broke. Raft's own rules are judged by
witness.sim.raft.checkers, whose findings these share.

activity, authority, license: what runs at the sites. replicas, durable, story, expiry: what the witnesses decided.
"""
