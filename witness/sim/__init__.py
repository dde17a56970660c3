"""The deterministic simulation: whole clusters in simulated time from one seed. Ships with the product.

Real: witness.core, agents.core, the guard's rules (agents.fencing.memory.GuardModel), the codec. Simulated: time,
clocks, the network, disks, platforms, and consensus (witness.raft.memory, which keeps the port's contract). The one
package that may import both sides; nothing but itself imports it.
"""
