"""Consensus: bytes proposed anywhere come out committed, in one order, on every witness.

The way of a proposal: port -> syncobj (turns on the loop) -> node (one turn, sans-IO) -> engine_adapter (PySyncObj)
-> journal, store (one durable transaction a turn) -> disk, posix_disk (all that touches a file) -> peer_transport,
peer_link (frames, TLS) -> messages, message_filter (what may reach the engine) -> node -> `Replicated.apply`.
Beside the way: snapshot_file and snapshot_transfer, age, wal_check, timers; memory and memory_network are the
in-memory body.
"""
