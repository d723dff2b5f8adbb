"""What a target is: the engine behind it, the settings it takes, and how its files are written."""

from collections.abc import Callable
from dataclasses import dataclass

from advisor.export.pick import DEFAULT_PORT, Endpoint, Pick, Stack
from advisor.export.settings import Setting, untaken
from advisor.export.text import inert
from advisor.launch import ENGINE_IDS


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of an export: a name of its own and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files of a target, the first of them the one ``-o`` names, and what the user must know."""

    files: tuple[File, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A program that a pick can be handed to.

    Attributes:
        write: makes the files; what it is told the target cannot take goes in as comments where there are any.
        engine_id: the engine that loads the weights; None: the pick's own, or none (see ``connects``).
        takes: the settings its files carry, where no engine of ours says what it takes.
        connects: it connects to a running server and loads nothing itself.
        stacks: it takes several models at once.
    """

    target_id: str
    write: Callable[[Stack, Endpoint, tuple[str, ...]], Exported]
    engine_id: str | None = None
    takes: frozenset[Setting] = frozenset()
    connects: bool = False
    stacks: bool = False

    def engine_of(self, pick: Pick) -> str:
        """The engine that loads a pick here."""
        return self.engine_id or pick.engine_id


def caveats(target: Target, stack: Stack) -> tuple[str, ...]:
    """One line per pick for the settings that a target cannot take; none are left out in silence."""
    lines = (_caveat(target, pick) for pick in stack.picks)
    return tuple(line for line in lines if line is not None)


def _caveat(target: Target, pick: Pick) -> str | None:
    engine_id = target.engine_of(pick)
    if target.connects:
        left = untaken(pick, target.takes)
        started = f"{target.target_id} connects to a server; {pick.name} is started with {', '.join(left)}"
        return started if left else None
    left = (
        pick.launch(port=DEFAULT_PORT, engine_id=engine_id).not_taken
        if engine_id in ENGINE_IDS
        else untaken(pick, target.takes)
    )
    return f"{target.target_id} cannot take: {'; '.join(left)} ({pick.name})" if left else None


def heading(stack: Stack) -> str:
    """What an export is of, in one line."""
    return inert(" + ".join(pick.label for pick in stack.picks), max_chars=300)
