"""Record a suite: every case takes its turn in every round, loaded afresh, until the rounds are full.

Taking turns lets a busy minute hurt all cases alike, and loading afresh lets differences between
processes (placement of memory, of threads) show as the noise they are.
"""

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from advisor import codec
from advisor.clock import utc_now
from advisor.engines.base import EngineError, Session, Window, options_for
from advisor.errors import AdvisorError
from advisor.regression import journal
from advisor.regression.recording import (
    MACHINE,
    CaseFacts,
    Recording,
    Sample,
    Visit,
    entry_to_visit,
    require_same,
    visit_to_entry,
)
from advisor.regression.suite import Suite, SuiteCase
from advisor.types import Deployment, EngineBuild, Estimate, Run, RunEnvironment
from catalog.types import ArtifactSpec, ModelSpec
from probes.types import Conditions, ScanWarning

_WARMUP_TOKENS = 2
_HASHED_BYTES = 1 << 20
_PROBES = ("cpu.read_bandwidth", "cpu.matmul")
_PROBES_BUDGET_S = 3.0
#: Windows that others disturbed are taken again, at most this many times per phase and visit.
_RETRIES_COUNT = 2
#: A quota or heat is the machine's own doing and must show as a slowdown, not be excused.
_EXCUSES = frozenset({ScanWarning.CONTENDED, ScanWarning.GPU_CONTENDED, ScanWarning.STOLEN})

OnTurn = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file to load: where it is, and what identifies its content."""

    path: Path
    model_id: str
    quant_id: str
    kind: str  # "real" | "twin" | "truncated_twin"
    weights_id: str
    model: ModelSpec | None = None
    artifact: ArtifactSpec | None = None

    def deployed(self, case: SuiteCase) -> Deployment:
        """How the engine loads this file for a case."""
        geometry = self.model.geometry if self.model else None
        return case.deployment(self.model_id, self.quant_id, geometry.layers_count if geometry else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A loaded model, and the process that holds it."""

    session: Session
    pid: int


class Opener(Protocol):
    """Loads a file into a fresh engine process for as long as the context lasts."""

    def __call__(self, weights: Weights, deployment: Deployment, context_tokens: int) -> AbstractContextManager[Held]:
        """Open it; the process is gone afterwards."""
        ...


def disturbed(conditions: Conditions | None) -> bool:
    """Whether other programs took part of the machine during a window."""
    if conditions is None or not conditions.polluted:
        return False
    return not conditions.causes or any(cause in _EXCUSES for cause in conditions.causes)


@contextmanager
def open_llamacpp(
    weights: Weights, deployment: Deployment, context_tokens: int, *, python: str | None = None
) -> Iterator[Held]:
    """Load into a new llama.cpp worker process, of another Python's llama.cpp if one is given."""
    from advisor.engines.llamacpp import open_worker

    options = options_for(deployment, context_tokens)
    with open_worker(python=python) as worker, worker.open(str(weights.path), options) as session:
        yield Held(session=session, pid=worker.pid)


def read_engine_build(python: str | None = None) -> EngineBuild:
    """The llama.cpp that would be timed here, or by another Python.

    Raises:
        EngineError: if there is none.
    """
    from advisor.engines.llamacpp import open_worker

    with open_worker(python=python) as worker:
        return worker.build()


def _hash_file(path: Path) -> str:
    """Identity of a real file: its size, first and last MiB (hashing 40 GB would take minutes)."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        content = hashlib.sha256(str(size).encode() + file.read(_HASHED_BYTES))
        file.seek(max(0, size - _HASHED_BYTES))
        content.update(file.read(_HASHED_BYTES))
    return content.hexdigest()[:16]


def _real_weights(case: SuiteCase, base_dir: Path) -> Weights:
    path = base_dir / str(case.file)
    if not path.is_file():
        raise AdvisorError(f"{path}: no such file; the suite names it relative to its own folder")
    model, artifact = _described(path)
    return Weights(
        path=path,
        model_id=path.stem,
        quant_id=artifact.quant_id if artifact else "file",
        kind="real",
        weights_id=_hash_file(path),
        model=model,
        artifact=artifact,
    )


def _described(path: Path) -> tuple[ModelSpec, ArtifactSpec] | tuple[None, None]:
    """What the file's header says; a file that only the engine understands is timed without a prediction."""
    from catalog.errors import CatalogError
    from catalog.gguf import read_gguf

    try:
        return read_gguf(path)
    except CatalogError:
        return None, None


def _twin_weights(case: SuiteCase, directory: Path) -> Weights:
    from advisor.calibration.experiment import Experiment, artifact_of
    from advisor.calibration.rehearse import write_experiment
    from catalog.load import load_catalog
    from catalog.recipes import tensor_types
    from catalog.tensors import list_tensors, truncate

    catalog = load_catalog()
    model, quant = catalog.model(str(case.model)), catalog.quant(str(case.quant))
    whole_count = model.geometry.layers_count if model.geometry else 0
    kept = min(case.layers_count or whole_count, whole_count)
    if kept < whole_count:
        model = truncate(model, range(kept))
    tensors = list_tensors(model)
    types = tensor_types(model, tensors, quant.quant_id)
    recipe = repr([(t.name, t.shape, kind) for t, kind in zip(tensors, types, strict=True)])
    weights_id = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    path = directory / f"{weights_id}.gguf"
    if not path.exists():
        write_experiment(Experiment(experiment_id=weights_id, model=model, tensor_types=types, timings=()), path)
    kind = "truncated_twin" if kept < whole_count else "twin"
    return Weights(
        path=path,
        model_id=model.model_id,
        quant_id=quant.quant_id,
        kind=kind,
        weights_id=weights_id,
        model=model,
        artifact=artifact_of(model, tensors, types),
    )


def prepare(case: SuiteCase, directory: Path, base_dir: Path) -> Weights:
    """The file a case loads: the user's own, or a twin written into the directory.

    Raises:
        AdvisorError, CatalogError: if the file is missing, or the model or quantisation unknown.
    """
    return _real_weights(case, base_dir) if case.file is not None else _twin_weights(case, directory)


def _rate(metric: str, window: Window) -> Sample:
    return Sample(metric=metric, value=window.tokens_per_s, polluted=disturbed(window.conditions))


def _phase(metric: str, take: Callable[[], Window], windows_count: int) -> list[Sample]:
    """Windows until enough were undisturbed; what was disturbed is kept and marked."""
    samples: list[Sample] = []
    for _ in range(windows_count + _RETRIES_COUNT):
        samples.append(_rate(metric, take()))
        if sum(not sample.polluted for sample in samples) >= windows_count:
            break
    return samples


def time_case(held: Held, case: SuiteCase, windows_count: int) -> tuple[Sample, ...]:
    """Every metric of one visit: load, prefill, decode behind the prompt, first token, memory."""
    session = held.session
    session.decode(_WARMUP_TOKENS)
    samples = [Sample(metric="load_s", value=session.loaded.load_s)]
    samples += _phase("prefill_tokens_per_s", lambda: session.prefill(case.prompt_tokens), windows_count)
    depth = case.prompt_tokens
    samples += _phase(
        "decode_tokens_per_s", lambda: session.decode(case.output_tokens, depth_tokens=depth), windows_count
    )
    samples += _first_token(held, case)
    peak = session.memory_bytes().get("process.peak")
    return (*samples, *((Sample(metric="peak_memory_bytes", value=float(peak)),) if peak else ()))


def _first_token(held: Held, case: SuiteCase) -> list[Sample]:
    from probes.guard import watch

    prompt = [1 + index % 100 for index in range(case.prompt_tokens)]
    with watch(pids=(held.pid,)) as watched:
        first_s = held.session.generate(prompt, 1).first_token_s
    if first_s is None:
        return []
    return [Sample(metric="first_token_s", value=first_s, polluted=disturbed(watched.conditions))]


#: One per process: clocks of visits are compared within it only, because a reboot resets one of them.
_SITTING = f"{os.getpid()}-{time.time_ns()}"


def _visit(subject: str, number: int, samples: Sequence[Sample], failure: str | None = None) -> Visit:
    return Visit(
        subject=subject,
        round_number=number,
        samples=tuple(samples),
        wall_s=time.time(),
        monotonic_s=time.monotonic(),
        sitting=_SITTING,
        failure=failure,
    )


def visit_machine(number: int) -> Visit:
    """The machine's own turn: read bandwidth and matrix products, to tell a slower machine from a slower engine."""
    from probes.scan import scan

    profile = scan(quick=True, only=_PROBES, budget_s=_PROBES_BUDGET_S)
    samples = []
    for outcome in profile.outcomes:
        found = outcome.measurement
        if found is not None:
            name = "_".join(part for part in (found.quantity, found.dtype, found.unit) if part)
            samples.append(Sample(metric=name, value=found.value, polluted=disturbed(found.conditions)))
    return _visit(MACHINE, number, samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recording with what is needed to make it: the files, the engine, the journal."""

    recording: Recording
    weights: dict[str, Weights]
    journal_path: Path
    opener: Opener

    def turn(self, subject: str, number: int) -> Visit:
        """One case's visit; an engine's failure is recorded, not raised."""
        if subject == MACHINE:
            return visit_machine(number)
        suite = self.recording.suite
        case = next(case for case in suite.cases if case.subject == subject)
        weights = self.weights[subject]
        deployment = weights.deployed(case)
        try:
            with self.opener(weights, deployment, case.loaded_context_tokens) as held:
                return _visit(subject, number, time_case(held, case, suite.windows_count))
        except EngineError as error:
            return _visit(subject, number, (), failure=" ".join(str(error).split())[:400])


Predict = Callable[[SuiteCase, Weights], Estimate | None]


def plan_suite(
    suite: Suite,
    journal_path: Path,
    *,
    environment: RunEnvironment,
    tool_version: str,
    directory: Path,
    base_dir: Path,
    opener: Opener = open_llamacpp,
    predict: Predict | None = None,
) -> Plan:
    """Write the twins and gather the facts; a case that cannot be prepared is kept with its reason."""
    from catalog.errors import CatalogError

    weights: dict[str, Weights] = {}
    facts = [CaseFacts(subject=MACHINE)] if suite.probes else []
    for case in suite.cases:
        try:
            found = prepare(case, directory, base_dir)
        except (AdvisorError, CatalogError, OSError) as error:
            facts.append(CaseFacts(subject=case.subject, failure=" ".join(str(error).split())))
            continue
        weights[case.subject] = found
        facts.append(
            CaseFacts(
                subject=case.subject,
                weights=found.kind,
                weights_id=found.weights_id,
                deployment=found.deployed(case),
                estimate=predict(case, found) if predict else None,
            )
        )
    recording = Recording(
        suite=suite, environment=environment, facts=tuple(facts), created_at=utc_now(), tool_version=tool_version
    )
    return Plan(recording=recording, weights=weights, journal_path=journal_path, opener=opener)


def _header(recording: Recording) -> dict[str, Any]:
    return {
        "suite_id": recording.suite.suite_id,
        "environment": codec.to_mapping(recording.environment),
        "created_at": recording.created_at,
    }


def _take_up(plan: Plan, *, restart: bool) -> tuple[Recording, list[Visit]]:
    """Continue the journal if there is one of this recording, else begin it."""
    if restart:
        plan.journal_path.unlink(missing_ok=True)
    entries = journal.read(plan.journal_path)
    header = _header(plan.recording)
    if not entries:
        journal.append(plan.journal_path, header)
        return plan.recording, []
    require_same(entries[0], header, str(plan.journal_path))
    visits = [visit for visit in map(entry_to_visit, entries) if visit is not None]
    times = 1 + sum("resumed_at" in entry for entry in entries)
    journal.append(plan.journal_path, {"resumed_at": utc_now()})
    return plan.recording.resumed(times), visits


def record(plan: Plan, *, restart: bool = False, on_turn: OnTurn | None = None) -> Run:
    """Fill the rounds, taking up an interrupted recording where it stopped; see `record_in_turn` for errors."""
    return record_in_turn((plan,), restart=restart, on_turn=on_turn)[0]


def record_in_turn(plans: Sequence[Plan], *, restart: bool = False, on_turn: OnTurn | None = None) -> tuple[Run, ...]:
    """Fill the rounds of several recordings of one suite, case by case in turn, so that all see the same machine.

    Every visit is on disk before the next begins; Ctrl-C or a crash loses the one under way.

    Raises:
        ResumeError: if a journal is of another suite or environment.
        JournalError: if it cannot be written.
    """
    taken_up = [_take_up(plan, restart=restart) for plan in plans]
    suite = plans[0].recording.suite
    for number in range(suite.rounds_count):
        todo = _turns([recording.missing(visits, number) for recording, visits in taken_up], number)
        for done, (subject, which) in enumerate(todo):
            if on_turn is not None:
                at = (number + done / len(todo)) / suite.rounds_count
                on_turn(at, f"round {number + 1} of {suite.rounds_count}, {subject}")
            visit = plans[which].turn(subject, number)
            journal.append(plans[which].journal_path, visit_to_entry(visit))
            taken_up[which][1].append(visit)
    return paired([recording.document(visits, utc_now()) for recording, visits in taken_up])


def _turns(missing: Sequence[Sequence[str]], number: int) -> list[tuple[str, int]]:
    """The turns of a round: case by case, and for each the recordings one after the other; who begins alternates."""
    turns: list[tuple[str, int]] = []
    for index, subject in enumerate(dict.fromkeys(itertools.chain.from_iterable(missing))):
        order = range(len(missing)) if (number + index) % 2 == 0 else reversed(range(len(missing)))
        turns += [(subject, which) for which in order if subject in missing[which]]
    return turns


def paired(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Runs that took turns, marked as such; a single one stays as it is."""
    if len(runs) < 2:
        return tuple(runs)
    made = json.dumps([[run.suite_id, run.created_at, run.finished_at, str(run.environment.engine)] for run in runs])
    paired_id = hashlib.sha256(made.encode()).hexdigest()[:16]
    return tuple(replace(run, paired_id=paired_id) for run in runs)


def kept(plan: Plan) -> Run:
    """What an interrupted recording holds so far."""
    visits = [visit for visit in map(entry_to_visit, journal.read(plan.journal_path)) if visit is not None]
    return plan.recording.document(visits, utc_now())
