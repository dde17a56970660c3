"""Licenses in the simulation: a vendor who changes keys, what sites do for them, and what goes wrong with that."""
