"""Plain words for everything that documents store as enums, ids and term names."""

from advisor.types import Basis, Bound, EstimateWarning, ValidationStatus, Verdict
from probes.types import ScanWarning
from reports.text import plain

ESTIMATE_WARNINGS: dict[str, str] = {
    EstimateWarning.GEOMETRY_APPROXIMATE: "The model's exact shape is not known, so memory and speed are approximate.",
    EstimateWarning.UNCALIBRATED_TYPE: "This weight format was not timed on this machine; its speed is inferred.",
    EstimateWarning.SPILLS_TO_CPU: "Too big for the accelerator alone: part of it runs on the CPU, setting the pace.",
    EstimateWarning.OVERFULL: "Needs more memory than is free; expect swapping or a failure to load.",
    EstimateWarning.CALIBRATION_POLLUTED: "Calibrated while other programs were busy; real speed may be higher.",
    EstimateWarning.NO_ENGINE: "No engine on this machine can load it, so the speed is unproven here.",
    EstimateWarning.UNKNOWN_CHIP_RATES: "The chip's peak rates are unknown; the speed rests on assumptions.",
    EstimateWarning.THREADS_NOT_MEASURED: (
        "This number of threads was not measured here: speeds are those of the usual number. "
        "advisor validate times several."
    ),
    EstimateWarning.PLAIN_ATTENTION_NOT_MEASURED: (
        "Speed without flash attention was not measured here: shown is that with it. "
        "advisor validate --flash-attention off measures it."
    ),
    EstimateWarning.MEMORY_LIMIT_TO_RAISE: (
        "Needs more than half of the memory, which is what Linux lets this GPU have until ttm.pages_limit is raised; "
        "advisor doctor on that machine names the command."
    ),
}

SCAN_WARNINGS: dict[str, str] = {
    ScanWarning.CONTENDED: "Other programs used the processor meanwhile: read it as a lower bound.",
    ScanWarning.STOLEN: "The host took processor time away from this virtual machine: read it as a lower bound.",
    ScanWarning.THROTTLED: "A processor quota or heat slowed the run: read it as a lower bound.",
    ScanWarning.GPU_CONTENDED: "Other programs used the GPU meanwhile: read it as a lower bound.",
    ScanWarning.GPU_THROTTLED: "Heat or its power supply slowed the GPU: read it as a lower bound.",
    ScanWarning.ABOVE_PHYSICS: "Faster than the hardware can be: the timer or the method failed, do not rely on it.",
    ScanWarning.BELOW_DATASHEET: "Far slower than this chip should be: its library left it idle, do not rely on it.",
    ScanWarning.BUDGET_CUT: "The time budget allowed fewer repeats than wanted.",
    ScanWarning.UNSTEADY: "The same work took very different times: something unseen shares the memory.",
    ScanWarning.SMALL_BUFFER: "Little free memory: the buffer may have fitted in the cache, so this may be too high.",
}

BASES: dict[str, str] = {
    Basis.MEASURED: "measured here",
    Basis.CALIBRATED: "calibrated here",
    Basis.DATASHEET: "from data sheets",
    Basis.ASSUMED: "assumed",
}

BASIS_MEANINGS: dict[str, str] = {
    Basis.MEASURED: "This very model was run on this machine.",
    Basis.CALIBRATED: "Computed from speeds measured on this machine with similar weights.",
    Basis.DATASHEET: "Computed from published figures of the chip and of machines like it.",
    Basis.ASSUMED: "No figure was at hand; a typical value was used.",
}

BOUNDS: dict[str, str] = {
    Bound.MEMORY: "memory bandwidth",
    Bound.COMPUTE: "arithmetic",
    Bound.LINK: "the link between devices",
    Bound.OVERHEAD: "fixed cost",
}

VALIDATION_STATUSES: dict[str, str] = {
    ValidationStatus.OK: "ran",
    ValidationStatus.FAILED: "failed",
    ValidationStatus.WAIVED: "not possible here",
}

VERDICTS: dict[str, str] = {
    Verdict.SLOWER: "worse",
    Verdict.FASTER: "better",
    Verdict.NOISIER: "noisier",
    Verdict.UNCHANGED: "no change",
    Verdict.NOT_COMPARABLE: "not comparable",
}

WEIGHTS_KINDS: dict[str, str] = {
    "real": "the real weights",
    "twin": "a weightless twin (same shapes, synthetic weights)",
    "truncated_twin": "truncated weightless twins, extrapolated to full depth",
}

TASKS: dict[str, str] = {
    "coding": "coding",
    "chat": "chat",
    "reasoning": "reasoning",
    "agentic": "agents",
    "rag": "answering from documents",
    "embedding": "embedding",
    "vision": "vision",
    "multilingual": "many languages",
    "general": "general use",
}

METRICS: dict[str, str] = {
    "decode_tokens_per_s": "Generation speed",
    "prefill_tokens_per_s": "Prompt speed",
    "first_token_s": "Time to first token",
    "load_s": "Load time",
    "peak_memory_bytes": "Peak memory",
}

PHASES = {"decode": "One generated token", "prefill": "The whole prompt"}

PARTS = {
    "weights": "Weights",
    "output": "Output layer",
    "experts": "Expert weights",
    "attention_weights": "Attention weights",
    "feed_forward_weights": "Feed-forward weights",
    "norms": "Norms and other small weights",
    "kv": "KV cache",
    "attention": "Attention",
    "state": "Recurrent state",
    "experience": "Seen in validations here",
    "threads": "Another number of threads",
    "overhead": "Engine overhead",
    "host": "Waiting for the processor",
    "link": "Transfers between devices",
    "spill": "Fetching what does not fit",
}

_PROBES = {
    "read_bandwidth": "Memory read bandwidth",
    "stream_copy": "STREAM copy bandwidth",
    "stream_scale": "STREAM scale bandwidth",
    "stream_add": "STREAM add bandwidth",
    "stream_triad": "STREAM triad bandwidth",
    "nt_copy": "Non-temporal copy bandwidth",
    "matmul": "Matrix multiply",
    "latency": "Memory latency",
    "cache_curve": "Bandwidth by buffer size",
    "thread_sweep": "Bandwidth by thread count",
    "devices": "Devices",
}


def _spelt_out(name: str) -> str:
    words = plain(name).replace("_", " ").replace(".", " ")
    return words[:1].upper() + words[1:]


def estimate_warning(warning: str) -> str:
    """A caveat of an estimate as a sentence."""
    return ESTIMATE_WARNINGS.get(warning) or _spelt_out(warning)


def scan_warning(warning: str) -> str:
    """A caveat of a measurement as a sentence."""
    return SCAN_WARNINGS.get(warning) or _spelt_out(warning)


def basis(value: str) -> str:
    """How a number is known, in two words."""
    return BASES.get(value) or _spelt_out(value)


def bound(value: str) -> str:
    """What limits a term."""
    return BOUNDS.get(value) or _spelt_out(value)


def task(value: str) -> str:
    """A task as the end of "models for …"."""
    return TASKS.get(value) or _spelt_out(value)


def verdict(value: str) -> str:
    """What a comparison says about one metric."""
    return VERDICTS.get(value) or _spelt_out(value)


def metric(value: str) -> str:
    """A metric's name without its unit."""
    return METRICS.get(value) or _spelt_out(value)


def weights_kind(value: str) -> str:
    """What was loaded in a validation."""
    return WEIGHTS_KINDS.get(value) or plain(value)


def term_part(name: str) -> str:
    """A term's name without its phase: ``decode.experts.Q4_K`` is "Expert weights, Q4_K"."""
    phase, _, rest = name.partition(".")
    part, _, kind = rest.partition(".")
    if phase not in PHASES or not part:
        return _spelt_out(name)
    words = PARTS.get(part) or _spelt_out(part)
    return f"{words}, {plain(kind)}" if kind else words


def probe(probe_id: str, dtype: str | None = None) -> str:
    """What a probe measures, with its data type."""
    known = _PROBES.get(probe_id.rpartition(".")[2])
    words = known or _spelt_out(probe_id)
    return f"{words}, {plain(dtype)}" if dtype else words
