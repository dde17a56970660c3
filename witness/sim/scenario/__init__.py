"""Scenarios: a question about the whole system as a text of commands, and the trace that answers it.

In the style of etcd's raft (datadriven tests): commands, a line of dashes, everything that was told. The world below is
the campaign's: real cores, engine, journal, agents. `python -m witness.sim.scenario` plays them.
"""
