"""The faults and moves of the story, one function each: kill, return, handover, leader's death, freeze, verdict."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

from witness.demo.eyes import POLL_S, Expected, wait_for
from witness.demo.layout import GROUP, SITES
from witness.demo.measures import Renewals, handover_parts
from witness.demo.processes import Process
from witness.demo.referee import Life
from witness.demo.story import DORMANT, SETTLE_S, Story
from witness.demo.timeline import timeline

WATCH_POLL_S = 0.005
RENEWALS_AFTER = 2
"""So many renewals after the leader's death show that they have resumed."""
SILENCE_S = 0.5
"""A woken platform would send some thirty signs in this time."""
RENEWAL_TRIES = 5
KILL_AHEAD_S = 0.03
"""The leader dies so long before a renewal is due: the worst moment."""


async def kill_active(story: Story) -> None:
    home, other = SITES
    with story.show.phase("kill", "b", f"SIGKILL of everything of {home}: agent, guard, init, platform"):
        fault = await story.fault("b", home)
        count = await story.world.kill_site(home)
        life, total_s, parts = await story.takeover(fault, other)
    story.findings.takeover_kill_s, story.findings.takeover_kill_parts = total_s, parts
    story.show.say(f"{count} processes killed")
    story.say_takeover(other, life, total_s, parts)


async def come_back(story: Story) -> None:
    home = SITES[0]
    with story.show.phase("return", "c", f"{home} returns, proves itself down, passes its data check, stays dormant"):
        story.marks.append((time.monotonic_ns(), "c"))
        quarantined = await story.eyes.site(home)
        causes = [] if quarantined is None else [one["cause"] for one in quarantined["quarantine"]]
        if story.weak:
            story.world.forget_guard(home)
            story.show.warn(f"without a namespace nobody can prove that all of {home} died, a reboot apart: as an")
            story.show.warn("operator would who has looked, the demo removes the dead guard's record")
        began = time.monotonic()
        await story.world.start_agent(home)
        seen = await story.settled(home, *DORMANT)

        async def lifted() -> bool:
            story.world.require_running(story.world.agents[home])
            site = await story.eyes.site(home)
            return site is not None and not site["quarantine"] and site["state"] in DORMANT and bool(site["ready"])

        await wait_for(f"the quarantine of {home} lifts", lifted, SETTLE_S)
        story.findings.rejoin_s = time.monotonic() - began
        await story.no_other_life()
    barred = f"quarantine ({', '.join(causes)})" if causes else "no quarantine"
    story.show.say(
        f"{barred} lifted {story.findings.rejoin_s:.2f} s after its agent was started; state {seen['state']}"
    )


async def hand_over(story: Story) -> None:
    home, other = SITES
    with story.show.phase("handover", "d", f"planned handover back: witnessctl switchover {GROUP} --to {home}"):
        events = await story.eyes.events_head()
        before = await story.newest_life()
        story.marks.append((time.monotonic_ns(), "d"))
        await story.world.operator("switchover", GROUP, "--to", home, "--reason", "back home", "--no-wait")
        life = await story.next_life(home, SETTLE_S)
        await story.settled(home, "active")
        await story.settled(other, *DORMANT)
        ended = await story.life(before.instance)
        findings = story.findings
        wall_offset_s = time.time() - time.monotonic()
        findings.handover_s, findings.handover_parts = handover_parts(
            await story.eyes.events(events),
            source=other,
            to=home,
            first_wall_s=life.first_ns / 1e9 + wall_offset_s,
            gap_s=(life.first_ns - ended.last_ns) / 1e9,
            platform=(findings.platform_start_s, findings.platform_stop_s),
        )
    if not ended.deactivated:
        raise Expected(f"{other} did not give its license back before {home} activated it")
    _say_handover(story, life)


def _say_handover(story: Story, life: Life) -> None:
    parts, total_s = story.findings.handover_parts, story.findings.handover_s
    if total_s is not None:
        story.show.say(f"{life.site} is active in epoch {life.epoch}, {total_s:.3f} s after the handover was committed")
        story.show.say(f"  {parts['beyond_platform']:6.3f} s  beyond the platform's own stop and start")
    story.show.say(f"  {parts['without_platform']:6.3f} s  without a platform, from last to first sign")


async def kill_leader(story: Story) -> None:
    leader = await wait_for("a witness leads", story.eyes.leader, SETTLE_S)
    text = f"SIGKILL of the witness leader {leader}: nothing happens to the platform"
    with story.show.phase("leader_kill", "e", text):
        before, events = await story.newest_life(), await story.eyes.events_head()
        renewals = Renewals(story.constants.ttl_ms / 1_000)
        watching = asyncio.create_task(_watch(story, renewals))
        try:
            await _just_before_renewal(story)
            story.marks.append((time.monotonic_ns(), "e"))
            killed_s = time.monotonic()
            story.world.witnesses[leader].signal(signal.SIGKILL)
            await story.world.witnesses.pop(leader).wait(5)

            async def resumed() -> bool:
                return len(renewals.sent_after(killed_s)) >= RENEWALS_AFTER

            await wait_for("renewals go on", resumed, story.expiry_s + SETTLE_S)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        await _start_again(story, leader)
        await _unmoved(story, before, events)
    findings = story.findings
    findings.renewals_resumed_s = renewals.sent_after(killed_s)[0] - killed_s
    findings.renewal_gap_s = renewals.gap_across_s(killed_s)
    gap = "" if findings.renewal_gap_s is None else f", {findings.renewal_gap_s:.3f} s between two renewals"
    story.show.say(f"renewed {findings.renewals_resumed_s:.3f} s after the leader's death{gap}; {leader} is back")


async def _watch(story: Story, renewals: Renewals) -> None:
    """Reads the active agent's deadline often enough to date each renewal to some milliseconds."""
    while True:
        seen = await story.eyes.agent(SITES[0])
        if seen is not None:
            renewals.look(time.monotonic(), seen["remaining_ms"] / 1_000)
        await asyncio.sleep(WATCH_POLL_S)


async def _just_before_renewal(story: Story) -> None:
    """Returns some milliseconds before a renewal is due; early renewals (news of a site) start the count again."""
    ttl_s = story.constants.ttl_ms / 1_000
    period_s = ttl_s / 3
    for _ in range(RENEWAL_TRIES):
        remaining_s = await story.between_renewals(SITES[0])
        if remaining_s is None:
            return
        await asyncio.sleep(max(0.0, period_s - (ttl_s - remaining_s) - KILL_AHEAD_S))
        seen = await story.eyes.agent(SITES[0])
        if seen is not None and ttl_s - seen["remaining_ms"] / 1_000 > 0.8 * period_s:
            return


async def _start_again(story: Story, witness: str) -> None:
    await story.world.start_witness(witness)

    async def back() -> bool:
        story.world.require_running(story.world.witnesses[witness])
        seen = await story.eyes.summary(witness)
        return seen is not None and bool(seen["caught_up"]) and bool(seen["has_quorum"])

    await wait_for(f"{witness} has caught up again", back, SETTLE_S)


async def _unmoved(story: Story, before: Life, events: int) -> None:
    """The same instance goes on and no lease moved."""
    now = await story.life(before.instance)
    await story.no_other_life()
    moves = [one for one in await story.eyes.events(events) if one["kind"] in ("granted", "expired", "revoked")]
    story.findings.leader_takeovers = len([one for one in moves if one["kind"] == "granted"])
    if moves or now.deactivated or now.last_ns <= before.last_ns:
        kinds = ", ".join(one["kind"] for one in moves) or "its platform is silent"
        raise Expected(f"the leader's death was to change nothing, but: {kinds}")


async def freeze_active(story: Story) -> None:
    home, other = SITES
    if story.weak:
        story.findings.skipped.append("stop")
        story.show.warn("f  SIGSTOP of the active site is left out: without a PID namespace its platform would be")
        story.show.warn("   stopped, not dead, and could wake. Run it as root or allow user namespaces.")
        return
    with story.show.phase(
        "stop", "f", f"SIGSTOP of every process of {home}: its platform is dead before the other starts"
    ):
        before, inside = await story.newest_life(), story.world.platform_processes(home)
        if not inside:
            raise Expected(f"no platform of {home} is found in its namespace")
        fault = await story.fault("f", home)
        victims = story.world.stop_site(home)
        death = asyncio.create_task(_death_s(inside, fault.mono_s + story.takeover_bound_s))
        life, total_s, parts = await story.takeover(fault, other)
        died_s = await death
        parts["dead_before_start"] = life.first_ns / 1e9 - died_s
        await _wake(story, before, victims, inside)
    story.findings.takeover_stop_s, story.findings.takeover_stop_parts = total_s, parts
    if parts["dead_before_start"] <= 0:
        raise Expected(f"the stopped platform of {home} died {-parts['dead_before_start']:.3f} s after {other} started")
    story.show.say(
        f"{len(victims)} processes stopped; the kernel ended the platform {died_s - fault.mono_s:.3f} s later,"
    )
    story.show.say(f"  {parts['dead_before_start']:6.3f} s  before the first sign of {other}")
    story.say_takeover(other, life, total_s, parts)
    story.show.say("SIGCONT woke nothing: the platform's processes are gone, the agent found itself without a lease")


async def _death_s(inside: set[Process], until_s: float) -> float:
    """When the last process of the namespace was seen dead."""
    while any(one.alive() for one in inside):
        if time.monotonic() > until_s:
            raise Expected(f"{len(inside)} stopped processes of the platform do not die")
        await asyncio.sleep(WATCH_POLL_S)
    return time.monotonic()


async def _wake(story: Story, before: Life, victims: set[Process], inside: set[Process]) -> None:
    home = SITES[0]
    last_ns = (await story.life(before.instance)).last_ns
    for one in victims:
        one.signal(signal.SIGCONT)
    await story.settled(home, *DORMANT)
    await asyncio.sleep(SILENCE_S)
    awake = [one for one in inside if one.alive()]
    if awake:
        raise Expected(f"SIGCONT woke {len(awake)} processes of the old platform")
    if (await story.life(before.instance)).last_ns != last_ns:
        raise Expected(f"the old platform of {home} spoke again after SIGCONT")
    if await story.eyes.page(home) is not None:
        raise Expected(f"something serves the platform's page at {home}")
    await story.no_other_life()


async def hear_verdict(story: Story) -> None:
    with story.show.phase("verdict", "g", "the referee's verdict, from signs of life on its own clock"):
        await asyncio.sleep(POLL_S)
        verdict = await story.eyes.verdict()
    findings = story.findings
    findings.overlap_s, findings.activations = float(verdict["overlap_s"]), int(verdict["activations"])
    lives = [Life(**life) for life in verdict["lives"]]
    for line in timeline(
        lives,
        story.marks,
        start_ns=story.began_ns,
        end_ns=time.monotonic_ns(),
        width=story.show.columns - 7,
    ):
        story.show.say(line)
    signs = sum(life.signs for life in lives)
    story.show.say(f"{findings.activations} activations, {signs} signs of life, overlap {findings.overlap_s:.3f} s")
    alarms = [alarm["text"] for alarm in verdict["alarms"]]
    if alarms or verdict["overlaps"]:
        raise Expected(f"the referee raised {len(alarms)} alarms: {'; '.join(alarms[:3])}")
    await story.no_other_life()


PHASES = (kill_active, come_back, hand_over, kill_leader, freeze_active, hear_verdict)
