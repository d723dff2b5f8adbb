"""What validations on this machine say about the predictions still to come.

Each undisturbed validation leaves a residual: the logarithm of measured over predicted time of a phase.
A prediction is moved by the residuals of what is like it: a Gaussian process over models (kriging;
Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 2.2) whose correlation is
a sum of what all models share here, what a weight type shares, what a kind of architecture shares, and
what models alike in type, kind and size share. One result of a like model therefore moves a prediction
most of the way, that of an unlike one hardly at all, and noise counts for what it is. Pure.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import stdev

from advisor.thread_sweeps import Sweep, ThreadsFactor, sweep_of, threads_factor
from advisor.types import Basis, Bound, Deployment, Term, ValidationRecord, ValidationStatus, Workload

PHASES = ("decode", "prefill")
#: Shares of the unexplained variance that models have in common. They sum to one: a model with itself.
_ANY, _SAME_TYPE, _SAME_KIND, _LIKE, _SAME_MODEL = 0.05, 0.15, 0.10, 0.50, 0.20
#: What is left of it between runs whose kernels differ: with and without flash attention, and prompts for which an
#: accelerator is lent weights of the CPU or not.
_OTHER_KERNELS = 0.5
_MOST_SUBJECTS_COUNT = 16
#: What a repeat of the same measurement on another day differs by, as a log standard deviation.
_REPEAT_SIGMA = 0.03
_UNKNOWN_NOISE_SIGMA = 0.05
_EXTRAPOLATED_SIGMA = 0.05
#: How many validations the interval's own width counts as, when validations speak about it.
_PRIOR_COUNT = 6.0
_LEAST_SCALE, _MOST_SCALE = 0.5, 9.0
_MUCH_ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was or is to be timed, as far as its speed depends on it.

    ``type_shares`` are shares of the bytes that a token reads, by storage type; ``kind`` names the parts
    of the model that run kernels of their own.
    """

    model_id: str
    quant_id: str
    type_shares: tuple[tuple[str, float], ...]
    kind: frozenset[str]
    devices: frozenset[str]
    token_bytes: float
    context_tokens: float
    users_count: int
    flash_attention: bool = True
    op_offload: bool = True

    def in_phase(self, phase: str) -> "Subject":
        """The subject as far as one phase depends on it: tokens are decoded where their weights lie in any case."""
        return self if phase == "prefill" or self.op_offload else replace(self, op_offload=True)


def subject_of(workload: Workload, terms: Iterable[Term], deployment: Deployment) -> Subject:
    """The subject of an estimate, from its terms and settings."""
    by_type: dict[str, float] = {}
    kind, devices = set(), set()
    for term in terms:
        phase, part, tensor_type = (*term.name.split(".", 2), "", "")[:3]
        devices.add(term.device_id)
        if phase != "decode":
            continue
        if part in ("experts", "state"):
            kind.add(part)
        if tensor_type and tensor_type != "F32":
            by_type[tensor_type] = by_type.get(tensor_type, 0.0) + term.bytes
    total = sum(by_type.values()) or 1.0
    return Subject(
        model_id=deployment.model_id,
        quant_id=deployment.quant_id,
        type_shares=tuple((name, size / total) for name, size in sorted(by_type.items())),
        kind=frozenset(kind),
        devices=frozenset(devices),
        token_bytes=total,
        context_tokens=workload.prompt_tokens + workload.output_tokens / 2.0,
        users_count=workload.concurrency_count,
        flash_attention=deployment.flash_attention,
        op_offload=deployment.op_offload,
    )


def correlation(one: Subject, other: Subject) -> float:
    """How much of what is unexplained about one model is so about another, 0 to 1. Positive semidefinite."""
    if one.devices != other.devices:
        return 0.0
    shares = dict(other.type_shares)
    types = sum(min(share, shares.get(name, 0.0)) for name, share in one.type_shares)
    kind = 1.0 if one.kind == other.kind else 0.0
    octaves = math.log2(one.token_bytes / other.token_bytes)
    depths = math.log2((one.context_tokens + 512.0) / (other.context_tokens + 512.0))
    near = math.exp(-0.5 * (octaves / 1.5) ** 2 - 0.5 * (depths / 2.0) ** 2)
    near *= one.users_count == other.users_count
    same = one.model_id == other.model_id and one.quant_id == other.quant_id
    shared = _ANY + _SAME_TYPE * types + _SAME_KIND * kind + near * (_LIKE * types * kind + _SAME_MODEL * same)
    other_kernels_count = (one.flash_attention != other.flash_attention) + (one.op_offload != other.op_offload)
    return float(_OTHER_KERNELS**other_kernels_count * shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """Log of measured over predicted time of one subject, its noise, and how many validations it is the mean of."""

    subject: Subject
    log_ratio: float
    sigma: float
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What residuals say about one prediction: a factor on its time, the new log standard deviation, and on what."""

    time_factor: float
    sigma: float
    count: int
    alike_count: int


@dataclass(frozen=True, slots=True)
class PhaseExperience:
    """The residuals of one phase, solved: the inverse of their covariance and what it makes of them."""

    residuals: tuple[Residual, ...]
    inverse: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    scale: float

    def correct(self, subject: Subject, sigma: float) -> Correction | None:
        """The correction of a prediction whose log standard deviation is ``sigma``; None if nothing bears on it."""
        shared = [correlation(subject, residual.subject) for residual in self.residuals]
        if not any(shared):
            return None
        mean = sum(share * weight for share, weight in zip(shared, self.weights, strict=True))
        explained = sum(
            share * sum(map(float.__mul__, row, shared)) for share, row in zip(shared, self.inverse, strict=True)
        )
        left = max(0.0, 1.0 - explained) * self.scale
        counts = [residual.count for residual in self.residuals]
        return Correction(
            time_factor=math.exp(mean),
            sigma=math.sqrt(_structural(sigma) * left + min(sigma, _REPEAT_SIGMA) ** 2),
            count=sum(counts),
            alike_count=sum(n for n, share in zip(counts, shared, strict=True) if share >= _MUCH_ALIKE),
        )


def _structural(sigma: float) -> float:
    """The part of a prediction's log variance that is not what a repeat differs by anyway."""
    return sigma**2 - min(sigma, _REPEAT_SIGMA) ** 2


def solve(residuals: Sequence[Residual], sigma: float) -> PhaseExperience | None:
    """Prepare corrections from a phase's residuals, given the log standard deviation of its predictions."""
    variance = _structural(sigma)
    if not residuals or variance <= 0.0:
        return None
    kept = _merged(residuals)[-_MOST_SUBJECTS_COUNT:]
    covariance = [
        [correlation(a.subject, b.subject) + (a.sigma**2 / variance if a is b else 0.0) for b in kept] for a in kept
    ]
    inverse = _inverse(covariance)
    values = [residual.log_ratio for residual in kept]
    weights = tuple(sum(map(float.__mul__, row, values)) for row in inverse)
    surprise = sum(map(float.__mul__, weights, values)) / variance
    scale = (_PRIOR_COUNT + surprise) / (_PRIOR_COUNT + len(kept))
    return PhaseExperience(tuple(kept), inverse, weights, min(_MOST_SCALE, max(_LEAST_SCALE, scale)))


def _merged(residuals: Iterable[Residual]) -> list[Residual]:
    """One residual per subject, the mean weighted by precision, in the order they were last seen."""
    groups: dict[Subject, list[Residual]] = {}
    for residual in residuals:
        groups[residual.subject] = [*groups.pop(residual.subject, []), residual]
    merged = []
    for subject, group in groups.items():
        precisions = [residual.sigma**-2 for residual in group]
        mean = sum(p * r.log_ratio for p, r in zip(precisions, group, strict=True)) / sum(precisions)
        merged.append(
            Residual(
                subject=subject,
                log_ratio=mean,
                sigma=sum(precisions) ** -0.5,
                count=sum(residual.count for residual in group),
            )
        )
    return merged


def _inverse(matrix: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Inverse of a small positive definite matrix by Gauss-Jordan elimination."""
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(size):
            if j != i and rows[j][i]:
                factor = rows[j][i]
                rows[j] = [value - factor * own for value, own in zip(rows[j], rows[i], strict=True)]
    return tuple(tuple(row[size:]) for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What validations here taught about both phases."""

    phases: Mapping[str, PhaseExperience]
    sweeps: tuple[Sweep[Subject], ...] = ()

    @property
    def knows_plain_attention(self) -> bool:
        """Whether anything was timed without flash attention."""
        return any(
            not residual.subject.flash_attention for phase in self.phases.values() for residual in phase.residuals
        )

    def on_threads(self, phase: str, subject: Subject, usual_count: int, count: int) -> ThreadsFactor | None:
        """What another number of threads does to a phase's time, if a sweep says."""
        return threads_factor(self.sweeps, phase, usual_count, count, lambda swept: correlation(subject, swept))

    def correct(self, phase: str, subject: Subject, sigma: float) -> Correction | None:
        """The correction of one phase of one prediction, if anything bears on it."""
        known = self.phases.get(phase)
        return known.correct(subject, sigma) if known else None


def is_experience(term: Term) -> bool:
    """Whether a term is a correction by earlier validations rather than part of the prediction."""
    return term.name.endswith(".experience")


def corrected(
    experience: Experience | None, phase: str, subject: Subject, terms: tuple[Term, ...], sigma: float, floor_s: float
) -> tuple[tuple[Term, ...], float]:
    """A phase's terms and log standard deviation after what was seen here; never faster than ``floor_s``."""
    correction = experience.correct(phase, subject, sigma) if experience else None
    if correction is None:
        return terms, sigma
    predicted_s = sum(term.time_s for term in terms)
    time_s = max(predicted_s * correction.time_factor, min(predicted_s, floor_s))
    return (*terms, _term(phase, terms[0].device_id, time_s - predicted_s, correction)), correction.sigma


def rethreaded(
    experience: Experience | None,
    phase: str,
    subject: Subject,
    terms: tuple[Term, ...],
    sigma: float,
    floor_s: float,
    *,
    usual_count: int,
    count: int,
) -> tuple[tuple[Term, ...], float]:
    """A phase's terms and log standard deviation with another number of threads, as far as sweeps here tell."""
    factor = experience.on_threads(phase, subject, usual_count, count) if experience else None
    if factor is None:
        return terms, sigma
    predicted_s = sum(term.time_s for term in terms)
    time_s = max(predicted_s * factor.time_factor, min(predicted_s, floor_s))
    sweeps = "1 sweep" if factor.count == 1 else f"{factor.count} sweeps"
    term = Term(
        name=f"{phase}.threads",
        device_id=terms[0].device_id,
        time_s=time_s - predicted_s,
        bound=Bound.OVERHEAD,
        basis=Basis.MEASURED,
        note=f"time x {factor.time_factor:.3f} with {count} rather than {usual_count} threads, from {sweeps} here",
    )
    return (*terms, term), math.hypot(sigma, factor.sigma)


def _term(phase: str, device_id: str, added_s: float, correction: Correction) -> Term:
    """A correction as a line of an estimate's working; it takes time away where models ran faster here."""
    validations = "1 validation" if correction.count == 1 else f"{correction.count} validations"
    return Term(
        name=f"{phase}.experience",
        device_id=device_id,
        time_s=added_s,
        bound=Bound.OVERHEAD,
        basis=Basis.MEASURED,
        note=f"time x {correction.time_factor:.3f} from {validations} here, {correction.alike_count} of much the same",
    )


def learn(
    records: Iterable[ValidationRecord],
    provenance: Mapping[str, str],
    sigmas: Mapping[str, float],
    threads_count: int | None = None,
) -> Experience | None:
    """Experience from a machine's validations, oldest first; None if none of them counts.

    Args:
        records: validations on this machine and engine build.
        provenance: where this machine's rates come from; records predicted from others do not count.
        sigmas: log standard deviation of this machine's uncorrected predictions, by phase.
        threads_count: the number of threads those hold for; validations with another only tell by their sweeps.
    """
    sweeps: list[Sweep[Subject]] = []
    found: dict[str, list[Residual]] = {phase: [] for phase in PHASES}
    for record in records:
        if not _counts(record, provenance):
            continue
        terms = [term for term in record.estimate.terms if not is_experience(term)]
        made = record.estimate
        how = made.deployment
        subject = subject_of(made.workload, terms, how)
        if record.threads:
            sweeps.append(sweep_of(subject, record.threads))
        if None not in (how.threads_count, threads_count) and how.threads_count != threads_count:
            continue
        for phase in PHASES:
            residual = _residual(record, phase, subject.in_phase(phase), terms)
            if residual is not None:
                found[phase].append(residual)
    solved = {phase: solve(residuals, sigmas[phase]) for phase, residuals in found.items()}
    known = {phase: experience for phase, experience in solved.items() if experience is not None}
    return Experience(phases=known, sweeps=tuple(sweeps)) if known or sweeps else None


def _counts(record: ValidationRecord, provenance: Mapping[str, str]) -> bool:
    """Whether a record was undisturbed and predicted from the same rates as predictions are now."""
    if record.status != ValidationStatus.OK or record.polluted:
        return False
    own = {key: text for key, text in record.estimate.provenance.items() if _is_rates(key)}
    return bool(own) and all(provenance.get(key) == text for key, text in own.items())


def _is_rates(key: str) -> bool:
    return key == "calibration" or key.startswith("rates.")


def _residual(record: ValidationRecord, phase: str, subject: Subject, terms: Sequence[Term]) -> Residual | None:
    predicted_s = sum(term.time_s for term in terms if term.name.startswith(f"{phase}."))
    measured_s = _measured_s(record, phase)
    if predicted_s <= 0.0 or measured_s is None:
        return None
    return Residual(subject=subject, log_ratio=math.log(measured_s / predicted_s), sigma=_noise(record, phase))


def _measured_s(record: ValidationRecord, phase: str) -> float | None:
    """Seconds as the terms count them: of one decoded token, of the whole prompt."""
    decode = phase == "decode"
    rate = record.observed.decode_tokens_per_s if decode else record.observed.prefill_tokens_per_s
    if rate is None or not math.isfinite(rate) or rate <= 0.0:
        return None
    return (1 if decode else record.estimate.workload.prompt_tokens) / rate


def _noise(record: ValidationRecord, phase: str) -> float:
    """Log standard deviation of a record's figure: its windows' scatter, and what was not run but inferred."""
    windows = [value for value in record.samples.get(f"{phase}_windows_s", ()) if value > 0.0]
    own = _UNKNOWN_NOISE_SIGMA
    if len(windows) > 1:
        own = stdev(map(math.log, windows)) / math.sqrt(len(windows))
    inferred = record.weights == "truncated_twin" or f"{phase}_late_s" in record.samples
    return math.hypot(own, _REPEAT_SIGMA, _EXTRAPOLATED_SIGMA if inferred else 0.0)
