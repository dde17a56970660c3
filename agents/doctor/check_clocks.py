"""Clocks, suspend, virtual machines, swap: what may make time stand still for a deadline."""

from __future__ import annotations

from collections.abc import Iterator

from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host

_SPLIT = Promise.NO_SPLIT_BRAIN
CLOCKSOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
VIRTUAL_SOURCES = {"kvm-clock": "KVM", "hyperv_clocksource_tsc_page": "Hyper-V", "xen": "Xen", "vmware": "VMware"}
VIRTUAL_VENDORS = ("QEMU", "KVM", "VMware", "Xen", "innotek", "VirtualBox", "Microsoft Corporation", "Amazon EC2")
SLEEP_TARGETS = ("sleep.target", "suspend.target", "hibernate.target")


def check_clocks(host: Host) -> Iterator[Finding]:
    kind = virtual(host)
    source = (host.text(CLOCKSOURCE) or "").strip()
    if kind:
        what = f"this is a virtual machine ({kind}, clock source {source or 'unknown'})"
        why = "a paused machine may freeze every clock in it, and no software in it can count the pause"
        remedy = "never pause or clone it; give its platform an epoch check, or a watchdog outside of the guest"
        yield Finding(Severity.WARNING, "clocks", what, _SPLIT, why, remedy)
        yield from _generation(host)
    if source in ("jiffies", "refined-jiffies", "acpi_pm"):
        what = f"the clock source is {source}"
        why = "it may run far off true time; leases allow for the drift that is configured, not more"
        yield Finding(Severity.WARNING, "clocks", what, _SPLIT, why, "find out why the kernel dropped tsc (dmesg)")
    if host.trial.get("clock_synchronized") is False:
        what = "nothing keeps the wall clock"
        why = "certificates, permits and windows fail closed on a wrong wall clock; leases do not rest on it"
        remedy = "run chrony, systemd-timesyncd or ptp, slewing rather than stepping"
        yield Finding(Severity.WARNING, "clocks", what, Promise.COMES_BACK, why, remedy)
    yield from _suspend(host, kind)
    yield from _swap(host)


def virtual(host: Host) -> str:
    """What it runs on, '' for a machine of its own."""
    source = (host.text(CLOCKSOURCE) or "").strip()
    if source in VIRTUAL_SOURCES:
        return VIRTUAL_SOURCES[source]
    vendor = (host.text("sys/class/dmi/id/sys_vendor") or "").strip()
    if any(vendor.startswith(one) for one in VIRTUAL_VENDORS):
        return vendor
    flags = host.text("proc/cpuinfo") or ""
    return "a hypervisor" if " hypervisor" in flags.partition("\n\n")[0] else ""


def _generation(host: Host) -> Iterator[Finding]:
    devices = host.entries("sys/bus/acpi/drivers/vmgenid") or []
    if any(entry.is_dir() or entry.is_symlink() for entry in devices if ":" in entry.name):
        return
    what = "no VM generation id (vmgenid)"
    why = "a clone or a restored snapshot of this machine is noticed only at its next renewal"
    remedy = "add the vmgenid device to the guest, and load the vmgenid module"
    yield Finding(Severity.WARNING, "clocks", what, Promise.ONE_LICENSE, why, remedy)


def _suspend(host: Host, kind: str) -> Iterator[Finding]:
    able = {"mem", "disk"} & set((host.text("sys/power/state") or "").split())
    units = [host.units.load(name) for name in SLEEP_TARGETS]
    if not able or all(unit is not None and unit.masked for unit in units) or kind:
        return
    what = f"this host can be suspended ({', '.join(sorted(able))})"
    why = "the deadline counts on through a suspend, and everything dies at the resume: that ends the service"
    remedy = f"systemctl mask {' '.join(SLEEP_TARGETS)}"
    yield Finding(Severity.WARNING, "suspend", what, Promise.COMES_BACK, why, remedy)


def _swap(host: Host) -> Iterator[Finding]:
    areas = (host.text("proc/swaps") or "").splitlines()[1:]
    locked = host.trial.get("privileges", {}).get("memory_locked", True)
    if areas and not locked:
        what = f"swap is on ({areas[0].split()[0]}) and guards cannot lock their memory"
        why = "a guard may have to wait for its pages at the deadline"
        yield Finding(Severity.WARNING, "swap", what, _SPLIT, why, "swapoff, or let guards lock memory")
