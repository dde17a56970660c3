"""Machines that are copied while they run: memory, disk, clocks and pending timers, but no connection."""
