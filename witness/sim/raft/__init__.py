"""Consensus under fire: the real nodes of a cluster on simulated network, clocks and disks, all from one seed.

`subject.py` says what can stand under the fire; `hardened.py` is ours. Network, host, clock and disk know nothing of
schedules and checkers, so that a simulation of whole systems can use them too.
"""
