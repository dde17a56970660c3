"""What a simulated machine has beside processes: addresses and ports with a lifetime in its kernel, a watchdog, a reset
line, and a component that runs outside of every guard. Under test is the project's own code over these bodies: keeper,
ladder, watchdog, the proof that components are down.
"""
