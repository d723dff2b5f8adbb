"""What commands that time models share: candidates from picks, the engine, the run and its record."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from advisor import __version__, store
from advisor.cli._shared import Progress
from advisor.clock import utc_now
from advisor.engines.base import Engine
from advisor.machine import Machine
from advisor.types import Choice, Estimate, Validation, ValidationRecord
from advisor.validate import Setting, validations
from advisor.verdict import Roof
from advisor.weights_source import Candidate
from catalog.load import Catalog
from probes.types import HardwareProfile

if TYPE_CHECKING:
    from advisor.engines._process import Limits

DEFAULT_BUDGET_S = 60.0
_REQUEST_BUDGETS = 10  # no single request to the engine may take longer than this many budgets
_MIN_REQUEST_S = 300.0
_MEMORY_SHARE = 0.95
_MEASURED_ROOF_TOLERANCE_FRAC = 0.5  # read bandwidth moves this much within an hour on a shared host


def candidate_of_choice(catalog: Catalog, choice: Choice) -> Candidate:
    """A pick, with its weights as its own file or its quantisation says.

    Raises:
        CatalogError: if the catalog no longer knows the model, or its file cannot be read.
    """
    from catalog.gguf import read_gguf
    from catalog.weights import weigh

    model = catalog.model(choice.estimate.model_id)
    if choice.local_path is not None:
        _, artifact = read_gguf(choice.local_path)
        return Candidate(estimate=choice.estimate, model=model, artifact=artifact, local_path=choice.local_path)
    return Candidate(estimate=choice.estimate, model=model, artifact=weigh(model, choice.estimate.quant_id))


def limits(budget_s: float, memory_bytes: int | None) -> "Limits":
    """Bounds on the engine's process: by default what is free now, less a little."""
    import psutil

    from advisor.engines._process import Limits

    allowed = memory_bytes or int(psutil.virtual_memory().available * _MEMORY_SHARE)
    return Limits(request_s=max(_MIN_REQUEST_S, _REQUEST_BUDGETS * budget_s), memory_bytes=allowed)


def local_engine(budget_s: float, memory_bytes: int | None) -> Engine:
    """The engine that runs in a process of ours."""
    from advisor.engines.llamacpp import LlamaCppEngine

    return LlamaCppEngine(limits(budget_s, memory_bytes))


def roof_of(machine: Machine, profile: HardwareProfile) -> Roof:
    """What this machine's own measurements say no model can pass."""
    rates = machine.devices[-1].rates
    return Roof(
        memory_bytes_per_s=rates.memory_bytes_per_s,
        flop_per_s=rates.flop_per_s,
        cache_bytes=profile.host.l3_bytes or 0,
        tolerance_frac=_MEASURED_ROOF_TOLERANCE_FRAC,
    )


def run_validations(
    candidates: Sequence[Candidate],
    *,
    machine: Machine,
    profile: HardwareProfile,
    budget_s: float = DEFAULT_BUDGET_S,
    force_twin: bool = False,
    memory_bytes: int | None = None,
    quiet: bool = False,
) -> Validation:
    """Time candidates one after the other; what was timed is remembered even when interrupted."""
    with Progress("validating", quiet=quiet) as progress:
        setting = Setting(
            engine=local_engine(budget_s, memory_bytes),
            scratch_root=store.cache_dir() / "twins",
            budget_s=budget_s,
            roof=roof_of(machine, profile),
            profile_id=profile.profile_id,
            force_twin=force_twin,
            on_progress=progress.update,
        )
        records: list[ValidationRecord] = []
        try:
            records.extend(validations(candidates, setting))
        except KeyboardInterrupt:
            if records:
                remember(_document(records, machine, profile))
            raise
    document = _document(records, machine, profile)
    remember(document)
    return document


def run_endpoint(
    estimate: Estimate,
    url: str,
    served_name: str,
    *,
    machine: Machine,
    profile: HardwareProfile,
    budget_s: float,
    quiet: bool,
) -> Validation:
    """Time a model behind a server, and remember it."""
    from advisor import endpoint
    from advisor.engines.openai_http import Endpoint

    served = Endpoint(url=url, model=served_name)
    setting = endpoint.Setting(budget_s=budget_s, profile_id=profile.profile_id)
    with Progress(f"timing {served_name} behind {url}", quiet=quiet):
        record = endpoint.validate_endpoint(estimate, served, setting)
    document = _document([record], machine, profile)
    remember(document)
    return document


def _document(records: Iterable[ValidationRecord], machine: Machine, profile: HardwareProfile) -> Validation:
    return Validation(
        records=tuple(records),
        created_at=utc_now(),
        tool_version=__version__,
        profile_id=profile.profile_id,
        hardware=machine.name,
    )


def remember(document: Validation) -> None:
    """Keep a validation in this machine's history."""
    from advisor.history import open_history

    with open_history() as history:
        history.record(document)
