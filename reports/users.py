"""Several users at once: how many sessions fit and what each user gets, as rows of text and on a console."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from advisor.types import CacheLayout, Concurrency, SessionRoom, UsersSpeed, Workload
from advisor.workloads import MAX_CONCURRENCY
from reports import format as fmt
from reports import terminal
from reports.text import plain

if TYPE_CHECKING:
    from rich.console import Console

#: What a layout is called in a table, in full and in a word.
_LAYOUTS: Mapping[str, tuple[str, str]] = {
    CacheLayout.SLOTS: ("llama.cpp, a slot each (-np)", "slots"),
    CacheLayout.UNIFIED: ("llama.cpp, one cache (--kv-unified)", "one cache"),
    CacheLayout.GROWING: ("MLX, all as long as the longest", "growing"),
    CacheLayout.PAGED: ("vLLM, pages", "pages"),
    CacheLayout.PAGED_SHARED: ("vLLM, pages, the prefix kept once", "shared pages"),
}


ROOM_HEADERS = ("Caches", "Sessions", "Tokens each", "Cache each")
SPEED_HEADERS = ("Users", "tok/s each", "tok/s in all", "Last 1st token", "Fits as")


def print_concurrency(console: "Console", shared: Concurrency, load: Workload) -> None:
    """Sessions that fit by the layout of their caches, and speed and waits by the number of users."""
    terminal.section(console, "Users at once")
    rooms = terminal.table(*ROOM_HEADERS, right=(1, 2, 3), folds=(0,))
    for cells in room_rows(shared, load):
        rooms.add_row(*map(terminal.text, cells))
    console.print(rooms)
    console.print()
    speeds = terminal.table(*SPEED_HEADERS, right=range(4), folds=(4,))
    for cells in speed_rows(shared):
        speeds.add_row(*map(terminal.text, cells))
    console.print(speeds)
    console.print(terminal.text(" ".join(notes(shared, load)), "dim"))


def room_rows(shared: Concurrency, load: Workload) -> Iterator[tuple[str, ...]]:
    """A row for each layout, by `ROOM_HEADERS`."""
    for room in shared.rooms:
        reserves = room.layout == CacheLayout.SLOTS
        yield (
            _name(room),
            _sessions(room),
            fmt.tokens(load.context_tokens if reserves else shared.session_tokens),
            fmt.gib(room.session_bytes) if room.session_bytes else fmt.UNKNOWN,
        )


def speed_rows(shared: Concurrency) -> Iterator[tuple[str, ...]]:
    """A row for each number of users, by `SPEED_HEADERS`."""
    for speed in shared.speeds:
        yield (
            fmt.count(speed.users_count),
            fmt.interval(speed.decode_tokens_per_s),
            fmt.number(speed.total_tokens_per_s),
            _last_wait(speed),
            _fitting(speed, shared),
        )


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


def notes(shared: Concurrency, load: Workload) -> Iterator[str]:
    """What the columns mean."""
    held = fmt.tokens(shared.session_tokens)
    yield f"A session holds {held} tokens when its answer ends; a slot reserves {fmt.tokens(load.context_tokens)}."
    yield "Last 1st token: the wait of the last where all prompts come at once."
    if shared.shared_prefix_tokens:
        yield f"In brackets there: with the first {fmt.tokens(shared.shared_prefix_tokens)} read once for all."
    if any(room.layout in (CacheLayout.PAGED, CacheLayout.PAGED_SHARED) for room in shared.rooms):
        yield "Room in vLLM is for weights of this size."
