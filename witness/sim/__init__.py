"""The deterministic simulation: whole clusters in simulated time from one seed. Ships with the product.

Real: witness.core with its driver, the Raft engine with journal, filter and store, agents.core, the guard's rules
(agents.fencing.guard_model.GuardModel), the codec. Simulated: time, clocks, networks, disks, platforms. The one package
that may import both sides; nothing but itself imports it.
"""
