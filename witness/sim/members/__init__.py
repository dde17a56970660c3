"""Sites of several hosts: members with machines of their own beside their lead (docs/adr/0015).

Under test is the product's code as it stands: member core, its driver, runner, steps and stream; the lead's desk, book
and the end of each stream there. It runs on asyncio in simulated time (loop.py); simulated are guards' processes,
disks, what the network does to frames, and the commands that steps stand for.
"""
