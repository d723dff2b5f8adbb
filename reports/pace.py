"""How fast a pick is at its task: tokens generated per second, or documents read by one that generates nothing."""

from advisor.types import Choice, Estimate, Interval, Task
from reports import format as fmt
from reports.text import plain


def reads_only(task: str) -> bool:
    """Whether a task's answers are no text, so that no speed of generating them means anything."""
    return task == Task.EMBEDDING


def unit(task: str) -> str:
    """The unit of `speed`, short enough for a column."""
    return "docs/s" if reads_only(task) else "tok/s"


def unit_in_words(task: str) -> str:
    """The unit of `speed` for prose and for an axis."""
    return "documents per second" if reads_only(task) else "tokens per second"


def name(task: str) -> str:
    """What `speed` is called."""
    return "reading speed" if reads_only(task) else "generation speed"


def axis(task: str) -> str:
    """What an axis of speeds is called."""
    return f"{name(task).capitalize()} ({unit_in_words(task)})"


def speed(estimate: Estimate) -> Interval:
    """Tokens generated, or documents of the workload's length read, per second."""
    if not reads_only(estimate.workload.task):
        return estimate.decode_tokens_per_s
    each_s = estimate.first_token_s
    return Interval(low=1.0 / each_s.high, mid=1.0 / each_s.mid, high=1.0 / each_s.low)


def in_words(choice: Choice) -> str:
    """The first pick's speed and wait as half a sentence."""
    made = choice.estimate
    prompt = fmt.tokens(made.workload.prompt_tokens)
    pace = f"about {fmt.number(speed(made).mid)} {unit_in_words(made.workload.task)}"
    if reads_only(made.workload.task):
        return f"{pace}, of {prompt} tokens each"
    return f"{pace}, the first one after {fmt.duration(made.first_token_s.mid)} of reading a prompt of {prompt} tokens"


def wait_name(task: str) -> str:
    """What the time until a prompt is read is called."""
    return plain("Each document" if reads_only(task) else "First token")
