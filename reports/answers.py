"""Answers beside a ranking, in words: why a model is not the pick, and how far a setting stretches."""

from collections.abc import Iterable, Iterator

from advisor.types import Change, Choice, Extreme, Rejection, StackMember, StackMode, StackPlan, Why
from reports import format as fmt
from reports import phrases
from reports.text import plain

_QUANTITIES = {"context_tokens": "Longest context", "concurrency_count": "Most users at once"}


def why_title(why: Why) -> str:
    """The heading of an answer: the model as it was asked about."""
    name = " ".join(filter(None, (phrases.short_name(why.model_id), why.quant_id)))
    return f"Why {'' if why.rank == 1 else 'not '}{plain(name)}"


def why_lines(why: Why) -> Iterator[str]:
    """The verdict, then what it lost on."""
    yield phrases.capitalised(phrases.sentence(why.verdict))
    for reason in why.lost_on:
        if reason not in why.verdict:
            yield phrases.capitalised(phrases.sentence(reason))


def change_lines(why: Why) -> Iterator[str]:
    """What would mend it, the smallest change first."""
    for change in why.changes:
        yield _change(change)
    if not why.changes and why.rank != 1:
        yield "Nothing smaller than another machine would change that; advisor plan lists those that run it."


def _change(change: Change) -> str:
    return phrases.sentence(f"{plain(change.option)}: {plain(change.effect)}")


def extreme_name(extreme: Extreme) -> str:
    """What an inverse question asks for, with the cache's type."""
    kv = f" ({plain(extreme.kv_quant_id)} cache)" if extreme.kv_quant_id else ""
    return f"{_QUANTITIES.get(extreme.quantity, plain(extreme.quantity))}{kv}"


def extreme_value(extreme: Extreme) -> str:
    """The answer of an inverse question, in a few characters."""
    if not extreme.value:
        return "none"
    if extreme.quantity == "context_tokens":
        return fmt.tokens(extreme.value)
    return fmt.count(extreme.value)


def extreme_text(extreme: Extreme) -> str:
    """The answer with its speed and with what limits it."""
    parts = [extreme_value(extreme)]
    if extreme.quantity == "context_tokens" and extreme.value:
        parts = [f"{extreme_value(extreme)} tokens"]
    if extreme.decode_tokens_per_s is not None:
        how = "when full" if extreme.quantity == "context_tokens" else "each"
        parts.append(f"{fmt.interval(extreme.decode_tokens_per_s)} tok/s {how}")
    return f"{' at '.join(parts)}; limited by {plain(extreme.limited_by)}: {plain(extreme.reason)}"


def extreme_cells(choices: Iterable[Choice]) -> tuple[tuple[str, str], ...]:
    """Headings of a table's further columns for the extremes that the picks carry, with their quantity."""
    asked = {extreme.quantity for choice in choices for extreme in choice.estimate.extremes}
    names = (("context_tokens", "Longest"), ("concurrency_count", "Users"))
    return tuple((quantity, name) for quantity, name in names if quantity in asked)


def extreme_cell(choice: Choice, quantity: str) -> str:
    """A pick's own answer to one inverse question."""
    found = next((each for each in choice.estimate.extremes if each.quantity == quantity), None)
    return fmt.UNKNOWN if found is None else extreme_value(found)


# Stacks ---------------------------------------------------------------------------------------


def stack_mode(plan: StackPlan) -> str:
    """How the models share the memory."""
    if plan.mode is StackMode.CO_RESIDENT:
        return "all loaded at once"
    return "the small ones stay loaded, the large ones take turns"


def rejection_cells(rejection: Rejection) -> tuple[str, str, str]:
    """One line of a table of what is not ranked: model, why not, what would change it."""
    return (
        phrases.rejection_name(rejection),
        phrases.capitalised(rejection.reason),
        phrases.capitalised(rejection.fix or fmt.UNKNOWN),
    )


def member_cells(member: StackMember) -> tuple[str, ...]:
    """One line of a stack's table: jobs, model, quant, speed, first token, memory, where."""
    estimate = member.choice.estimate
    return (
        ", ".join(map(plain, member.jobs)),
        phrases.choice_name(member.choice),
        plain(estimate.quant_id),
        fmt.interval(estimate.decode_tokens_per_s),
        fmt.duration(estimate.first_token_s.mid),
        fmt.gib(estimate.memory.total_bytes).removesuffix(" GiB"),
        member_place(member),
    )


REJECTION_HEADERS = ("Model", "Why not", "What would change it")
MEMBER_HEADERS = ("Does", "Model", "Quant", "tok/s", "1st token", "GiB", "On")


def member_place(member: StackMember) -> str:
    """The devices that hold a member's layers, and the wait where it is not always loaded."""
    place = "+".join(plain(device) for device in member.choice.estimate.deployment.layers_by_device)
    return place if member.swap_s is None else f"{place}, loads {fmt.duration(member.swap_s)}"
