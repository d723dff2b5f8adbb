"""Everything the catalog claims about itself, in numbers: what ``advisor catalog check`` prints."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from catalog.checks import COMPARED, Agreement, parameter_agreement, size_agreement
from catalog.errors import CatalogError
from catalog.load import TASKS, Catalog

SIZE_WITHIN_FRAC = 0.95
COVERAGE_RANGE = (0.75, 0.85)
LOAD_S_MAX = 0.05
_COVERAGE_SLACK_MODELS = 100  # coverage of fewer models says little
_LOAD_RUNS = 5
_LOAD_TIMEOUT_S = 60
_LOAD_SCRIPT = (
    "import time; start = time.process_time(); from catalog.load import load_catalog; load_catalog();"
    " print(time.process_time() - start)"
)
#: Names that look-ups by substring get wrong, and what they mean.
NAMED_CHIPS: Mapping[str, tuple[str, ...]] = {
    "RTX A1000": ("NVIDIA RTX A1000",),
    "Tesla M40": ("NVIDIA Tesla M40",),
    "H100 80GB HBM3": ("NVIDIA H100 SXM",),
    "RTX 5070 Laptop": ("NVIDIA GeForce RTX 5070 Laptop",),
    "Radeon 8060S": ("AMD Radeon 8060S (Ryzen AI Max+ 395)",),
    "M4 Max": ("Apple M4 Max (32-core GPU)", "Apple M4 Max (40-core GPU)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementSummary:
    """How many comparisons are within the tolerance, by what is known of the files (see `Comparison.kind`)."""

    compared_count: int
    within_frac: float | None
    tolerance_frac: float
    skipped_count: int
    vendor_count: int = 0
    vendor_within_frac: float | None = None
    unnamed_count: int = 0
    unnamed_within_frac: float | None = None
    all_count: int = 0
    all_within_frac: float | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    misses: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One row per promise; ``failures`` says which do not hold."""

    version: str
    models: Mapping[str, Any]
    parameters: AgreementSummary
    sizes: AgreementSummary
    quality: tuple[Mapping[str, Any], ...]
    chips: Mapping[str, Any]
    quants_count: int
    load_s: float | None
    failures: tuple[str, ...]


def audit(catalog: Catalog, *, refit: bool = False) -> Audit:
    """Check every record, every agreement and every name.

    Args:
        catalog: the catalog to check.
        refit: fit the quality scores again (half a minute) instead of reading the build's own test.

    Raises:
        CatalogError: if a record cannot be decoded.
    """
    parameters = _summary(parameter_agreement(catalog))
    sizes = _summary(size_agreement(catalog))
    quality = _quality(refit=refit)
    chips = _chips(catalog)
    load_s = _load_s()
    failures = [
        *_decode_all(catalog),
        *_agreement_failures(parameters, sizes),
        *_coverage_failures(quality),
        *chips["wrong"],
    ]
    if load_s is not None and load_s > LOAD_S_MAX:
        failures.append(f"loading takes {load_s * 1e3:.0f} ms, more than {LOAD_S_MAX * 1e3:.0f}")
    return Audit(
        version=catalog.version,
        models=_models(catalog),
        parameters=parameters,
        sizes=sizes,
        quality=quality,
        chips=chips,
        quants_count=len(catalog.quants),
        load_s=load_s,
        failures=tuple(failures),
    )


def _models(catalog: Catalog) -> dict[str, Any]:
    models = list(catalog.models.values())
    return {
        "count": len(models),
        "core": sum(model.tier == "core" for model in models),
        "official": sum(model.official for model in models),
        "copies": sum(model.duplicate_of is not None for model in models),
        "added_by_user": len(catalog.overlay_ids),
        "with_geometry": sum(model.geometry is not None for model in models),
        "with_gguf": sum("gguf" in model.repos for model in models),
        "owners": len({model.org for model in models}),
        "families": len({model.family for model in models if model.family}),
        "newest": max(model.release_date or "" for model in models),
        "by_task": {task: sum(task in model.tasks for model in models) for task in TASKS},
        "scored_by_task": {
            task: sum(task in model.tasks and not catalog.quality(model.model_id, task).imputed for model in models)
            for task in TASKS
        },
    }


def _decode_all(catalog: Catalog) -> list[str]:
    """Records that contradict themselves; a record that cannot be decoded raises."""
    wrong = []
    for model in catalog.models.values():
        if model.params_total_count <= 0:
            wrong.append(f"{model.model_id}: no parameters")
        if model.duplicate_of is not None and model.duplicate_of not in catalog.models:
            wrong.append(f"{model.model_id}: a copy of {model.duplicate_of}, which is not in the catalog")
        if model.geometry is not None and len(model.geometry.mixers) != len(model.geometry.ffns):
            wrong.append(f"{model.model_id}: layers disagree")
        if model.citation is None:
            wrong.append(f"{model.model_id}: no source")
    wrong += [f"{chip.chip_id}: no source" for chip in catalog.chips.values() if chip.citation is None]
    wrong += [f"{quant.quant_id}: no bits" for quant in catalog.quants.values() if quant.bits_per_weight <= 0]
    return wrong


def _summary(agreement: Agreement) -> AgreementSummary:
    return AgreementSummary(
        compared_count=len(agreement.of_kind("standard")),
        within_frac=agreement.within_frac(),
        tolerance_frac=agreement.tolerance_frac,
        skipped_count=len(agreement.of_kind("skipped")),
        vendor_count=len(agreement.of_kind("vendor")),
        vendor_within_frac=agreement.within_frac("vendor"),
        unnamed_count=len(agreement.of_kind("unnamed")),
        unnamed_within_frac=agreement.within_frac("unnamed"),
        all_count=sum(len(agreement.of_kind(kind)) for kind in COMPARED),
        all_within_frac=agreement.within_frac(*COMPARED),
        skipped=dict(Counter(row.note or "not compared" for row in agreement.of_kind("skipped")).most_common()),
        misses=tuple(asdict(row) for kind in COMPARED for row in agreement.misses(kind)),
    )


def _agreement_failures(parameters: AgreementSummary, sizes: AgreementSummary) -> list[str]:
    found = []
    if (sizes.within_frac or 0.0) < SIZE_WITHIN_FRAC:
        found.append(f"only {sizes.within_frac or 0.0:.1%} of GGUF sizes are within {sizes.tolerance_frac:.1%}")
    if (parameters.within_frac or 0.0) < SIZE_WITHIN_FRAC:
        found.append(f"only {parameters.within_frac or 0.0:.1%} of parameter counts agree with their geometry")
    return found


def _quality(*, refit: bool) -> tuple[Mapping[str, Any], ...]:
    if refit:
        from catalog.facts.from_sources import fit_scores

        return tuple(asdict(test) for test in fit_scores().left_out)
    stored = Path(__file__).resolve().parent / "data" / "accuracy.json"
    return tuple(json.loads(stored.read_bytes()))


def _coverage_failures(quality: tuple[Mapping[str, Any], ...]) -> list[str]:
    low, high = COVERAGE_RANGE
    return [
        f"{row['task']}, knowing {row['kept']}: {row['coverage']:.0%} of left-out scores inside the 80 % interval"
        for row in quality
        if row["models_count"] >= _COVERAGE_SLACK_MODELS and not low <= row["coverage"] <= high
    ]


def _chips(catalog: Catalog) -> dict[str, Any]:
    chips = list(catalog.chips.values())
    wrong = []
    for text, wanted in NAMED_CHIPS.items():
        got = resolved(catalog, text)
        if got != wanted:
            wrong.append(f"chip {text!r} resolves to {', '.join(got) or 'nothing'}, not to {', '.join(wanted)}")
    wrong += [
        f"chip {chip.chip_id!r} does not resolve to itself"
        for chip in chips
        if resolved(catalog, chip.chip_id) != (chip.chip_id,)
    ]
    return {
        "count": len(chips),
        "by_vendor": dict(sorted(Counter(chip.vendor for chip in chips).items())),
        "aliases": sum(len(chip.aliases) for chip in chips),
        "pci_ids": len({pci_id for chip in chips for pci_id in chip.pci_ids}),
        "with_bandwidth": sum(chip.memory_bytes_per_s is not None for chip in chips),
        "wrong": wrong,
    }


def resolved(catalog: Catalog, text: str) -> tuple[str, ...]:
    """What a name means: one chip, its candidates, or nothing."""
    try:
        return (catalog.chip(text).chip_id,)
    except CatalogError as error:
        return tuple(getattr(error, "candidates", ()))


def _load_s() -> float | None:
    """Processor seconds to import and load, the best of fresh interpreters; None where none can be started."""
    times = []
    for _ in range(_LOAD_RUNS):
        try:
            run = subprocess.run(
                [sys.executable, "-c", _LOAD_SCRIPT],
                capture_output=True,
                text=True,
                timeout=_LOAD_TIMEOUT_S,
                check=True,
            )
            times.append(float(run.stdout))
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
    return min(times)
