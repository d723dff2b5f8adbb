"""Published benchmark rows as observations of a model's ability at a task.

An observation is one (model, task, benchmark) cell on an unbounded scale: the logit of a percentage,
an Elo rating in nats, a negated rank. Cells of one benchmark family (every ``arena_*``, every
``livebench_*``) are siblings; the ability model counts them as one.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.facts.lineage import name_key, precision_base_key

_TASK_OF_SOURCE = {"long_context": "rag", "rag_summarization": "rag"}
_ELO_NATS = math.log(10) / 400
_CLIP = 1.0  # percentage points from either end

# Benchmarks that say nothing about the task they are filed under, parts of one that is kept whole, base-model runs.
# edgebench cuts answers at a length that thinking models exceed: it ranks Gemma 2 9B above Gemma 4 E4B at agentic work.
_LEFT_OUT = re.compile(
    r"^bfcl_v4_(?!overall|reported)|^oll_v2_average$|^vectara_answer_rate$|^euroeval_en_ner$|_base$|^arena_refactor"
    r"|^edgebench|^mmmu_2shot|^osworld|^screenspot"
)
_FAMILIES = (
    (r"^arena_hard", "arena_hard"),
    (r"^arena_", "arena"),
    (r"^livebench", "livebench"),
    (r"^oll_v2", "open_llm_leaderboard"),
    (r"^euroeval", "euroeval"),
    (r"^bigcodebench", "bigcodebench"),
    (r"^(?:humaneval|mbpp|evalplus)", "evalplus"),
    (r"^livecodebench", "livecodebench"),
    (r"^aider", "aider"),
    (r"^bfcl", "bfcl"),
    (r"^tau", "tau"),
    (r"^swebench|^deepswe", "swebench"),
    (r"^terminal_bench", "terminal_bench"),
    (r"^(?:ruler|nolima)", "ruler"),
    (r"^vectara", "vectara"),
    (r"^mteb", "mteb"),
    (r"^(?:aime|hmmt|imo)", "contest_math"),
    (r"^(?:math|gsm8k)", "math"),
    (r"^mmlu|^mmmlu", "mmlu"),
    (r"^mmmu", "mmmu"),
    (r"^gpqa|^supergpqa", "gpqa"),
    (r"^mathv", "mathvista"),
    (r"^(?:docvqa|infovqa|chartqa|charxiv|ocrbench|cc_ocr|omnidocbench|textvqa|ai2d|mmlongbench)", "documents"),
    (r"^if", "ifeval"),
)
_TASKS_WITH_ANSWERS = frozenset({"coding", "reasoning", "rag"})
# Whose table a quoted figure comes from.
_TABLE_AUTHOR = re.compile(
    r"\b(Qwen|LFM|Gemma|MiniCPM|GLM|Kimi|EXAONE|Laguna|Mistral|Ministral|DeepSeek|Granite|Nemotron)"
)
# A mode in which a figure is not one answer of the model alone.
_UNFAIR_MODE = re.compile(r"cons@|maj@|with tools|best.of", re.IGNORECASE)
_EFFORT_MODE = re.compile(r"think|no-think|^(?:low|medium|high|max|enabled|turbo)$|effort|reasoning on", re.IGNORECASE)
_THINKING_MODE = re.compile(r"^(?!no|non).*think|^(?:high|max|enabled)$|reasoning on|effort=0\.9", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One cell: what a benchmark says of a model. ``spread`` is the disagreement between its sources."""

    model_id: str
    task: str
    benchmark: str
    family: str
    value: float
    reported_frac: float  # 1 as told by the model's maker, 0 as measured by a third party
    thinking: bool
    date: str
    spread: float = 0.0


def family_of(benchmark: str) -> str:
    """The sibling group of a benchmark."""
    name = re.sub(r"_(?:gpu_measured|reported)", "", benchmark)
    return next((family for pattern, family in _FAMILIES if re.search(pattern, name)), name)


def observations(
    rows: Iterable[Mapping[str, str]], conflicts: Iterable[Mapping[str, str]], models: Sequence[Mapping[str, Any]]
) -> list[Observation]:
    """Every usable cell of the models that serve the benchmark's task."""
    known = _Identities(models)
    spread = {(row["hf_id"], row["benchmark"]): float(row["spread_points"]) for row in conflicts}
    cells: dict[tuple[str, str, str], list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        task = _TASK_OF_SOURCE.get(row["task"], row["task"])
        model_id = known.original(row["hf_id"])
        if model_id and known.serves(model_id, task) and _usable(row):
            cells[model_id, task, row["benchmark"]].append(row)
    found = []
    for (model_id, task, benchmark), cell in sorted(cells.items()):
        chosen = _choose(cell)
        value = sum(_scaled(row) for row in chosen) / len(chosen)
        points = max(spread.get((row["hf_id"], benchmark), 0.0) for row in chosen)
        found.append(
            Observation(
                model_id=model_id,
                task=task,
                benchmark=benchmark,
                family=family_of(benchmark),
                value=value,
                reported_frac=max(_reported_frac(row, task, family_of(benchmark)) for row in chosen),
                thinking=any(_THINKING_MODE.search(row["mode"]) for row in chosen),
                date=max(row["date"] for row in chosen),
                spread=_spread(points, chosen[0]),
            )
        )
    return found


class _Identities:
    """Whose score a benchmark row is: the original of a copy, the base of a precision variant."""

    def __init__(self, models: Sequence[Mapping[str, Any]]) -> None:
        self._original = {model["model_id"]: model.get("duplicate_of", model["model_id"]) for model in models}
        self._by_key: dict[str, str] = {}
        for model in models:
            self._by_key.setdefault(name_key(model["model_id"]), self._original[model["model_id"]])
        self._tasks = {model["model_id"]: frozenset(model.get("tasks", ())) for model in models}

    def original(self, model_id: str) -> str | None:
        return self._original.get(model_id) or self._by_key.get(precision_base_key(model_id))

    def serves(self, model_id: str, task: str) -> bool:
        return task in self._tasks[model_id]


def _usable(row: Mapping[str, str]) -> bool:
    if _LEFT_OUT.search(row["benchmark"]) or _UNFAIR_MODE.search(row["mode"]):
        return False
    return float(row["score"]) > 0


def _choose(cell: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """The rows that stand for a cell: independent ones before the maker's, and the best mode of effort.

    A user can choose the mode, so the best counts; plain repetitions are averaged.
    """
    measured = [row for row in cell if row["kind"] == "measured"]
    rows = measured or list(cell)
    efforts = [row for row in rows if _EFFORT_MODE.search(row["mode"])]
    if len(rows) > 1 and efforts:
        return [max(rows, key=_scaled)]
    return rows


def _reported_frac(row: Mapping[str, str], task: str, family: str) -> float:
    """How much a figure deserves the caution due to makers' own: a rival's comparison table half of it.

    Preference votes measure how answers please; filed under a task that has right answers they get the
    same caution.
    """
    if row["kind"] == "measured":
        return 1.0 if family == "arena" and task in _TASKS_WITH_ANSWERS else 0.0
    author = _TABLE_AUTHOR.search(row["source_ref"])
    return 0.5 if author and author[1].lower() not in row["hf_id"].lower() else 1.0


def _scaled(row: Mapping[str, str]) -> float:
    score = float(row["score"])
    unit = row["unit"]
    if unit.startswith("rank"):
        return -score
    if unit.startswith("Elo") or unit == "rating":
        return score * _ELO_NATS
    if unit.startswith("score (max 100") and score <= 1:
        score *= 100
    share = min(max(score, _CLIP), 100 - _CLIP) / 100
    return math.log(share / (1 - share))


def _spread(points: float, row: Mapping[str, str]) -> float:
    """Half the disagreement of a cell's sources, on the observation's scale (logit slope at the cell)."""
    share = min(max(float(row["score"]) / 100, 0.1), 0.9)
    return points / 100 / 2 / (share * (1 - share))
