"""Several users at once, on a console: how many sessions fit, and what each user gets."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from advisor.types import CacheLayout, Concurrency, SessionRoom, UsersSpeed, Workload
from advisor.workloads import MAX_CONCURRENCY
from reports import format as fmt
from reports import terminal
from reports.text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: What a layout is called in a table, in full and in a word.
_LAYOUTS: Mapping[str, tuple[str, str]] = {
    CacheLayout.SLOTS: ("llama.cpp, a slot each (-np)", "slots"),
    CacheLayout.UNIFIED: ("llama.cpp, one cache (--kv-unified)", "one cache"),
    CacheLayout.GROWING: ("MLX, all as long as the longest", "growing"),
    CacheLayout.PAGED: ("vLLM, pages", "pages"),
    CacheLayout.PAGED_SHARED: ("vLLM, pages, the prefix kept once", "shared pages"),
}


def print_concurrency(console: "Console", shared: Concurrency, load: Workload) -> None:
    """Sessions that fit by the layout of their caches, and speed and waits by the number of users."""
    terminal.section(console, "Users at once")
    console.print(_rooms_table(shared, load))
    console.print()
    console.print(_speeds_table(shared))
    console.print(terminal.text(" ".join(_notes(shared, load)), "dim"))


def _rooms_table(shared: Concurrency, load: Workload) -> "Table":
    table = terminal.table("Caches", "Sessions", "Tokens each", "Cache each", right=(1, 2, 3), folds=(0,))
    for room in shared.rooms:
        reserves = room.layout == CacheLayout.SLOTS
        table.add_row(
            terminal.text(_name(room)),
            terminal.text(_sessions(room)),
            terminal.text(fmt.tokens(load.context_tokens if reserves else shared.session_tokens)),
            terminal.text(fmt.gib(room.session_bytes) if room.session_bytes else fmt.UNKNOWN),
        )
    return table


def _name(room: SessionRoom) -> str:
    name = _layout(room.layout)[0]
    if room.shared_bytes:
        name += f" ({fmt.gib(room.shared_bytes)})"
    return f"{name}: {plain(room.reason)}" if room.reason else name


def _layout(layout: str) -> tuple[str, str]:
    return _LAYOUTS.get(layout, (plain(layout), plain(layout)))


def _sessions(room: SessionRoom) -> str:
    if room.sessions_count >= MAX_CONCURRENCY:
        return f"{fmt.count(MAX_CONCURRENCY)} or more"
    return fmt.count(room.sessions_count)


def _speeds_table(shared: Concurrency) -> "Table":
    table = terminal.table(
        "Users", "tok/s each", "tok/s in all", "Last 1st token", "Fits as", right=range(4), folds=(4,)
    )
    for speed in shared.speeds:
        table.add_row(
            terminal.text(fmt.count(speed.users_count)),
            terminal.text(fmt.interval(speed.decode_tokens_per_s)),
            terminal.text(fmt.number(speed.total_tokens_per_s)),
            terminal.text(_last_wait(speed)),
            terminal.text(_fitting(speed, shared)),
        )
    return table


def _last_wait(speed: UsersSpeed) -> str:
    wait = fmt.duration(speed.last_first_token_s)
    if speed.last_first_token_shared_s is None:
        return wait
    return f"{wait} ({fmt.duration(speed.last_first_token_shared_s)})"


def _fitting(speed: UsersSpeed, shared: Concurrency) -> str:
    if not speed.layouts:
        return "nothing"
    if len(speed.layouts) == len(shared.rooms):
        return "all"
    return ", ".join(_layout(layout)[1] for layout in speed.layouts)


def _notes(shared: Concurrency, load: Workload) -> Iterator[str]:
    held = fmt.tokens(shared.session_tokens)
    yield f"A session holds {held} tokens when its answer ends; a slot reserves {fmt.tokens(load.context_tokens)}."
    yield "Last 1st token: the wait of the last where all prompts come at once."
    if shared.shared_prefix_tokens:
        yield f"In brackets there: with the first {fmt.tokens(shared.shared_prefix_tokens)} read once for all."
    if any(room.layout in (CacheLayout.PAGED, CacheLayout.PAGED_SHARED) for room in shared.rooms):
        yield "Room in vLLM is for weights of this size."
