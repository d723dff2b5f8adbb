"""A doctor's visit: what can run on a machine, what cannot, and the command that mends it."""

from probes.types import Check, Diagnosis, Level
from reports import format as fmt
from reports import phrases
from reports.blocks import Block, Bullets, Command, Facts, Fold, Headline, Notice, Section, Tone
from reports.text import plain


def headline(diagnosis: Diagnosis) -> Headline:
    """A page about a visit alone."""
    count = sum(check.level == Level.PROBLEM for check in diagnosis.checks)
    found = phrases.counted(count, "problem") if count else "Nothing is broken"
    lead = f"{found}, {fmt.clock(diagnosis.created_at)}."
    return Headline(kicker="Doctor", title=phrases.processor(diagnosis.host), lead=lead)


def section(diagnosis: Diagnosis, document_index: int) -> Section:
    """What is broken first, then what a command would add, then what works."""
    by_level = {level: [check for check in diagnosis.checks if check.level == level] for level in Level}
    blocks: list[Block] = [
        Facts(
            (
                ("Processor", phrases.processor(diagnosis.host)),
                ("Memory", phrases.memory_state(diagnosis.host)),
                *((plain(chip.device_id), phrases.device(chip)) for chip in diagnosis.devices if chip.kind != "cpu"),
                *((plain(report.engine_id), phrases.engine(report)) for report in diagnosis.engines),
            )
        )
    ]
    blocks += _mendable(by_level[Level.PROBLEM], Tone.BAD)
    blocks += _mendable(by_level[Level.MENDABLE], Tone.CAUTION)
    for title, level in (("Works", Level.OK), ("Not in this machine", Level.ABSENT)):
        if by_level[level]:
            lines = tuple(plain(line) for line in phrases.checks(by_level[level]))
            blocks.append(Fold(f"{title} ({len(by_level[level])})", (Bullets(lines),), open=level is Level.OK))
    return Section(section_id=f"doctor-{document_index}", title="What can run here", nav="Doctor", blocks=tuple(blocks))


def _mendable(checks: list[Check], tone: Tone) -> list[Block]:
    """Each fix once, under everything that it mends."""
    blocks: list[Block] = []
    for fix in dict.fromkeys(check.fix for check in checks):
        lines = phrases.checks([check for check in checks if check.fix == fix])
        blocks += [Notice(plain(line), tone) for line in lines]
        blocks += [Command(plain(fix))] if fix else []
    return blocks
