"""A machine: what it is, what was measured, what could not be."""

from probes.engine import PROBE_ID as ENGINE_PROBE_ID
from probes.types import HardwareProfile, ProbeOutcome, ProbeStatus
from reports import format as fmt
from reports import phrases, wording
from reports.blocks import Block, Bullets, Command, Facts, Fold, Grid, Headline, Notice, Section, Tone
from reports.text import plain


def headline(profile: HardwareProfile) -> Headline:
    """A page about a machine alone."""
    measured = [outcome for outcome in profile.outcomes if outcome.measurement is not None]
    return Headline(
        kicker="Machine profile",
        title=phrases.hardware(profile),
        lead=f"{phrases.counted(len(measured), 'measurement')}, taken {fmt.clock(profile.created_at)}.",
    )


def section(profile: HardwareProfile, document_index: int) -> Section:
    """The machine and its measurements."""
    measured = [outcome for outcome in profile.outcomes if outcome.measurement is not None]
    blocks: list[Block] = [Facts(_facts(profile)), *_engine_trouble(profile)]
    if measured:
        blocks.append(_measured_grid(measured))
    else:
        blocks.append(Notice("The document holds no measurements; run advisor scan to take them."))
    blocks += _warnings(profile)
    missing = _missing(profile)
    if missing:
        blocks.append(Fold(f"Not measured ({len(missing)})", (Bullets(missing),)))
    return Section(
        section_id=f"machine-{document_index}",
        title=f"The machine: {phrases.hardware(profile)}",
        nav="Machine",
        blocks=tuple(blocks),
    )


def _facts(profile: HardwareProfile) -> tuple[tuple[str, str], ...]:
    host = profile.host
    caches = " · ".join(
        f"{name} {fmt.cache_size(size)}"
        for name, size in (("L1d", host.l1d_bytes), ("L2", host.l2_bytes), ("L3", host.l3_bytes))
        if size is not None
    )
    rows = [
        ("Processor", phrases.processor(host)),
        ("Caches", caches or "unknown"),
        ("Instructions", ", ".join(map(plain, host.instruction_sets)) or "unknown"),
        ("Memory", phrases.memory_state(host)),
        *((plain(device.device_id), phrases.device(device)) for device in profile.devices if device.kind != "cpu"),
        ("System", plain(" ".join(filter(None, (host.os, host.os_version, host.machine, host.virtualization))))),
        *((plain(report.engine_id), phrases.engine(report)) for report in profile.engines),
        *((f"{plain(link.src)} → {plain(link.dst)}", fmt.bandwidth(link.bytes_per_s)) for link in profile.links),
        ("Scanned", fmt.clock(profile.created_at)),
    ]
    return tuple(rows)


def _engine_trouble(profile: HardwareProfile) -> list[Block]:
    """What keeps the installed engine from this machine's devices, with the command that mends it."""
    blocks: list[Block] = []
    for outcome in profile.outcomes:
        if outcome.probe_id == ENGINE_PROBE_ID and outcome.status != ProbeStatus.OK:
            tone = Tone.BAD if outcome.status == ProbeStatus.FAILED else Tone.CAUTION
            blocks.append(Notice(f"Engine: {phrases.sentence(outcome.reason or 'it cannot be asked')}", tone))
            blocks += [Command(plain(outcome.fix))] if outcome.fix else []
    return blocks


def _measured_grid(outcomes: list[ProbeOutcome]) -> Grid:
    rows = []
    for outcome in outcomes:
        measurement = outcome.measurement
        if measurement is not None:
            name = wording.probe(outcome.probe_id, measurement.dtype)
            rows.append(
                (
                    f"{name}*" if measurement.warnings else name,
                    plain(outcome.device_id),
                    phrases.measured(measurement),
                    phrases.measured(measurement, measurement.median_value),
                    fmt.percent(measurement.spread_frac),
                    fmt.count(measurement.threads_count),
                    fmt.count(len(measurement.elapsed_s)),
                )
            )
    return Grid(
        caption="Measured on this machine",
        headers=("What", "On", "Best", "Median", "Spread", "Threads", "Repeats"),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4, 5, 6}),
    )


def _warnings(profile: HardwareProfile) -> list[Block]:
    suspect: dict[str, list[str]] = {}
    for outcome in profile.outcomes:
        if outcome.measurement is not None:
            for warning in outcome.measurement.warnings:
                name = wording.probe(outcome.probe_id, outcome.measurement.dtype)
                suspect.setdefault(wording.scan_warning(warning), []).append(name)
    notes: list[Block] = [
        Notice(f"* {', '.join(names)}: {text[:1].lower()}{text[1:]}") for text, names in suspect.items()
    ]
    state = phrases.conditions(profile.conditions)
    if state:
        notes.append(Notice(f"Meanwhile: {state}.", Tone.CAUTION if profile.conditions.polluted else Tone.PLAIN))
    return notes


def _missing(profile: HardwareProfile) -> tuple[str, ...]:
    return tuple(
        f"{wording.probe(outcome.probe_id)} on {plain(outcome.device_id)}: "
        f"{plain(outcome.reason or 'no reason recorded')}."
        + (f" To mend it: {plain(outcome.fix)}." if outcome.fix else "")
        for outcome in profile.outcomes
        if outcome.status != ProbeStatus.OK and outcome.probe_id != ENGINE_PROBE_ID
    )
