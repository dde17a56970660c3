"""The campaign's world, told: the same machines, with a narrator who hears what happens and judges who say it aloud.

Differences to a campaign's schedule are only in what is drawn: clocks run true, platforms take the time that they are
told to, and links one delay, so that a reader can check the arithmetic; `drawn=yes` leaves all that to the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from agents.fencing.guard_model import Behaviour
from proto.events import Event
from proto.messages import GroupAnswer, Verdict
from proto.units import NS_PER_MS, Epoch, GroupId, Nonce
from witness.sim.judges import Judges
from witness.sim.network import Weather
from witness.sim.platform import Platform
from witness.sim.raft.checkers import Findings
from witness.sim.scenario.narrator import Detail, Narrator, event_detail, note_detail
from witness.sim.setup import Setup, rng_for
from witness.sim.world import World

DELAY_NS = NS_PER_MS // 2
"""One way, everywhere."""
TERM_TAKES_NS = 200 * NS_PER_MS
"""A platform that is asked to end does so in this time."""
STOP_TAKES_NS = 100 * NS_PER_MS
Say = Callable[[Detail, str, str], None]


class PlainPlatform(Platform):
    """One step starts it, in the time that it was told; moods still spoil it."""

    start_ns = 0

    def start_steps(self) -> list[Behaviour]:
        deaf = self._happens("stop-deaf", self.moods.stop_deaf)
        whole = Behaviour(self.start_ns, leaves_running=True, ignores_term=deaf, term_takes_ns=TERM_TAKES_NS)
        return [self._spoilt(whole)]

    def placed_step(self) -> Behaviour:
        return self._spoilt(Behaviour(STOP_TAKES_NS, leaves_running=True, term_takes_ns=TERM_TAKES_NS))

    def stop_step(self) -> Behaviour:
        hangs = self._happens("stop-hangs", self.moods.stop_hangs)
        return Behaviour(hangs=True) if hangs else Behaviour(takes_ns=STOP_TAKES_NS)


class ToldJudges(Judges):
    """Judges as ever, and says when a site's platform begins and ends."""

    say: Say
    authority_ends: Callable[[GroupId, str], str]
    """When the authority of a host ends that has one, in words."""

    def begun(self, group: GroupId, host: str, epoch: Epoch) -> None:
        self.say(Detail.BRIEF, host, f"activation begins under epoch {epoch}, {self.authority_ends(group, host)}")
        super().begun(group, host, epoch)

    def down(self, group: GroupId, host: str, *, clean: bool) -> None:
        ran = host in self.activity.active(group)
        super().down(group, host, clean=clean)
        if ran:
            how = "in order" if clean else "not by its own steps"
            self.say(Detail.BRIEF, host, f"everything is down, {how}; {self.authority_ends(group, host)}")

    def answered(self, host: str, nonce: Nonce, answers: tuple[GroupAnswer, ...]) -> None:
        super().answered(host, nonce, answers)
        for answer in answers:
            if answer.verdict is Verdict.RENEWED:
                self.say(Detail.FULL, host, f"epoch {answer.epoch} is renewed")
            elif answer.verdict is Verdict.REFUSED:
                self.say(Detail.NORMAL, host, f"is refused: {answer.reason.value}")


class ToldWorld(World):
    def __init__(self, setup: Setup, narrator: Narrator, start_ns: int | None) -> None:
        """`start_ns`: what starting a platform takes; None leaves this, clocks and links to the seed."""
        self.narrator = narrator
        self._start_ns = start_ns
        self.listener: Callable[[Event], None] | None = None
        super().__init__(setup)
        if start_ns is not None:
            self.calm_links()

    def calm_links(self) -> None:
        """As they were at the beginning."""
        weather = self.network.weather = Weather()
        if self._start_ns is not None:
            weather.delay_ns_min = weather.delay_ns_max = DELAY_NS
            for path in self.cluster.network.wire.paths.values():
                path.delay_ns_min = path.delay_ns_max = DELAY_NS

    def say(self, detail: Detail, who: str, what: str) -> None:
        self.narrator.say(detail, self.events.now_ns, who, what)

    def note(self, who: str, what: str) -> None:
        self.say(note_detail(what), who, what)

    def _tell(self, event: Event) -> None:
        site = f" {event.site}" if event.site else ""
        epoch = f" epoch {event.epoch}" if event.epoch else ""
        self.say(event_detail(event.kind), "ledger", f"{event.kind.value}{site}{epoch}: {event.text}")
        if self.listener is not None:
            self.listener(event)

    def _make_judges(self, findings: Findings) -> Judges:
        judges = ToldJudges(findings, lambda: self.events.now_ns, self.setup.groups)
        judges.say, judges.authority_ends = self.say, self._authority_ends
        return judges

    def _authority_ends(self, group: GroupId, host: str) -> str:
        """By the host's own clock, in true time, as its guard was told last."""
        machine = next(one for one in [*self.sites, *self.members] if one.name == host)
        at = machine.groups[group].post.authority_ends_at()
        return "" if at is None else f"authority ends at {machine.clock.true_at(at) // NS_PER_MS}"

    def _platform(self, host: str) -> Platform:
        if self._start_ns is None:
            return super()._platform(host)
        plain = PlainPlatform(rng_for(self.setup.seed, f"platform/{host}"), self.hit, self.setup.data_checks)
        plain.start_ns = self._start_ns
        return plain

    def _member_platform(self, host: str, group: GroupId) -> Platform:
        return super()._member_platform(host, group) if self._start_ns is None else self._platform(host)

    def rate_ppm(self, rng: random.Random) -> int:
        return super().rate_ppm(rng) if self._start_ns is None or self.setup.drift_extreme else 0
