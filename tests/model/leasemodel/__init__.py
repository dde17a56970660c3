"""The explicit-state model of the lease, of holds and of permits, in three layers (docs/lease-safety.md).

Read in this order:

    state.py      what is remembered: one lease machine, three witnesses, the copies of the agents, what is in flight
    rules.py      the rules of the protocol, one method a clause; this is what is being proven
    moves.py      everything that can happen next: time, the network, commits, crashes
    reduce.py     which states count as the same one, and why that loses nothing
    claims.py     what must hold in every reachable state
    engine.py     the search: breadth first, shortest counterexample, dead ends
    scenarios.py  the bounds of each search
    mutations.py  wrong variants of the rules
    removed.py    REMOVED_RULES: which variant must be caught where, and what it breaks
    checks.py     the searches that the tests and the command line share
    report.py     traces that people can read
    holds/        the layer of holds, re-grant in place, promises and added sites: the same files again
    permits/      the layer of break-glass permits
    layers.py     the three side by side

Run it with `python tests/model/run.py --help`.
"""
