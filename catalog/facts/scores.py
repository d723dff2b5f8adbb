"""Abilities to the catalog's quality scores: one 0-100 scale per task, an 80 % interval, its evidence."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.facts.ability import Posterior, Subject, Variances, fit
from catalog.facts.accuracy import LeftOut, left_out
from catalog.facts.benchmarks import Observation, observations
from catalog.quality import features
from catalog.records import model_from_record
from catalog.units import Z_80

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: What "general" means: knowledge first, then the tasks everyone asks for.
GENERAL_MIXTURE = {"general": 0.4, "chat": 0.2, "reasoning": 0.15, "coding": 0.15, "multilingual": 0.1}
TEXT_TASKS = ("coding", "chat", "reasoning", "agentic", "rag", "vision", "multilingual")
_ANCHORS = {"text": "meta-llama/Llama-3.3-70B-Instruct", "embedding": "BAAI/bge-base-en-v1.5"}  # score 50
_POINTS_SCALE = {"text": 1.2, "embedding": 0.35}  # θ per nat of score
_UNMEASURED_SHIFT = 0.25  # θ; models nobody has measured tend to be the weaker ones
_UNMEASURED_SD = 0.2
_UNVERIFIED_SHIFT = 0.1  # θ; models that only their maker has measured
_DERIVED_SD = 0.15  # a fine-tune without scores of its own
_DERIVED_SHIFT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Everything the quality fit yields."""

    records: dict[str, dict[str, list[Any]]]  # model -> task -> low, mid, high, imputed, evidence
    fallback: dict[str, list[float]]  # task -> intercept, slopes by feature, sd: for models fetched later
    left_out: tuple[LeftOut, ...]
    text: Posterior
    embedding: Posterior


def score_models(
    models: Sequence[Mapping[str, Any]],
    rows: Iterable[Mapping[str, str]],
    conflicts: Iterable[Mapping[str, str]],
    today_year: float,
    variances: Variances | None = None,
) -> Scores:
    """Fit abilities and turn them into score records for every model and task it serves."""
    observed = observations(rows, conflicts, models)
    subjects = {subject.model_id: subject for subject in make_subjects(models)}
    posteriors = {}
    for name in ("text", "embedding"):
        own = [one for one in observed if (one.task == "embedding") == (name == "embedding")]
        seen = sorted({one.model_id for one in own})
        posteriors[name] = fit(own, [subjects[model_id] for model_id in seen], variances or Variances(), today_year)
    tests = (*left_out(posteriors["text"]), *left_out(posteriors["embedding"]))
    records: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    fallback = {}
    for task in (*TEXT_TASKS, "general", "embedding"):
        posterior = posteriors["embedding" if task == "embedding" else "text"]
        table = _TaskTable(task, models, observed, subjects, posterior)
        table.widen({test.kept: test.width_factor for test in tests if test.task == task})
        for model_id, record in table.records().items():
            records[model_id][task] = record
        fallback[task] = table.fallback()
    return Scores(
        records=dict(records),
        fallback=fallback,
        left_out=tests,
        text=posteriors["text"],
        embedding=posteriors["embedding"],
    )


def make_subjects(models: Sequence[Mapping[str, Any]]) -> list[Subject]:
    """Models as the ability process sees them."""
    by_id = {model["model_id"]: model for model in models}
    dates: dict[str, list[str]] = defaultdict(list)
    for model in models:
        if model.get("release_date"):
            dates[model.get("family", "")].append(model["release_date"])
    middle = {family: sorted(known)[len(known) // 2] for family, known in dates.items()}
    return [
        Subject(
            model_id=model["model_id"],
            features=features(
                model_from_record(_dated_by_root(model, by_id)), middle.get(model.get("family", "-"), "2024-06")
            ),
            lineage=_root(model, by_id),
            family=model.get("family") or model["model_id"],
            maker=model["org"],
        )
        for model in models
    ]


def _dated_by_root(model: Mapping[str, Any], by_id: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The model as old as what it was tuned from: a late fine-tune of an old model knows what that knew."""
    root = by_id[_root(model, by_id)]
    return {**model, "release_date": root["release_date"]} if root.get("release_date") else model


def _root(model: Mapping[str, Any], by_id: Mapping[str, Mapping[str, Any]]) -> str:
    seen = [model["model_id"]]
    while (parent := by_id[seen[-1]].get("derived_from")) and parent not in seen:
        seen.append(parent)
    return str(seen[-1])


class _TaskTable:
    """The scores of one task."""

    def __init__(
        self,
        task: str,
        models: Sequence[Mapping[str, Any]],
        observed: Sequence[Observation],
        subjects: Mapping[str, Subject],
        posterior: Posterior,
    ) -> None:
        self._scale = "embedding" if task == "embedding" else "text"
        self._models = [model for model in models if task in model.get("tasks", ())]
        self._subjects = [subjects[model["model_id"]] for model in self._models]
        self._mixture = GENERAL_MIXTURE if task == "general" else {task: 1.0}
        self._at_task: dict[str, list[Observation]] = defaultdict(list)
        self._anywhere: dict[str, set[str]] = defaultdict(set)
        for one in observed:
            self._anywhere[one.model_id].add(one.task)
            if one.task in self._mixture:
                self._at_task[one.model_id].append(one)
        verified = {one.model_id for one in observed if one.reported_frac < 1}
        self._unverified = set(self._anywhere) - verified
        self._measured_lines = {subjects[model_id].lineage for model_id in self._anywhere}
        self._mean, self._sd = posterior.predict(self._subjects, self._mixture)
        anchor = [subjects[_ANCHORS[self._scale]]]
        anchor_tasks = ("embedding",) if self._scale == "embedding" else tuple(GENERAL_MIXTURE)
        self._center = float(np.mean([posterior.predict(anchor, {name: 1.0})[0][0] for name in anchor_tasks]))

    def widen(self, factor: Mapping[str, float]) -> None:
        """Multiply widths by what left-out errors ask for, by how much is known of a model."""
        seen = np.array([subject.lineage in self._measured_lines for subject in self._subjects])
        self._sd *= np.where(seen, factor["other tasks"], factor["nothing"])

    def records(self) -> dict[str, list[Any]]:
        """Low, mid, high, imputed and evidence by model."""
        low, mid, high = self._intervals()
        found = {}
        for number, model in enumerate(self._models):
            own = self._at_task.get(model["model_id"], [])
            points = [round(self._points(bound[number]), 1) for bound in (low, mid, high)]
            found[model["model_id"]] = [*points, not own, self._evidence(model, own)]
        return found

    def fallback(self) -> list[float]:
        """A plain regression of the scores on the features, for models that join later."""
        x = np.array([(1.0, *subject.features) for subject in self._subjects])
        weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ self._mean)
        residual = self._mean - x @ weights
        spread = math.sqrt(float(residual @ residual) / len(residual) + float((self._sd**2).mean()))
        nats = [weights[0] - self._center - _UNMEASURED_SHIFT, *weights[1:], spread + _UNMEASURED_SD]
        return [round(float(value) / _POINTS_SCALE[self._scale], 4) for value in nats]

    def _intervals(self) -> tuple[Array, Array, Array]:
        """80 % bounds of θ, held below measured models where nobody has measured a model's line.

        An unmeasured model never outranks, at the middle or the lower bound, the best measured model
        that is not larger; a fine-tune without scores never outranks what it was tuned from.
        """
        mid, sd = self._mean.copy(), self._sd.copy()
        position = {model["model_id"]: number for number, model in enumerate(self._models)}
        measured = np.array([subject.lineage in self._measured_lines for subject in self._subjects])
        own = np.array([model["model_id"] in self._anywhere for model in self._models])
        mid[~measured] -= _UNMEASURED_SHIFT
        mid[np.array([model["model_id"] in self._unverified for model in self._models])] -= _UNVERIFIED_SHIFT
        sd[~measured] = np.hypot(sd[~measured], _UNMEASURED_SD)
        sd[~own & measured] = np.hypot(sd[~own & measured], _DERIVED_SD)
        high = mid + Z_80 * sd
        for number, model in enumerate(self._models):
            parent = position.get(model.get("derived_from", ""))
            if parent is not None and not own[number]:
                mid[number] = min(mid[number], mid[parent] - _DERIVED_SHIFT)
        low = mid - Z_80 * sd
        self._hold_below_measured(low, mid, measured, own)
        return low, mid, np.maximum(high, mid)

    def _hold_below_measured(self, low: Array, mid: Array, measured: Flags, own: Flags) -> None:
        """Lower the middle and lower bound of unmeasured models to those of measured ones not larger."""
        sizes = np.array([model["params_total_count"] for model in self._models])
        for number in np.flatnonzero(~measured).tolist():
            rivals = own & (sizes <= sizes[number])
            if rivals.any():
                mid[number] = min(mid[number], mid[rivals].max())
                low[number] = min(low[number], low[rivals].max(), mid[number])

    def _points(self, ability: float) -> float:
        return 100 / (1 + math.exp(-(ability - self._center) / _POINTS_SCALE[self._scale]))

    def _evidence(self, model: Mapping[str, Any], own: Sequence[Observation]) -> list[str]:
        if own:
            marks: dict[str, set[str]] = defaultdict(set)
            for one in own:
                marks[one.family] |= {"reported" if one.reported_frac else "measured"} | (
                    {"thinking"} if one.thinking else set()
                )
            return [f"{family} ({', '.join(sorted(kinds))})" for family, kinds in sorted(marks.items())]
        if model["model_id"] in self._anywhere:
            return [f"imputed from its scores at {', '.join(sorted(self._anywhere[model['model_id']]))}"]
        if model.get("derived_from") in self._anywhere:
            return [f"imputed from {model['derived_from']}"]
        return ["imputed from family, size and date"]
