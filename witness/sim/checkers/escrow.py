"""Escrow: stored versions never go back, and nobody begins with a key that is older than one that was acknowledged.

It plays the vendor, too: each exchange gives the next key, by number. A key that was exchanged and reached no witness
before its site died cannot be known elsewhere; what a majority of the witnesses acknowledged must be, and is stored as
it was sealed, until an operator gave that version up, or its group was deleted. What is stored, and what the ledger
says of it, was sealed by that very site under that very epoch. A site under a permit cannot ask the witnesses: it
begins with a key that is not older than the newest it was ever handed.
"""

from __future__ import annotations

from proto.decisions import Reason
from proto.errors import BadValue
from proto.events import Event, EventKind
from proto.license import EscrowVersion, SealedKey, check_sealed, read_version, version_words
from proto.messages import EscrowPut, EscrowPutAnswer
from proto.units import Epoch, GroupId, LicenseName, Nonce, SiteId
from witness.core.machine import Machine
from witness.sim.licenses.place import number_of, opened
from witness.sim.life import Life
from witness.sim.raft.checkers import Findings

Place = tuple[GroupId, LicenseName]


class EscrowChecker:
    def __init__(self, findings: Findings) -> None:
        self.begun = 0
        """Activations that were judged against an acknowledged key."""
        self.waived = 0
        """Of these, such as an operator let begin with an older one."""
        self.forked = 0
        """Of these, such as had two newest keys: a copy of the holder's machine sealed that version, too."""
        self.excused = 0
        """Of these, such as began by clocks that had been frozen: it cannot know that it is not the holder any more."""
        self._found = findings.found
        self._keys: dict[Place, int] = {}
        self._acknowledged: dict[Place, SealedKey] = {}
        self._sealers: dict[tuple[Place, EscrowVersion], dict[str, int]] = {}
        """By host, the key that it sealed as that version."""
        self._handed: dict[tuple[Place, str], int] = {}
        """The newest key on a host's disk, by number."""
        self._due: dict[Place, SealedKey] | None = None
        """Of what was acknowledged, what `ends` asks for."""
        self._put: dict[Nonce, SealedKey] = {}
        self._stored: dict[int, tuple[Life, dict[Place, EscrowVersion]]] = {}
        """By process of a witness; held, so that no other one has its identity."""
        self._sealed: dict[Place, dict[EscrowVersion, list[tuple[SiteId, SealedKey]]]] = {}
        self._former: dict[bytes, frozenset[bytes]] = {}
        """What is in a box beside its key, by the seal's nonce."""
        self._given_up: dict[Place, EscrowVersion] = {}
        self._let_begin: dict[tuple[Place, Epoch], EscrowVersion] = {}
        """By the claimed epoch that a waiver was for."""
        self._lives = 0

    # -- the vendor and the sites -----------------------------------------------------------------------------

    def exchanged(self, place: Place) -> int:
        self._keys[place] = self._keys.get(place, 0) + 1
        return self._keys[place]

    def sealed(self, place: Place, site: SiteId, sealed: SealedKey, former: frozenset[bytes], host: str) -> None:
        self._sealers.setdefault((place, sealed.version), {})[host] = number_of(opened(sealed))
        self._sealed.setdefault(place, {}).setdefault(sealed.version, []).append((site, sealed))
        self._former[sealed.nonce] = former

    def former(self, sealed: SealedKey) -> frozenset[bytes]:
        """As whoever opens the box reads it."""
        return self._former.get(sealed.nonce, frozenset())

    def sent(self, put: EscrowPut) -> None:
        self._put[put.nonce] = put.sealed

    def answered(self, answer: EscrowPutAnswer) -> None:
        """Told to the agent; whatever was acknowledged before stays so."""
        sealed, place = self._put.pop(answer.nonce, None), (answer.group, answer.license)
        if sealed is None or answer.reason is not Reason.OK:
            return
        known = self._acknowledged.get(place)
        if known is None or known.version < sealed.version:
            self._acknowledged[place] = sealed

    def handed(self, place: Place, host: str, sealed: SealedKey) -> None:
        """It is on that host's disk from now on."""
        self._handed[place, host] = max(number_of(opened(sealed)), self._handed.get((place, host), 0))

    def begins_alone(self, place: Place, host: str, key: int, *, required: bool = True) -> None:
        """Under a permit: witnesses that nobody reaches may know a newer key."""
        newest = self._handed.get((place, host), 0)
        if required and key < newest:
            self._found("escrow", f"{host} begins under a permit with key {key} of {place[1]}, but was handed {newest}")

    def begins(
        self, place: Place, host: str, key: int, epoch: Epoch, *, required: bool = True, excused: bool = False
    ) -> None:
        """`excused`: it runs by clocks that had been frozen, and no witness has confirmed anything to it since."""
        found = self._acknowledged.get(place)
        if found is None or not required:
            return
        self.begun += 1
        newest = number_of(opened(found))
        if key >= newest:
            return
        if excused:
            self.excused += 1
            return
        sealers = {site for site, _ in self._sealed[place][found.version]}
        if len(sealers) == 1 and key in self._sealers[place, found.version].values():
            self.forked += 1
            return
        if found.version <= self._let_begin.get((place, epoch), EscrowVersion(Epoch(0), 0)):
            self.waived += 1
            return
        says = f"{host} begins with key {key} of {place[1]}, but {version_words(found.version)} with key {newest}"
        self._found("escrow", f"{says} had been acknowledged")

    # -- the witnesses ----------------------------------------------------------------------------------------

    def applied(self, life: Life) -> None:
        _, before = self._stored.setdefault(id(life), (life, {}))
        for group, state in life.node.machine.state.groups.items():
            for name, record in state.escrow.kept.items():
                version, was = record.sealed.version, before.get((group, name))
                if was == version:
                    continue
                if was is not None and (version < was or version.version < was.version):
                    says = f"{version_words(was)} was stored, then {version_words(version)}"
                    self._found("escrow", f"{life.witness}: {group}, {name}: {says}")
                before[group, name] = version
                self._genuine((group, name), record.site, record.sealed)

    def _genuine(self, place: Place, site: SiteId, sealed: SealedKey) -> None:
        try:
            check_sealed(sealed, place[1])
        except BadValue as error:
            self._found("escrow", f"stored of {place[0]}: {error}")
        if (site, sealed) not in self._sealed.get(place, {}).get(sealed.version, []):
            self._found("escrow", f"{version_words(sealed.version)} of {place[1]} is not as {site} sealed it")

    def event(self, event: Event) -> None:
        if event.group is None:
            return
        if event.kind is EventKind.ESCROW_STORED:
            self._recorded(event.group, event)
        elif event.kind is EventKind.ESCROW_WAIVED:
            name, _, rest = event.text.partition(": ")
            version = read_version(rest.partition(" ")[0], "waived")
            self._given_up[event.group, LicenseName(name)] = version
        elif event.kind is EventKind.CLAIMED:
            for place in [one for one in self._given_up if one[0] == event.group]:
                self._let_begin[place, event.epoch] = self._given_up.pop(place)
        elif event.kind is EventKind.GROUP_DELETED:
            for place in [one for one in self._acknowledged if one[0] == event.group]:
                del self._acknowledged[place]

    def _recorded(self, group: GroupId, event: Event) -> None:
        name, _, rest = event.text.partition(": version ")
        version, place = read_version(rest.partition(",")[0], "stored"), (group, LicenseName(name))
        self._given_up.pop(place, None)
        known = [site for site, _ in self._sealed.get(place, {}).get(version, [])]
        if event.site not in known or version.epoch != event.epoch:
            says = f"{event.site} put {version_words(version)} of {name} in epoch {event.epoch}"
            self._found("escrow", f"event {event.seq} says that {says}; it was sealed by {known}")

    def restored(self) -> None:
        """All witnesses begin anew: what a backup does not know is not stored, and nothing given up is."""
        self._lives += 1
        self._given_up.clear()

    def due(self) -> None:
        """What was acknowledged until now; what is later may be on its way to a replica."""
        self._due = dict(self._acknowledged)

    def ends(self, machine: Machine) -> None:
        """All is healed and quiet, and had been for a moment since `due`: what was acknowledged is stored, or newer."""
        if self._lives:
            return
        due = self._acknowledged if self._due is None else self._due
        for (group, name), sealed in due.items():
            if (group, name) not in self._acknowledged:
                continue  # its group was deleted since
            state = machine.state.groups.get(group)
            kept = None if state is None else state.escrow.kept.get(name)
            if kept is None or kept.sealed.version < sealed.version:
                have = "nothing" if kept is None else version_words(kept.sealed.version)
                says = f"{version_words(sealed.version)} had been acknowledged, {have} is stored"
                self._found("escrow", f"{group}, {name}: {says}")
