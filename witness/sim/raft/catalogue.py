"""What `make fuzz` must have hit, by the catalogue of faults.

Kinds: witness.sim.raft.faults; counters: where they bite.
"""

from __future__ import annotations

from witness.sim.campaign.catalogue import Row, drawn

CATALOGUE = (
    drawn("P1", "one process ends at any instant", "kill"),
    drawn("P1", "one machine loses its power at any instant", "power"),
    drawn("P1 P9 P10", "power fails between commit and sending", "power-at-send"),
    drawn("P1 P9 P10", "power fails at an operation of the disk", "power-at-disk"),
    drawn("P2", "all processes, or all machines, end at once", "kill-all", "power-all"),
    drawn("P2", "two machines lose their power at once", "power-two"),
    drawn("P3", "a process is stopped and goes on", "pause-leader", "pause-any"),
    drawn("N1", "no way between two, or between two camps", "cut-pair", "cut-set"),
    drawn("N1 N3", "a leader alone, with work that will never be committed", "isolate-leader"),
    drawn("N2", "a way that carries nothing in one direction", "cut-one-way"),
    drawn("N5", "frames are lost", "loss"),
    drawn("N6", "frames come twice", "duplicate"),
    drawn("N7", "frames overtake each other", "reorder"),
    drawn("N7 N12 S2", "frames of earlier connections come again", "old-bytes"),
    drawn("N8", "frames come seconds late", "delay"),
    drawn("N9", "connections break", "reset"),
    drawn("N10", "a narrow way", "bandwidth"),
    drawn("N11", "a way that goes and comes about once an election", "flap"),
    drawn("D1", "a disk is full", "no-space"),
    drawn("D2", "reading or writing fails once", "io-error"),
    drawn("D3", "a sync fails once", "sync-error"),
    drawn("D6", "a bit rots", "bit-flip"),
    drawn("D9", "a sync takes up to 5 s", "slow-disk"),
    drawn("D10", "a disk becomes read-only", "read-only"),
    Row("D4", "a torn write", (), ("torn-write",)),
    Row("D5", "writes that were not synced are gone", (), ("lost-writes",)),
    Row("D11", "a name that was not synced is gone", (), ("lost-name",)),
    Row("D6 D7 D8", "a disk that is refused at the start", (), ("refused-disk",)),
    drawn("C1 C4", "all clocks of a machine leap ahead", "clock-leap"),
    drawn("C2 C3", "clocks run up to 10 % wrong", "drift"),
    drawn("O4", "two machines with one disk", "cloned-disk"),
    drawn("O5 D7", "an old copy of a disk is put back", "restored-disk"),
    drawn("O6 D8", "a blank disk", "blank-disk"),
    drawn("O5 O6", "a disk is put aside and its witness readmitted", "readmit"),
    Row("O5 O6", "a readmitted witness votes again", (), ("readmitted",)),
    Row("O4 O5 O6", "a connection is refused because of its disk", (), ("refused-connection",)),
    drawn("S3 S4 S10", "far terms, indexes beyond the log, late votes, nonsense", "forged"),
    drawn("", "the log is folded by force", "snapshot"),
    drawn("", "entries of up to 60 kB", "large-entries"),
    Row("", "a state that came as an image", (), ("image-restored",)),
    Row("", "a leader's appends leave before its own sync", (), ("sent-early",)),
)
