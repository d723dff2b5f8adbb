"""What commands that time models share: candidates from picks, the engine, the run and its record."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from advisor import __version__, store
from advisor.cli._shared import Progress, say
from advisor.clock import utc_now
from advisor.engines.base import Engine
from advisor.errors import AdvisorError, BadRequestError
from advisor.machine import Machine
from advisor.machines import accelerators
from advisor.types import Choice, Estimate, Recommendation, Validation, ValidationRecord
from advisor.validation.validate import Setting, Text, validations
from advisor.validation.verdict import Roof
from advisor.validation.weights_source import Candidate
from catalog.errors import CatalogError
from catalog.load import Catalog
from probes.types import HardwareProfile

if TYPE_CHECKING:
    from advisor.engines._process import Limits
    from probes.energy import Meter

DEFAULT_BUDGET_S = 60.0
_REQUEST_BUDGETS = 10  # no single request to the engine may take longer than this many budgets
_MIN_REQUEST_S = 300.0
_MEMORY_SHARE = 0.95
_MEASURED_ROOF_TOLERANCE_FRAC = 0.5  # read bandwidth moves this much within an hour on a shared host


def candidate_of_choice(catalog: Catalog, choice: Choice) -> Candidate:
    """A pick, with its weights as its own file or its quantisation says.

    Raises:
        CatalogError: if the catalog no longer knows the model.
    """
    from catalog.gguf import read_gguf
    from catalog.weights import weigh

    model = catalog.model(choice.estimate.model_id)
    artifact = weigh(model, choice.estimate.quant_id)
    if choice.local_path is not None:
        with contextlib.suppress(CatalogError):  # gone or damaged since: the engine will say so, and the next goes on
            _, artifact = read_gguf(choice.local_path)
    return Candidate(estimate=choice.estimate, model=model, artifact=artifact, local_path=choice.local_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How validations are to run: seconds per model and whether loading keeps to them, which weights, what to score."""

    budget_s: float = DEFAULT_BUDGET_S
    stops_loading: bool = False
    force_twin: bool = False
    download: bool = False
    text: Text | None = None
    memory_bytes: int | None = None
    quiet: bool = False


def limits(budget_s: float, memory_bytes: int | None) -> "Limits":
    """Bounds on the engine's process: what is free now on the machine and in its control group, less a little.

    A limit given by hand may lower that, never raise it.
    """
    import psutil

    from advisor.engines._process import Limits
    from probes.cgroup import read_limits

    available = int(psutil.virtual_memory().available)
    granted = read_limits().memory_available_bytes
    safe = int((available if granted is None else min(available, granted)) * _MEMORY_SHARE)
    allowed = safe if memory_bytes is None else min(memory_bytes, safe)
    return Limits(request_s=max(_MIN_REQUEST_S, _REQUEST_BUDGETS * budget_s), memory_bytes=allowed)


def local_engine(request: Request, meters: "Sequence[Meter]" = ()) -> Engine:
    """The engine that runs in a process of ours."""
    from advisor.engines.llamacpp import LlamaCppEngine

    return LlamaCppEngine(limits(request.budget_s, request.memory_bytes), meters)


def read_request(
    *,
    budget_s: float | None,
    force_twin: bool,
    download: bool,
    quality: bool,
    text_file: str | None,
    memory_bytes: int | None,
    quiet: bool,
) -> Request:
    """The request that the options make; the user's text is read now, so that a wrong path costs no time.

    A budget that was asked for is kept by loading, too; the usual one bounds what is timed.

    Raises:
        BadRequestError: if --text comes without --quality, or --yes with --twin.
        AdvisorError: if the text cannot be read.
    """
    from advisor.validation import text_quality

    if text_file is not None and not quality:
        raise BadRequestError("--text is what --quality reads; add --quality")
    if force_twin and (download or quality):
        raise BadRequestError("--twin has no real weights; leave it out, or leave out --yes and --quality")
    text = None
    if text_file is not None:
        text = Text(name=Path(text_file).name, content=text_quality.read_text(text_file))
    elif quality:
        text = Text(name=text_quality.BUNDLED_NAME, content=text_quality.bundled_text())
    return Request(
        budget_s=budget_s or DEFAULT_BUDGET_S,
        stops_loading=budget_s is not None,
        force_twin=force_twin,
        download=download,
        text=text,
        memory_bytes=memory_bytes,
        quiet=quiet,
    )


def roof_of(machine: Machine, profile: HardwareProfile) -> Roof:
    """What this machine's own measurements say no model can pass."""
    rates = machine.devices[-1].rates
    return Roof(
        memory_bytes_per_s=rates.memory_bytes_per_s,
        flop_per_s=rates.flop_per_s,
        cache_bytes=profile.host.l3_bytes or 0,
        tolerance_frac=_MEASURED_ROOF_TOLERANCE_FRAC,
        accelerators={
            device.device_id: Roof(
                memory_bytes_per_s=device.rates.memory_bytes_per_s, flop_per_s=device.rates.flop_per_s
            )
            for device in accelerators(machine)
        },
    )


def make_setting(machine: Machine, profile: HardwareProfile, request: Request) -> Setting:
    """Where and how validations run on this machine."""
    from advisor.engines.llamacpp import allowed_threads_count, usable_threads_count
    from probes.energy import open_meters

    meters = open_meters(profile.devices)
    return Setting(
        engine=local_engine(request, meters),
        scratch_root=store.cache_dir() / "twins",
        budget_s=request.budget_s,
        roof=roof_of(machine, profile),
        profile_id=profile.profile_id,
        force_twin=request.force_twin,
        stops_loading=request.stops_loading,
        text=request.text,
        usable_cores_count=usable_threads_count(),
        usable_threads_count=allowed_threads_count(),
        meter_ids=tuple(dict.fromkeys(meter.device_id for meter in meters)),
        no_energy_reason=None if meters else _no_energy_reason(profile),
    )


def _no_energy_reason(profile: HardwareProfile) -> str:
    """Why nothing meters energy here, as the scan found it."""
    told = [o.reason for o in profile.outcomes if o.probe_id.startswith("energy.") and o.reason]
    return "; ".join(dict.fromkeys(told)) or "this machine shows no energy counter that may be read"


def run_validations(
    candidates: Sequence[Candidate], *, machine: Machine, profile: HardwareProfile, request: Request
) -> Validation:
    """Time candidates one after the other; what was timed is remembered even when interrupted."""
    from advisor.cli._downloads import key_of, obtain

    fetched = {} if request.force_twin else obtain(candidates, yes=request.download, quiet=request.quiet)

    def fetch(candidate: Candidate, _: object) -> Candidate:
        found = fetched.get(key_of(candidate))
        if isinstance(found, AdvisorError):
            raise found
        return candidate if found is None else with_file(candidate, found)

    with Progress("validating", quiet=request.quiet) as progress:
        setting = replace(make_setting(machine, profile, request), fetch=fetch, on_progress=progress.update)
        records: list[ValidationRecord] = []
        with _remembered_if_interrupted(records, machine, profile):
            records.extend(validations(candidates, setting))
    document = make_document(records, machine, profile)
    remember(document)
    return document


def with_file(candidate: Candidate, path: str) -> Candidate:
    """The candidate with weights as they are in a file; its prediction stands."""
    from catalog.gguf import read_gguf

    _, artifact = read_gguf(path)
    return replace(candidate, artifact=artifact, local_path=path)


@contextmanager
def _remembered_if_interrupted(
    records: list[ValidationRecord], machine: Machine, profile: HardwareProfile
) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if records:
            remember(make_document(records, machine, profile))
        raise


def settle_ranking(
    catalog: Catalog,
    recommendation: Recommendation,
    *,
    machine: Machine,
    profile: HardwareProfile,
    request: Request,
) -> Recommendation:
    """Spend the budget on the runs that settle the ranking; the result says what changed."""
    from advisor.validation.rerank import settle
    from advisor.validation.validate import validate_one

    records: list[ValidationRecord] = []
    with Progress("settling the ranking", quiet=request.quiet) as progress:
        # which number of threads is best is a question of its own: it would cost runs here
        setting = replace(make_setting(machine, profile, request), usable_cores_count=None)
        started_s = setting.clock.now()

        def run(choice: Choice, run_s: float) -> ValidationRecord:
            done = min(1.0, (setting.clock.now() - started_s) / request.budget_s)
            progress.update(done, f"{choice.display_name or choice.estimate.model_id} {choice.estimate.quant_id}")
            record = validate_one(candidate_of_choice(catalog, choice), replace(setting, budget_s=run_s))
            records.append(record)
            return record

        with _remembered_if_interrupted(records, machine, profile):
            settled, kept = settle(recommendation, run, setting.clock, request.budget_s)
    if not kept:
        return replace(settled, validation=None)
    document = make_document(kept, machine, profile)
    remember(document)
    return replace(settled, validation=document)


#: How long a server may say nothing: a long prompt takes it a while, more than the time asked for is too long.
_SILENCE_S = 120.0
_SHORTEST_SILENCE_S = 20.0


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
    from advisor.engines.openai_http import Endpoint
    from advisor.validation import endpoint

    served = Endpoint(
        url=url,
        model=served_name,
        timeout_s=min(_SILENCE_S, max(_SHORTEST_SILENCE_S, 2.0 * budget_s)),
    )
    setting = endpoint.Setting(budget_s=budget_s, profile_id=profile.profile_id)
    with Progress(f"timing {served_name} behind {url}", quiet=quiet):
        record = endpoint.validate_endpoint(estimate, served, setting)
    document = make_document([record], machine, profile)
    remember(document)
    return document


def make_document(records: Sequence[ValidationRecord], machine: Machine, profile: HardwareProfile) -> Validation:
    """Records of one machine, with what they say about each other."""
    from advisor.validation.text_quality import deltas

    return Validation(
        records=tuple(records),
        quality_deltas=deltas(records),
        created_at=utc_now(),
        tool_version=__version__,
        profile_id=profile.profile_id,
        hardware=machine.name,
    )


def remember(document: Validation) -> None:
    """Keep a validation in this machine's history; one that cannot be kept is said so, and still delivered."""
    from advisor.history import open_history

    try:
        with open_history() as history:
            history.record(document)
    except (AdvisorError, OSError, sqlite3.Error) as error:
        say(f"advisor: not kept in the history: {error}; save the result with -o FILE")
