"""Fit the packaged data-sheet coefficients to published llama.cpp runs; print how far they hold elsewhere.

    python benchmarks/fit_datasheet.py             # tables only
    python benchmarks/fit_datasheet.py --write     # also write advisor/data/datasheet.json

Tables: errors and interval coverage with each chip left out of the fit (the whole chip, on every backend),
with each generation or model left out, and on the rows fitted on. Interval widths are those of the other chips'
residuals. Takes half a minute.
"""

import argparse
import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advisor.datasheets.accuracy import rival_speeds
from advisor.datasheets.coefficients import Coefficients, to_document
from advisor.datasheets.datasheet_fit import PHASES, PhaseFit, Sample, error_of_median, spread_of_residuals
from advisor.datasheets.posynomial import Floats
from advisor.datasheets.published import RowError, parse_row, price_row
from advisor.datasheets.traits import traits_of
from catalog.load import Catalog, load_catalog
from catalog.units import GIB, Z_80

Marks = NDArray[np.bool_]
ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "catalog" / "sources" / "published"
OWN_RUNS = ROOT / "catalog" / "sources" / "measured" / "llama_bench.csv"
OUTPUT = ROOT / "advisor" / "data" / "datasheet.json"
FOLDS_COUNT = 5
DRAWS_COUNT = 5
#: Rows that cannot be what they say (a 7-core M1 at 1849 tokens/s).
MISPRINTS = {("Apple M1 (7-core GPU)", "pp8192")}
#: What the batched runs call their models, and how those are quantised.
BATCHED_MODELS = {
    "GLM-4.7-Flash-GGUF": ("zai-org/GLM-4.7-Flash", "Q8_0"),
    "Qwen2.5-Coder-7B-Q8_0-GGUF": ("Qwen/Qwen2.5-Coder-7B-Instruct", "Q8_0"),
    "Qwen3-Coder-30B-A3B-Instruct-Q8_0-GGUF": ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "Q8_0"),
    "gemma-3-4b-it-qat-GGUF": ("google/gemma-3-4b-it", "Q4_0"),
    "gpt-oss-120b-GGUF": ("openai/gpt-oss-120b", "MXFP4"),
    "gpt-oss-20b-GGUF": ("openai/gpt-oss-20b", "MXFP4"),
}
OFFLOADED_MODELS = {"gemma4 26B.A4B": "google/gemma-4-26B-A4B-it"}
BATCHED_BACKENDS = {"NVIDIA GB10 (DGX Spark)": "CUDA", "Apple M2 Ultra (76-core GPU)": "Metal"}


def read_rows(name: str) -> list[dict[str, str]]:
    """Rows of a packed published table."""
    with gzip.open(PUBLISHED / name, "rb") as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")))


def own_rows(path: Path = OWN_RUNS) -> list[dict[str, str]]:
    """Rows that were measured for this project: fitted on, but no part of the tables."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def single_user_rows() -> Iterable[dict[str, str]]:
    """Batched runs at batch 1, as rows of the common table (first prompts are warm-up, and left out)."""
    for row in read_rows("batched_bench.csv.gz"):
        model_id, quant = BATCHED_MODELS[row["model"].rpartition("/")[2]]
        common = {
            "hardware": row["hardware"],
            "backend": BATCHED_BACKENDS[row["hardware"]],
            "model_id": model_id,
            "quant": quant,
            "date": "2026-02",
        }
        if int(row["batch"]) == 1:
            yield {**common, "test": f"tg{row['tg']}@d{row['pp']}", "tokens_per_s": row["s_tg_tps"]}
            if int(row["pp"]) > 512:
                yield {**common, "test": f"pp{row['pp']}", "tokens_per_s": row["s_pp_tps"]}


def whole_on_card_rows() -> Iterable[dict[str, str]]:
    """Rows of the offload table with everything on one card, in llama-bench's usual micro-batch, as common rows."""
    for row in read_rows("offload.csv.gz"):
        if row["n_gpus"] != "1" or row["n_cpu_moe_or_ot"] != "none" or row["model"] not in OFFLOADED_MODELS:
            continue
        depth = row["n_ctx_or_depth"].rpartition(" ")[2]
        common = {
            "hardware": row["gpu"],
            "backend": row["backend"],
            "model_id": OFFLOADED_MODELS[row["model"]],
            "quant": row["quant"],
            "date": row["date"],
            "n_ubatch": row["n_ubatch"] or "512",
        }
        yield {**common, "test": f"{row['pp_test']}@d{depth}", "tokens_per_s": row["pp_tps"]}
        yield {**common, "test": f"{row['tg_test']}@d{depth}", "tokens_per_s": row["tg_tps"]}


def samples_of(rows: Iterable[dict[str, str]], catalog: Catalog) -> list[Sample]:
    """Rows that can be priced, with the traits of their chips; the others are named on the way."""
    samples = []
    for fields in rows:
        if (fields["hardware"], fields["test"]) in MISPRINTS:
            continue
        try:
            priced = price_row(parse_row(fields), catalog)
        except RowError as error:
            print(f"left out: {fields['hardware']}, {fields['model_id']}, {fields['test']}: {error}")
            continue
        traits = traits_of(priced.chip, priced.row.backend)
        if traits is not None and priced.cards_count == 1:
            samples.append(Sample(priced=priced, traits=traits, error_log=error_of_row(fields)))
    return samples


def main_samples(catalog: Catalog) -> list[Sample]:
    """Rows of the published table: fitted on, and what the tables score."""
    return samples_of(read_rows("llama_bench.csv.gz"), catalog)


def further_samples(catalog: Catalog) -> list[Sample]:
    """Rows of other tables: fitted on."""
    further = (single_user_rows(), whole_on_card_rows(), own_rows())
    return [sample for rows in further for sample in samples_of(rows, catalog)]


def error_of_row(fields: dict[str, str]) -> float:
    """Log standard error of a row's figure, where the row tells how many runs it is the middle of and their range."""
    runs_count = int(fields.get("n") or 1)
    return error_of_median(float(fields["low"]), float(fields["high"]), runs_count) if runs_count > 1 else 0.0


def generation_key(sample: Sample) -> str:
    """Stack and generation of a sample's chip."""
    return f"{sample.traits.stack}/{sample.traits.generation}"


def chips_by_generation(samples: Iterable[Sample]) -> dict[str, set[str]]:
    """Chips that were fitted on, by stack and generation."""
    chips: dict[str, set[str]] = {}
    for sample in samples:
        chips.setdefault(generation_key(sample), set()).add(sample.chip)
    return chips


def lone(samples: Iterable[Sample], chips: dict[str, set[str]]) -> Marks:
    """Marks samples whose chip is the only one of its stack and generation."""
    return np.array([len(chips[generation_key(sample)]) == 1 for sample in samples])


def balanced(samples: Sequence[Sample], exponent: float) -> Floats:
    """Weights by the rows of a sample's chip: -1 lets every chip count alike, -0.5 as the root of its rows."""
    keys = [f"{sample.traits.stack}/{sample.chip}" for sample in samples]
    return np.array([keys.count(key) ** exponent for key in keys])


def with_other_models(samples: Sequence[Sample]) -> Marks:
    """Marks samples whose chip has runs of other models too: it is still known when one model is left out."""
    models: dict[str, set[str]] = {}
    for sample in samples:
        models.setdefault(f"{sample.traits.stack}/{sample.chip}", set()).add(sample.model)
    return np.array([len(models[f"{sample.traits.stack}/{sample.chip}"]) > 1 for sample in samples])


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Log residuals of every row with its chip, its model or its chip's generation left out of the fit."""

    by_chip: Floats
    by_model: Floats
    by_generation: Floats

    @classmethod
    def of(cls, fit: PhaseFit) -> "LeftOut":
        """Fit once per chip, model and generation."""
        return cls(
            by_chip=fit.leave_out(lambda sample: sample.chip),
            by_model=fit.leave_out(lambda sample: sample.model),
            by_generation=fit.leave_out(lambda sample: sample.traits.generation),
        )

    def rows(self, used: Marks) -> "LeftOut":
        """The residuals of some rows."""
        return LeftOut(by_chip=self.by_chip[used], by_model=self.by_model[used], by_generation=self.by_generation[used])


def sigmas_of(fit: PhaseFit, left_out: LeftOut) -> dict[str, dict[str, float]]:
    """Interval widths by how near the published runs come to a chip."""
    alone = lone(fit.samples, chips_by_generation(fit.samples))

    def spread(rows: Marks, residuals: Floats) -> dict[str, float]:
        own = [sample for sample, used in zip(fit.samples, rows, strict=True) if used]
        return spread_of_residuals(own, residuals[rows], balanced(own, -0.5))

    unseen = spread(np.ones(len(fit.samples), dtype=bool), left_out.by_generation)
    return {
        "chip": spread(with_other_models(fit.samples), left_out.by_model),
        "generation": spread(~alone, left_out.by_chip),
        "stack": unseen,
        "unknown": {"*": 1.5 * unseen["*"]},
    }


def coverage(fit: PhaseFit, left_out: LeftOut, residuals: Floats, key: Callable[[Sample], str], unseen: Marks) -> Marks:
    """Whether each row lies in its interval, widths taken from the rows of other groups.

    Args:
        fit: the rows.
        left_out: residuals that widths are taken from.
        residuals: what is tried, each row's group (``key``) left out.
        key: the group.
        unseen: rows whose generation nothing was fitted on.
    """
    held = np.zeros(len(residuals), dtype=bool)
    groups = np.array([key(sample) for sample in fit.samples])
    for group in sorted(set(groups)):
        own, rest = groups == group, groups != group
        part = PhaseFit(
            phase=fit.phase,
            samples=tuple(sample for sample, used in zip(fit.samples, rest, strict=True) if used),
            design=fit.design,
            log_times=fit.log_times[rest],
            weights=fit.weights[rest],
            scales=fit.scales[rest],
            spreads=fit.spreads,
        )
        widths = sigmas_of(part, left_out.rows(rest))
        for index in np.flatnonzero(own):
            level = widths["stack" if unseen[index] else "generation"]
            sigma = level.get(fit.samples[index].traits.stack, level["*"])
            held[index] = abs(residuals[index]) <= Z_80 * sigma
    return held


def table(title: str, rows: Sequence[tuple[str, Floats, Marks | None]]) -> list[str]:
    """Errors of several groups of log residuals as a Markdown table."""
    lines = [f"### {title}", "", "| group | rows | median | p90 | bias | coverage |", "|---|---|---|---|---|---|"]
    for name, residuals, held in rows:
        if not len(residuals):
            continue
        errors = np.exp(-residuals) - 1.0
        misses = np.abs(errors)
        shown = "" if held is None else f"{held.mean():.0%}"
        lines.append(
            f"| {name} | {len(errors)} | {np.median(misses):.1%} | {np.quantile(misses, 0.9):.1%} "
            f"| {np.median(errors):+.1%} | {shown} |"
        )
    return [*lines, ""]


def report(fit: PhaseFit, left_out: LeftOut, main_count: int) -> list[str]:
    """Tables of one phase over the rows of the main table."""
    samples, main = fit.samples, np.arange(len(fit.samples)) < main_count
    by_chip, by_model = left_out.by_chip, left_out.by_model
    alone = lone(samples, chips_by_generation(samples))
    held = coverage(fit, left_out, by_chip, lambda sample: sample.chip, alone)
    chips = np.array([f"{sample.traits.stack}/{sample.chip}" for sample in samples])
    trained = fit.design.log_times(fit.fit()) - fit.log_times
    rows: list[tuple[str, Floats, Marks | None]] = [("all rows", by_chip[main], held[main])]
    rows += [("generation published elsewhere", by_chip[main & ~alone], held[main & ~alone])]
    rows += [("only chip of its generation", by_chip[main & alone], held[main & alone])]
    rows += _groups(fit, main, by_chip, held)
    each = [main & (chips == chip) for chip in sorted(set(chips[main]))]
    own = [np.median(np.abs(np.exp(-by_chip[rows_of_chip]) - 1.0)) for rows_of_chip in each]
    share_held = np.mean([held[rows_of_chip].mean() for rows_of_chip in each])
    lines = table(f"{fit.phase}: each chip left out of the fit, on every backend", rows)
    lines += [
        f"Median over {len(own)} chips and backends of each one's median error: {np.median(own):.1%}; "
        f"coverage with each counting alike: {share_held:.0%}.",
        "",
    ]
    lines += _generations_left_out(fit, left_out, main)
    known = main & with_other_models(samples)
    others = [("all rows", by_model[main], None), ("chips with runs of other models", by_model[known], None)]
    lines += table(f"{fit.phase}: each model left out of the fit", others)
    lines += table(f"{fit.phase}: the rows fitted on", [("all rows", trained[main], None)])
    rivals: dict[str, list[float]] = {}
    for sample in samples[:main_count]:
        for name, speed in rival_speeds(sample.priced).items():
            rivals.setdefault(name, []).append(-float(np.log(speed / sample.priced.row.tokens_per_s)))
    simple = [(name, np.array(misses), None) for name, misses in rivals.items()]
    return lines + table(f"{fit.phase}: simpler formulas on the same rows", simple)


def _generations_left_out(fit: PhaseFit, left_out: LeftOut, main: Marks) -> list[str]:
    """Errors where nothing of a chip's generation was fitted on: one generation at a time, and folds of several."""
    residuals = left_out.by_generation
    every = np.ones(len(residuals), dtype=bool)
    held = coverage(fit, left_out, residuals, lambda sample: sample.traits.generation, every)
    rows: list[tuple[str, Floats, Marks | None]] = [("all rows", residuals[main], held[main])]
    rows += [
        (f"{FOLDS_COUNT} folds of generations, draw {draw + 1}", fold_residuals(fit, draw)[main], None)
        for draw in range(DRAWS_COUNT)
    ]
    return table(f"{fit.phase}: each generation left out of the fit, on every backend", rows)


def fold_residuals(fit: PhaseFit, seed: int) -> Floats:
    """Log residuals with generations dealt into folds at random, each fold left out in turn."""
    generations = sorted({sample.traits.generation for sample in fit.samples})
    random.Random(seed).shuffle(generations)
    fold = {generation: str(index % FOLDS_COUNT) for index, generation in enumerate(generations)}
    return fit.leave_out(lambda sample: fold[sample.traits.generation])


def _groups(fit: PhaseFit, main: Marks, by_chip: Floats, held: Marks) -> list[tuple[str, Floats, Marks | None]]:
    """Rows by stack, experts, quantisation and file size."""
    rows: list[tuple[str, Floats, Marks | None]] = []
    labels = {
        "": [sample.traits.stack for sample in fit.samples],
        "stack ": [f"{sample.traits.stack}, {kind_label(sample)}" for sample in fit.samples],
        "quant ": [sample.priced.row.quant for sample in fit.samples],
        "file ": [size_label(sample.priced.artifact.file_bytes / GIB) for sample in fit.samples],
    }
    for prefix, values in labels.items():
        for value in sorted(set(values)):
            own = main & (np.array(values) == value)
            rows.append((f"{prefix}{value}", by_chip[own], held[own]))
    return rows


def kind_label(sample: Sample) -> str:
    """Whether a sample's model has routed experts."""
    return "mixture" if sample.priced.work.moe_layers_count else "dense"


def size_label(size_gib: float) -> str:
    """A file's size class."""
    return next((f"under {edge} GiB" for edge in (2, 8, 24) if size_gib < edge), "24 GiB and more")


def fit_all(catalog: Catalog) -> tuple[Coefficients, list[str]]:
    """Coefficients of both phases, and their tables."""
    scored = main_samples(catalog)
    samples = scored + further_samples(catalog)
    effects: dict[str, float] = {}
    sigmas: dict[str, dict[str, dict[str, float]]] = {}
    lines: list[str] = []
    for phase in PHASES:
        fit = PhaseFit.of(phase, samples)
        left_out = LeftOut.of(fit)
        lines += report(fit, left_out, sum(one.priced.row.phase == phase for one in scored))
        effects |= fit.effects(fit.fit())
        sigmas[phase] = sigmas_of(fit, left_out)
    coefficients = Coefficients(
        effects={name: round(value, 4) for name, value in sorted(effects.items()) if abs(value) >= 5e-4},
        sigmas={
            phase: {level: {key: round(value, 4) for key, value in by.items()} for level, by in levels.items()}
            for phase, levels in sigmas.items()
        },
        seen=frozenset(f"{generation_key(sample)}/{sample.chip}" for sample in samples),
        runs_count=len(samples),
    )
    return coefficients, lines


def main() -> None:
    """Fit both phases, print the tables and write the coefficients if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write advisor/data/datasheet.json")
    options = parser.parse_args()
    coefficients, lines = fit_all(load_catalog())
    print("\n".join(lines))
    if options.write:
        OUTPUT.write_text(json.dumps(to_document(coefficients), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"wrote {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
