"""Time a model behind an OpenAI-compatible server and set the measurement beside the prediction.

Every prompt starts with words of its own, so that no server can answer from the cache of an earlier one.
"""

import random
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from advisor.clock import utc_now
from advisor.engines.base import EngineError
from advisor.engines.openai_http import Answer, Endpoint, NoListError, ask, count_prompt_tokens, list_models
from advisor.types import EngineBuild, Estimate, Observed, ValidationRecord, ValidationStatus
from advisor.validation import sanity, verdict
from probes.base import Clock, SystemClock

ENGINE_ID = "openai-compatible"
_WORDS = (
    "apple",
    "river",
    "stone",
    "cloud",
    "green",
    "seven",
    "light",
    "house",
    "quiet",
    "table",
    "winter",
    "paper",
    "garden",
    "silver",
    "music",
    "road",
)
_TRIAL_WORDS, _TRIAL_TOKENS = 64, 4
_DECODE_TOKENS, _LEAST_DECODE_TOKENS = 64, 2
_PREFILL_SHARE, _DECODE_SHARE = 0.6, 0.3  # of the time budget, for all prompts and for all answers
_LONGER_TRIAL_SHARE = 0.1
_LEAST_PROMPT_TOKENS = 16
_CACHED_FRAC = 0.05  # of the prompts: the chat template's own words are always cached
_WHOLE_FRAC = 0.75  # of the prompt asked for; shorter ones are said so
_MIN_ROUNDS, _MAX_ROUNDS = 3, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How long to measure, and by which clock."""

    budget_s: float = 60.0
    clock: Clock = field(default_factory=SystemClock)
    profile_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """How long prompts and answers are, and words for each of the prompt's tokens."""

    prompt_tokens: int
    output_tokens: int
    words_per_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rung of the concurrency ladder: so many users at once."""

    users_count: int
    answers: tuple[Answer, ...]


def make_prompt(words_count: int, seed: int) -> str:
    """A prompt of about so many words that no server has seen before.

    It opens with its own random words: prompt caches match from the beginning.
    """
    words = random.Random(seed)
    opening = " ".join(words.choices(_WORDS, k=8))
    filler = " ".join(words.choices(_WORDS, k=max(0, words_count - 8)))
    return f"{seed:08x} {opening} {filler} Write a long story with all of these words."


def validate_endpoint(estimate: Estimate, endpoint: Endpoint, setting: Setting) -> ValidationRecord:
    """Time a served model; failures are records too."""
    try:
        return _record(estimate, endpoint, setting)
    except EngineError as error:
        return ValidationRecord(
            estimate=estimate,
            engine=_build(endpoint),
            weights="real",
            status=ValidationStatus.FAILED,
            observed=Observed(),
            reason=str(error),
            profile_id=setting.profile_id,
            created_at=utc_now(),
        )


def _build(endpoint: Endpoint, build: str | None = None) -> EngineBuild:
    return EngineBuild(id=ENGINE_ID, version=endpoint.model, build=build)


def _record(estimate: Estimate, endpoint: Endpoint, setting: Setting) -> ValidationRecord:
    _require_model(endpoint)
    workload = estimate.workload
    question = ask(endpoint, sanity.PROMPT, sanity.ANSWER_TOKENS)  # also loads the model where that is lazy
    rungs = climb(endpoint, workload.prompt_tokens, workload.concurrency_count, setting)
    wanted = rungs[-1].answers
    observed = _observed(wanted, workload.prompt_tokens)
    fault = sanity.garbage_reason(question.stream.text, question.stream.finish_reason)
    return ValidationRecord(
        estimate=estimate,
        engine=_build(endpoint, question.build),
        weights="real",
        status=ValidationStatus.FAILED if fault else ValidationStatus.OK,
        observed=observed,
        error_frac={} if fault else verdict.errors(estimate, observed, cold=False),
        within_interval={} if fault else verdict.within(estimate, observed, cold=False),
        reason=fault,
        samples=_samples(rungs),
        profile_id=setting.profile_id,
        created_at=utc_now(),
        answer=question.stream.text,
        notes=tuple(_notes(wanted, workload.prompt_tokens)),
    )


def _require_model(endpoint: Endpoint) -> None:
    try:
        names = list_models(endpoint)
    except NoListError:  # the first question will tell
        return
    if names and endpoint.model not in names:
        raise EngineError(f"the server does not offer {endpoint.model!r}; it offers {', '.join(names[:8])[:200]}")


def climb(endpoint: Endpoint, prompt_tokens: int, users_count: int, setting: Setting) -> tuple[Rung, ...]:
    """Time 1, 2, 4, … users at once up to ``users_count``, in several rounds each while time allows.

    Prompts and answers are as long as there is time for.
    """
    started_s = setting.clock.now()
    seeds = random.Random(round(started_s * 1e6))
    steps = _steps(users_count)
    size = _affordable_size(endpoint, prompt_tokens, _MIN_ROUNDS + sum(steps[1:]), setting.budget_s, seeds)
    rungs: list[Rung] = []
    for index, users in enumerate(steps):
        deadline_s = started_s + setting.budget_s * (index + 1) / len(steps)
        answers: list[Answer] = []
        round_s = 0.0
        for round_index in range(_MAX_ROUNDS):
            least = _MIN_ROUNDS if users == 1 and round_s * _MIN_ROUNDS <= setting.budget_s else 1
            if round_index >= least and setting.clock.now() + round_s > deadline_s:
                break
            round_started_s = setting.clock.now()
            answers += _ask_at_once(endpoint, [_prompt(size, seeds) for _ in range(users)], size)
            round_s = setting.clock.now() - round_started_s
        rungs.append(Rung(users_count=users, answers=tuple(answers)))
    return tuple(rungs)


def _prompt(size: _Size, seeds: random.Random) -> str:
    return make_prompt(round(size.prompt_tokens * size.words_per_token), seeds.getrandbits(32))


def _affordable_size(
    endpoint: Endpoint, prompt_tokens: int, passes_count: int, budget_s: float, seeds: random.Random
) -> _Size:
    """Prompts and answers of which so many can be had in the time.

    Told from a short prompt; where that leaves doubt, from a longer one too: a short one is mostly overhead.
    """
    prompt = make_prompt(_TRIAL_WORDS, seeds.getrandbits(32))
    trial = ask(endpoint, prompt, _TRIAL_TOKENS)
    token_s = trial.decode_s_per_token
    most = int(budget_s * _DECODE_SHARE / passes_count / token_s) if token_s else _DECODE_TOKENS
    size = _Size(
        prompt_tokens=prompt_tokens,
        output_tokens=max(_LEAST_DECODE_TOKENS, min(_DECODE_TOKENS, most)),
        words_per_token=_words_per_token(endpoint, prompt, trial),
    )
    spare_s = budget_s * _PREFILL_SHARE / passes_count
    affordable = _tokens_within(spare_s, trial.stream.first_token_s or 0.0, round(_TRIAL_WORDS / size.words_per_token))
    longer = int(affordable * _LONGER_TRIAL_SHARE)
    if affordable < prompt_tokens and longer > _TRIAL_WORDS:
        again = ask(endpoint, _prompt(replace(size, prompt_tokens=longer), seeds), 1)
        affordable = _tokens_within(spare_s, again.stream.first_token_s or 0.0, longer)
    return replace(size, prompt_tokens=min(prompt_tokens, max(_LEAST_PROMPT_TOKENS, affordable)))


def _words_per_token(endpoint: Endpoint, prompt: str, trial: Answer) -> float:
    """How many of our words make a token of this model; one where the server does not count."""
    tokens = trial.prompt_tokens if trial.counted_by_server else count_prompt_tokens(endpoint, prompt)
    return _TRIAL_WORDS / tokens if tokens else 1.0


def _tokens_within(spare_s: float, first_token_s: float, tokens_count: int) -> int:
    return int(spare_s / max(first_token_s, 1e-6) * tokens_count)


def _with_count(answer: Answer, prompt_tokens: int) -> Answer:
    """The answer; where its stream counted no tokens, with as many prompt tokens as the prompt was made for."""
    return answer if answer.prompt_tokens else replace(answer, prompt_tokens=prompt_tokens)


def _steps(users_count: int) -> list[int]:
    steps = [1]
    while steps[-1] < users_count:
        steps.append(min(users_count, steps[-1] * 2))
    return steps


def _ask_at_once(endpoint: Endpoint, prompts: Sequence[str], size: _Size) -> list[Answer]:
    with ThreadPoolExecutor(max_workers=len(prompts)) as pool:
        answers = pool.map(partial(ask, endpoint, max_tokens=size.output_tokens), prompts)
        return [_with_count(answer, size.prompt_tokens) for answer in answers]


def _observed(answers: Sequence[Answer], prompt_tokens: int) -> Observed:
    """Middle figures per user; the prompt's speed comes from the server's own count of its tokens."""
    firsts = [(a.stream.first_token_s, (a.prompt_tokens or prompt_tokens) - (a.cached_tokens or 0)) for a in answers]
    s_per_prompt_token = [first / count for first, count in firsts if first and count > 0]
    decodes = [seconds for answer in answers if (seconds := answer.decode_s_per_token)]
    middle = statistics.median(s_per_prompt_token) if s_per_prompt_token else None
    return Observed(
        prefill_tokens_per_s=1.0 / middle if middle else None,
        decode_tokens_per_s=1.0 / statistics.median(decodes) if decodes else None,
        first_token_s=middle * prompt_tokens if middle else None,
    )


def _samples(rungs: Sequence[Rung]) -> dict[str, tuple[float, ...]]:
    samples: dict[str, tuple[float, ...]] = {}
    for rung in rungs:
        name = f"users_{rung.users_count}"
        answers = rung.answers
        samples[f"{name}.first_token_s"] = tuple(a.stream.first_token_s or 0.0 for a in answers)
        samples[f"{name}.decode_s_per_token"] = tuple(a.decode_s_per_token or 0.0 for a in answers)
        samples[f"{name}.prompt_tokens"] = tuple(float(a.prompt_tokens) for a in answers)
        samples[f"{name}.output_tokens"] = tuple(float(a.output_tokens) for a in answers)
    last = rungs[-1].answers[-1].stream
    samples["token_timestamps_s"] = tuple(moment - last.started_s for moment in last.token_s)
    return samples


def _notes(answers: Sequence[Answer], prompt_tokens: int) -> Iterator[str]:
    read = statistics.fmean(answer.prompt_tokens for answer in answers)
    if read < _WHOLE_FRAC * prompt_tokens:
        yield (
            f"prompts of {read:.0f} tokens were sent, there was no time for {prompt_tokens}; the wait for those"
            " follows from the speed, so it leaves out what attention adds"
        )
    if not all(answer.counted_by_server for answer in answers):
        yield "the stream counts no tokens: each of its pieces was taken for one, the prompt's follow from its words"
    cached = sum(answer.cached_tokens or 0 for answer in answers)
    if cached > _CACHED_FRAC * sum(answer.prompt_tokens for answer in answers):
        yield f"the server had {cached} prompt tokens in its cache already; they are not counted as read"
