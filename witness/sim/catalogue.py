"""What `make sim` must have hit, by the catalogue of faults; what only real processes can show names the test.

Kinds: witness.sim.faults; counters: where they bite. Those of witnesses are make fuzz's own, with a prefix.
"""

from __future__ import annotations

from witness.sim.campaign.catalogue import Row, drawn
from witness.sim.catalogue_real import REAL
from witness.sim.raft import catalogue as raft
from witness.sim.setup import RAFT_KIND

NOT_HERE = frozenset({"drift", "clock-leap", "large-entries", "cloned-disk"})
"""Of the fuzz's kinds and counters: see witness.sim.faults_witness.LEFT_OUT."""


def _of_witnesses() -> tuple[Row, ...]:
    rows = []
    for row in raft.CATALOGUE:
        kinds = tuple(RAFT_KIND + kind for kind in row.kinds if kind not in NOT_HERE)
        counters = tuple(RAFT_KIND + counter for counter in row.counters if counter not in NOT_HERE)
        if counters:
            rows.append(Row(row.ids, f"witnesses: {row.what}", kinds, counters))
    return tuple(rows)


PROCESSES = (
    Row(
        "P3",
        "witnesses, one or all, stand still for about a lease",
        ("witness-stop",),
        ("witness-stop", "witness-stop-all"),
    ),
    drawn("P4", "the agent alone is stopped", "agent-stop"),
    drawn("P5", "every process of a site is stopped", "site-freeze"),
    drawn("P7", "a site, or a witness, gets little of its processor", "site-starved", "witness-starved"),
    drawn("P13 G3", "an agent crashes, or loops over crashes", "agent-crash", "agent-crash-loop"),
    drawn("A1", "an agent crashes in the middle of an activation", "agent-crash-activating"),
    Row(
        "A1 A2",
        "an agent crashes between two marks of its journal; how a step ended is asked of its guard",
        ("step-crash",),
        ("step-crash", "step-outcome-asked"),
    ),
    Row(
        "G2",
        "an agent is replaced while its guards hold; where the next process goes on",
        ("agent-upgrade",),
        ("agent-upgrade", "taken-over-active", "taken-over-in-a-plan"),
    ),
    Row(
        "G2",
        "an agent is replaced where its guard's graceful stop begins; nothing is taken over where nothing is held",
        ("upgrade-late",),
        ("upgrade-late", "cut-before-upgrade", "not-taken-over"),
    ),
    Row(
        "P11",
        "a start fails, hangs or is slow",
        ("start-fails", "start-hangs", "start-slow"),
        ("start-fails", "start-hangs", "start-slow", "plan-timeout"),
    ),
    Row("P11", "a step of a start forks away and leaves something behind", (), ("start-forks",)),
    drawn(
        "P12",
        "a stop is deaf to TERM, fails, hangs, or cannot be proven",
        "stop-deaf",
        "stop-fails",
        "stop-hangs",
        "stop-unproven",
    ),
    drawn("P12", "nothing else can be proven down", "verify-unproven", "fence-unproven"),
    Row("P5 P12", "who had it down: steps, the guard, the kernel", (), ("down-by-guard", "down-by-kernel")),
    Row(
        "G1 G3",
        "a guard is killed, its agent lives or dies with it",
        ("guard-kill",),
        ("guard-kill", "guard-and-agent-kill"),
    ),
    drawn("", "a site loses its power", "site-power"),
    Row("", "an agent is stopped in order", ("shutdown",), ("agent-shutdown",)),
)
HOSTS = (
    Row(
        "G1 P4",
        "a keeper of addresses, ports and the watchdog is killed; for a while no new one can be forked",
        ("keeper-kill",),
        ("keeper-kill", "keeper-not-forked"),
    ),
    drawn("P5 P7", "a keeper stands still before its call of the kernel, and is killed by its timer", "keeper-late"),
    drawn("A2 G1", "the kernel takes no message about an address or a port", "resource-stuck"),
    Row(
        "G1",
        "a required watchdog is missing, before an activation or at its first deadline",
        ("watchdog-missing",),
        ("watchdog-missing", "watchdog-refused"),
    ),
    Row(
        "P12 G3",
        "something is left that no kill ends: the watchdog, or the reset of the guard's ladder, ends it",
        ("undead",),
        ("undead", "watchdog-bites", "ladder-reset"),
    ),
    Row(
        "A1 P12",
        "a component outside of every guard comes up in the active role while its site is dormant, or does not stop",
        ("component-wakes", "component-clings"),
        ("component-wakes", "component-found", "component-clings"),
    ),
    Row(
        "C2",
        "BOOTTIME of a site goes wrong beside its other clocks; its guard ends what runs without its agent",
        ("clocks-part",),
        ("clocks-part", "down-by-clocks"),
    ),
)
MEMBERS = (
    Row(
        "G1 G3 P13",
        "a member's agent, its guards, or all of them are killed",
        ("member-kill",),
        ("member-agent-kill", "member-guard-kill", "member-both-kill"),
    ),
    Row(
        "P4 P5",
        "a member's agent, or every process of its machine, is stopped",
        ("member-stop",),
        ("member-agent-stop", "member-freeze"),
    ),
    Row(
        "C4",
        "a member's machine loses its power and starts cold, or is suspended",
        ("member-outage",),
        ("member-power", "member-suspend"),
    ),
    Row(
        "C5",
        "a member's machine stands still with all its clocks, often cut off from its lead when it goes on",
        ("member-guest-freeze",),
        ("member-guest-freeze", "member-guest-cut-off"),
    ),
    Row(
        "N1 N2 N9",
        "a member and its lead do not reach each other, both ways or one, or their connection breaks; a lead waits",
        ("member-cut",),
        ("member-cut", "member-cut-one-way", "member-flap", "members-awaited"),
    ),
    Row(
        "G2",
        "a member is replaced while its guards hold, or told to stop; where the next process goes on",
        ("member-upgrade",),
        ("member-upgrade", "member-shutdown", "member-taken-over"),
    ),
    Row(
        "P11 P12 D9",
        "what runs on members fails, hangs, is slow, ignores TERM, cannot be proven down; their disks are slow",
        ("member-platform",),
        (
            "member-start-fails",
            "member-start-hangs",
            "member-start-slow",
            "member-stop-deaf",
            "member-stop-unproven",
            "member-slow-disk",
        ),
    ),
    drawn("C2", "BOOTTIME of a member goes wrong beside its other clocks", "member-clocks"),
    Row(
        "P11",
        "steps of a plan run on members; something is left there, by whomever it is ended",
        (),
        ("member-step", "member-start-forks", "member-down-by-guard", "member-down-by-kernel"),
    ),
)
NETWORK = (
    Row(
        "N1 N2",
        "a site reaches no witness, both ways or one",
        ("cut-site",),
        ("cut-site", "cut-one-way", "message-cut"),
    ),
    drawn("N1", "a site and one witness do not reach each other", "cut-link"),
    drawn("N4", "a site does not reach the leader", "cut-leader"),
    drawn("H1", "no site reaches a witness", "cut-all"),
    Row(
        "H1",
        "the third location is gone for several leases, the sites see each other: they hold, and go on in place",
        ("lose-third",),
        ("lose-third", "hold-held", "regranted-in-place"),
    ),
    drawn("H2", "the third location is gone, and the site link too", "lose-third-and-link"),
    Row(
        "H1",
        "the third location is gone for long; an operator stops every other site and breaks the glass for one",
        ("permit",),
        (
            "permit-outage",
            "permit-refused-early",
            "permit-refused-forged",
            "permit-refused-expired",
            "permit-refused-elsewhere",
            "permit-taken",
            "permit-refused-used",
        ),
    ),
    Row(
        "H1",
        "the witnesses return to a site under a permit, or to one that ended or was lost under it; they reconcile",
        ("permit",),
        (
            "permit-adopted",
            "permit-site-late",
            "permit-other-started",
            "permit-end",
            "permit-site-lost",
            "permit-reconciled",
        ),
    ),
    Row("G2", "an agent is replaced under a permit, and goes on", ("permit",), ("permit-upgrade", "permit-taken-over")),
    Row("N1 N2", "two sites do not reach each other", ("cut-site-link",), ("cut-site-link", "relay-opened")),
    Row(
        "H3",
        "a hold is promised, then the witnesses are back for everybody but the holder",
        ("hold-then-grant",),
        ("hold-then-grant", "hold-relay"),
    ),
    Row("N1", "no witness reaches another one", ("witness-cut-all",), ("witness-cut-all",)),
    Row("N5", "messages of agents are lost", ("lossy",), ("message-lost",)),
    Row("N6", "messages of agents come twice", ("doubling",), ("message-doubled",)),
    Row("N7 N8", "messages of agents come late, and overtake", ("slow",), ("message-slow",)),
    Row("N9 N11", "streams of agents break", ("flap",), ("stream-flap",)),
    Row("N9", "streams of agents die silently", (), ("stream-idle",)),
)
DISKS_AND_CLOCKS = (
    drawn("D9", "a site's disk is slow", "slow-disk"),
    Row("C1 C6", "the wall clock of a machine is set, also back", ("wall-step",), ("wall-step",)),
    Row("C2", "all clocks as wrong as the leases allow", (), ("drift-at-the-bound",)),
    Row(
        "C3",
        "one witness's clock is far beyond that, or leaps",
        ("mad-clock", "mad-leap"),
        ("witness-mad-clock", "witness-leap"),
    ),
    drawn("C4", "a site's machine is suspended", "site-suspend"),
    Row(
        "C5",
        "a site's machine stands still with all its clocks, often cut off when it goes on; the resource refuses it",
        ("guest-freeze",),
        ("guest-freeze", "guest-cut-off", "resource-refused"),
    ),
)
PEOPLE = (
    Row(
        "O2 O3",
        "a copy of a site's machine runs beside it",
        ("second-agent",),
        ("second-agent", "witness-refused-second-agent"),
    ),
    Row(
        "O2 O3",
        "a site's machine is copied while it runs, memory and all: both go on, one of them often cut off",
        ("live-copy",),
        (
            "live-copy",
            "live-copy-active",
            "live-copy-in-step",
            "live-copy-cut-off",
            "live-copy-announced",
            "live-copy-later",
            "live-copy-put-back",
            "live-copy-told",
        ),
    ),
    Row(
        "O5",
        "all witnesses are lost and restored, with any backup or none, while sites go on",
        ("restore-all",),
        (
            "restore-all",
            "restore-old-backup",
            "restore-without-backup",
            "restore-leftover",
            "restore-cut-holder",
            "backup-running",
            "backup-stopped",
        ),
    ),
    Row(
        "O8",
        "lease constants change while leases are held",
        ("reconfigure",),
        ("reconfigure-done", "reconfigure-refused"),
    ),
    Row(
        "O8", "the lock delay changes while leases are held", ("lock-delay",), ("lock-delay-done", "lock-delay-refused")
    ),
    Row("O10", "two operators switch over at once", ("switch-twice",), ("switch-twice",)),
    Row("S7", "more commands than can be taken", ("flood",), ("flood", "witness-overloaded")),
    Row("Q1", "a quarantined site asks for a vacant lease", (), ("witness-quarantined-asks",)),
    Row("Q1", "data checks fail, so that no quarantine ends by itself", ("data-unfit",), ("data-checks-fail",)),
    Row("", "operators switch over", ("switchover",), ("switchover-done", "switchover-refused")),
    Row("", "modes of a group change", ("mode",), ("mode-done", "mode-refused")),
    Row("", "sites go into maintenance and out of it", ("maintenance",), ("maintenance-done", "maintenance-refused")),
    Row("", "sites are quarantined and cleared by hand", ("quarantine",), ("quarantine-done", "quarantine-refused")),
    Row("", "a vacant group is deleted", ("delete",), ("delete-done", "delete-refused")),
    Row(
        "",
        "probes say that a platform is unfit or its replica late",
        ("unready", "unhealthy", "lagging"),
        ("not-ready", "not-healthy", "lag"),
    ),
)
LICENSES = (
    Row(
        "L1",
        "a key changes at the vendor while its site is active, often just before that site dies",
        ("license-change",),
        ("license-change", "license-change-dies"),
    ),
    Row(
        "L2",
        "nothing but escrow brings a key to another site: sealed, kept, put back",
        ("license-change",),
        ("license-sealed", "license-kept", "license-restored", "license-looked-last"),
    ),
    Row(
        "L3",
        "puts of keys are lost, come late or again, also from a site that holds the group no more",
        ("license-put",),
        ("license-put-lost", "license-put-late", "license-put-again", "license-put-refused"),
    ),
    Row(
        "L2",
        "keys as long as they may be, and longer; gone from their place, or a former one there, or one of nobody",
        ("license-absent", "license-large"),
        (
            "license-large",
            "license-absent",
            "license-older",
            "license-ungiven",
            "license-not-sealable",
            "license-refused",
            "license-found-in-place",
        ),
    ),
    Row(
        "",
        "a license's probe lies, fails, or says what was so long ago",
        ("license-probe",),
        ("license-probe-lies", "license-probe-fails", "license-probe-stale", "license-probe-fences"),
    ),
    Row(
        "",
        "operators give a newest key up",
        ("license-waived",),
        ("license-waived-done", "license-waived-refused"),
    ),
)
CATALOGUE = (
    *PROCESSES,
    *HOSTS,
    *MEMBERS,
    *NETWORK,
    *DISKS_AND_CLOCKS,
    *PEOPLE,
    *LICENSES,
    *_of_witnesses(),
    *REAL,
)
