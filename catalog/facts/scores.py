"""Benchmarks to one quality scale per task, with uncertainty."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

TASKS = ("coding", "chat", "reasoning", "agentic", "rag", "embedding", "vision", "multilingual", "general")
_TASK_BY_SOURCE = {"long_context": "rag", "rag_summarization": "rag"}
_Z80 = 1.2816


def score_records(
    models: Sequence[Mapping[str, Any]], rows: Iterable[Mapping[str, str]]
) -> dict[str, dict[str, list[Any]]]:
    """Per model and task: low, mid, high, imputed, evidence."""
    standard = _standardised(rows)
    scores: dict[str, dict[str, list[Any]]] = {model["model_id"]: {} for model in models}
    for task in TASKS:
        serving = [model for model in models if serves(model, task)]
        observed = {m["model_id"]: standard[m["model_id"], task] for m in serving if (m["model_id"], task) in standard}
        coefficients, sigma = _ridge(serving, observed)
        for model in serving:
            mid = float(_features(model) @ coefficients)
            values = observed.get(model["model_id"], [])
            noise = 0.6
            weight = len(values) / (len(values) + (noise / sigma) ** 2)
            spread = sigma * math.sqrt(1 - weight)
            if values:
                mid = weight * sum(value for _, value in values) / len(values) + (1 - weight) * mid
            low, high = mid - _Z80 * spread, mid + _Z80 * spread
            scaled = [round(100 / (1 + math.exp(-value)), 1) for value in (low, mid, high)]
            scores[model["model_id"]][task] = [*scaled, not values, sorted({name for name, _ in values})]
    return scores


def serves(model: Mapping[str, Any], task: str) -> bool:
    """Whether a model is of the kind a task needs."""
    capabilities = set(model.get("capabilities", ()))
    if task == "embedding":
        return "embedding" in capabilities
    if capabilities & {"embedding", "reranker", "base"}:
        return False
    return task != "vision" or "image" in model.get("modalities", ())


def _standardised(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], list[tuple[str, float]]]:
    by_benchmark: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["higher_is_better"] == "1":
            task = _TASK_BY_SOURCE.get(row["task"], row["task"])
            by_benchmark[task, row["benchmark"]][row["hf_id"]] = float(row["score"])
    standard: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for (task, benchmark), by_model in by_benchmark.items():
        spread = float(np.std(list(by_model.values())))
        if len(by_model) < 8 or spread == 0:
            continue
        center = float(np.mean(list(by_model.values())))
        for model_id, value in by_model.items():
            standard[model_id, task].append((benchmark, (value - center) / spread))
    return standard


def _features(model: Mapping[str, Any]) -> Any:
    total = math.log10(max(model["params_total_count"], 1e6)) - 10
    active = math.log10(max(model.get("params_active_count") or model["params_total_count"], 1e6)) - 10
    date = model.get("release_date") or "2024-06-01"
    years = int(date[:4]) + (int(date[5:7] or 6) - 1) / 12 - 2025
    return np.array([1.0, total, active, years])


def _ridge(serving: Sequence[Mapping[str, Any]], observed: Mapping[str, list[tuple[str, float]]]) -> tuple[Any, float]:
    known = [model for model in serving if model["model_id"] in observed]
    x = np.array([_features(model) for model in known])
    y = np.array([np.mean([value for _, value in observed[model["model_id"]]]) for model in known])
    coefficients = np.linalg.solve(x.T @ x + 1.0 * np.eye(4), x.T @ y)
    return coefficients, float(np.std(y - x @ coefficients))
