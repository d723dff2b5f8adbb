"""Models and their quality scores from the sources, as of the day the facts were gathered."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.facts.models import model_records
from catalog.facts.scores import Scores, score_models
from catalog.facts.sources import SOURCES_DIR, read_models, read_plain_table, read_table

FACTS_DATE = "2026-10"
TODAY_YEAR = 2026.75


def read_model_records(sources_dir: Path = SOURCES_DIR) -> list[dict[str, Any]]:
    """Every model's packaged record."""
    corrections = read_plain_table("corrections", sources_dir)
    benchmarks = read_table("benchmarks", sources_dir)
    return model_records(read_models(sources_dir), corrections, benchmarks, FACTS_DATE)


def fit_scores(sources_dir: Path = SOURCES_DIR, models: Sequence[Mapping[str, Any]] | None = None) -> Scores:
    """Quality scores of every model, and the fit they come from."""
    return score_models(
        models or read_model_records(sources_dir),
        read_table("benchmarks", sources_dir),
        read_table("bench_conflicts", sources_dir),
        TODAY_YEAR,
    )
