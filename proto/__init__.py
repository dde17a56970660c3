"""The vocabulary that witnesses and agents share, and nothing else: pure, no I/O (proto.edge apart).

A heartbeat's way through thirdsite; the numbers stand at the head of each file on it:

   1  agents/probes/*            one look at one thing
   2  agents/core/health.py      looks folded into a HealthReport
   3  proto/messages.py          the report in a Heartbeat (bytes: proto/codec.py)
   4  agents/client/streams.py   the best witness's stream ... witness/http/stream.py
   5  witness/core/node.py       a proposal, gathered with others (witness/core/batcher.py)
   6  proto/commands.py          what enters the Raft log ... witness/raft/*
   7  witness/core/machine.py    applied on every witness: renewal, or a reason why not
   8  witness/core/decide.py     who should be active, and why (proto/decisions.py)
   9  proto/lease.py             a grant; its authority counts from before the claim was sent
  10  agents/core/lease_holder.py  the answer, matched to its nonce, becomes a deadline
  11  agents/core/site.py        the site's life cycle: which plan runs now
  12  agents/actions/*, agents/fencing/*   steps under a guard that the kernel ends at the deadline
"""
