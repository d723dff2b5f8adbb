"""Answers beside a ranking, as sections: why a model is not the pick, how far settings stretch, models together."""

from advisor.types import Estimate, Recommendation, StackPlan
from reports import answers, phrases, users
from reports.blocks import Block, Bullets, Command, Fold, Grid, Headline, Paragraph, Section
from reports.sections.recommendation import memory_bar
from reports.text import plain, plain_block


def why_section(recommendation: Recommendation, document_index: int, suffix: str = "") -> Section | None:
    """Where the model that was asked about stands; None where none was."""
    why = recommendation.why
    if why is None:
        return None
    blocks: list[Block] = [Bullets(tuple(answers.why_lines(why)))]
    changes = tuple(answers.change_lines(why))
    if changes:
        blocks += [Paragraph("What would change it, the smallest first:"), Bullets(changes)]
    return Section(
        section_id=f"why-{document_index}",
        title=f"{answers.why_title(why)}{suffix}",
        nav="Why",
        blocks=tuple(blocks),
    )


def extremes(estimate: Estimate) -> tuple[Block, ...]:
    """Answers to inverse questions, where they were asked."""
    if not estimate.extremes:
        return ()
    rows = tuple((answers.extreme_name(each), answers.extreme_text(each)) for each in estimate.extremes)
    return (Grid(caption="How far it stretches", headers=("Question", "Answer"), rows=rows),)


def concurrency(estimate: Estimate) -> tuple[Block, ...]:
    """Sessions that fit and what each user gets, where several users were asked about."""
    shared = estimate.concurrency
    if shared is None:
        return ()
    rooms, speeds = tuple(users.room_rows(shared, estimate.workload)), tuple(users.speed_rows(shared))
    return (
        Paragraph("Sessions that fit, by how an engine keeps their caches:"),
        Grid(caption="Sessions that fit", headers=users.ROOM_HEADERS, rows=rooms, numeric=frozenset({1, 2, 3})),
        Paragraph("What each user gets, by the number of users at once:"),
        Grid(caption="Users at once", headers=users.SPEED_HEADERS, rows=speeds, numeric=frozenset({0, 1, 2, 3})),
        Paragraph(" ".join(users.notes(shared, estimate.workload))),
    )


def stack_headline(plan: StackPlan) -> Headline:
    """What to run together, in one breath."""
    names = " + ".join(phrases.choice_name(member.choice) for member in plan.members)
    return Headline(
        kicker=f"Models for {', '.join(map(plain, plan.jobs))} together on {plain(plan.hardware)}",
        title=names or "None",
        lead=phrases.capitalised(phrases.sentence(answers.stack_mode(plan) if names else " ".join(plan.reasons))),
        blocks=tuple(memory_bar(device) for device in plan.devices),
    )


def stack_section(plan: StackPlan, document_index: int) -> Section:
    """The members with their jobs, why this arrangement, and the commands; without any, what was considered."""
    if not plan.members:
        return _refused_stack_section(plan, document_index)
    grid = Grid(
        caption="Models that live together",
        headers=answers.MEMBER_HEADERS,
        rows=tuple(answers.member_cells(member) for member in plan.members),
        numeric=frozenset({3, 4, 5}),
    )
    commands = tuple(Command(plain_block(member.choice.command)) for member in plan.members)
    return Section(
        section_id=f"stack-{document_index}",
        title="Who does what",
        nav="Stack",
        blocks=(grid, Bullets(tuple(map(phrases.capitalised, plan.reasons))), Fold("Commands", commands, open=True)),
    )


def _refused_stack_section(plan: StackPlan, document_index: int) -> Section:
    grid = Grid(
        caption="Models that were considered",
        headers=answers.REJECTION_HEADERS,
        rows=tuple(map(answers.rejection_cells, plan.rejected)),
    )
    blocks = (Bullets(tuple(map(phrases.capitalised, plan.reasons))), *((grid,) if plan.rejected else ()))
    return Section(section_id=f"stack-{document_index}", title="Why there is none", nav="Stack", blocks=blocks)
