"""A suite: which models, quantisations, workloads and engine settings a reference machine records. Pure.

Read from TOML or JSON. ``[[case]]`` entries name one combination each; a ``[[matrix]]`` entry holds lists
and stands for every combination; ``[defaults]`` fills in what an entry leaves out.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import PurePath
from typing import Any

from advisor.errors import BadRequestError
from advisor.types import Deployment, Workload

MAX_CASES_COUNT = 200
MAX_ROUNDS_COUNT = 1000
MAX_TOKENS_COUNT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteCase:
    """One thing to time: a catalog model as a weightless twin, or a real GGUF file.

    ``layers_count`` cuts a twin down to its first layers; ``None`` keeps them all.
    """

    model: str | None = None
    quant: str | None = None
    file: str | None = None
    layers_count: int | None = None
    prompt_tokens: int = 256
    output_tokens: int = 32
    context_tokens: int | None = None
    threads_count: int | None = None
    ubatch_tokens: int = 512
    kv_quant_id: str = "f16"
    flash_attention: bool = True
    backend: str = "cpu"
    gpu_layers_count: int = 0

    @property
    def loaded_context_tokens(self) -> int:
        """The context the engine is loaded with: as asked, or just enough."""
        return self.context_tokens or self.prompt_tokens + self.output_tokens + 64

    @property
    def subject(self) -> str:
        """A readable name, unique within a suite."""
        name = PurePath(self.file).name if self.file else f"{self.model}:{self.quant}"
        parts = [name, f"{self.layers_count} layers" if self.layers_count else ""]
        parts += [f"p{self.prompt_tokens}", f"n{self.output_tokens}"]
        parts += [f"c{self.context_tokens}" if self.context_tokens else ""]
        parts += [f"t{self.threads_count}" if self.threads_count else ""]
        for field in _NAMED_IF_UNUSUAL:
            value = getattr(self, field)
            if value != _DEFAULTS[field]:
                parts.append(f"{_KEY_OF[field]}={value}")
        return " ".join(part for part in parts if part)

    @property
    def workload(self) -> Workload:
        """What the model is asked to do."""
        return Workload(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            context_tokens=self.loaded_context_tokens,
        )

    def deployment(self, model_id: str, quant_id: str, layers_count: int | None = None) -> Deployment:
        """How the engine loads it, under the model's full name; the layers that are not on the GPU are on the CPU.

        Of a model whose ``layers_count`` is unknown one layer is taken to be left.
        """
        layers: dict[str, int] = {}
        if self.gpu_layers_count:
            rest_count = 1 if layers_count is None else layers_count - self.gpu_layers_count
            layers = {"cpu": rest_count} if rest_count > 0 else {}
            layers[f"{self.backend}:0"] = self.gpu_layers_count
        return Deployment(
            model_id=model_id,
            quant_id=quant_id,
            backend=self.backend,
            layers_by_device=layers,
            kv_quant_id=self.kv_quant_id,
            threads_count=self.threads_count,
            ubatch_tokens=self.ubatch_tokens,
            flash_attention=self.flash_attention,
        )


_DEFAULTS = {field.name: field.default for field in fields(SuiteCase)}
_NAMED_IF_UNUSUAL = ("ubatch_tokens", "kv_quant_id", "flash_attention", "backend", "gpu_layers_count")

#: Key in the file -> (field, type, lowest, highest). Counts are bounded before anything is allocated.
_KEYS: dict[str, tuple[str, type, int, int]] = {
    "model": ("model", str, 0, 0),
    "quant": ("quant", str, 0, 0),
    "file": ("file", str, 0, 0),
    "layers": ("layers_count", int, 1, 1000),
    "prompt": ("prompt_tokens", int, 1, MAX_TOKENS_COUNT),
    "output": ("output_tokens", int, 1, MAX_TOKENS_COUNT),
    "context": ("context_tokens", int, 16, MAX_TOKENS_COUNT),
    "threads": ("threads_count", int, 1, 4096),
    "ubatch": ("ubatch_tokens", int, 1, 65536),
    "kv_type": ("kv_quant_id", str, 0, 0),
    "flash_attention": ("flash_attention", bool, 0, 0),
    "backend": ("backend", str, 0, 0),
    "gpu_layers": ("gpu_layers_count", int, 0, 10_000),
}
_KEY_OF = {field: key for key, (field, *_) in _KEYS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What to record: cases taking turns, round by round."""

    name: str
    cases: tuple[SuiteCase, ...]
    rounds_count: int = 10
    windows_count: int = 3
    probes: bool = True

    @property
    def suite_id(self) -> str:
        """A hash of everything that changes what is measured; name and number of rounds do not."""
        what = {"windows": self.windows_count, "cases": [asdict(case) for case in self.cases]}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _checked(key: str, value: Any, where: str) -> tuple[str, Any]:
    if key not in _KEYS:
        raise BadRequestError(f"{where}: unknown key {key[:40]!r}; known are {', '.join(_KEYS)}")
    field, kind, lowest, highest = _KEYS[key]
    number: Any = value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequestError(f"{where}: {key} = {str(value)[:40]!r} must be {_KIND_NAMES[kind]}")
    if kind is int and not lowest <= number <= highest:
        raise BadRequestError(f"{where}: {key} = {value} is not within {lowest} to {highest}")
    return field, value


_KIND_NAMES = {str: "a text", int: "a whole number", bool: "true or false"}


def _case(table: Mapping[str, Any], where: str) -> SuiteCase:
    case = SuiteCase(**dict(_checked(key, value, where) for key, value in table.items()))
    if (case.file is None) == (case.model is None):
        raise BadRequestError(f"{where}: give either model (with quant) or file")
    if case.model is not None and case.quant is None:
        raise BadRequestError(f'{where}: model {case.model[:80]!r} needs a quant, e.g. quant = "Q4_K_M"')
    if case.file is not None and case.layers_count is not None:
        raise BadRequestError(f"{where}: layers cuts a twin down; a real file runs whole")
    if case.loaded_context_tokens < case.prompt_tokens + case.output_tokens:
        needed = case.prompt_tokens + case.output_tokens
        raise BadRequestError(f"{where}: context {case.context_tokens} does not hold prompt + output, {needed} tokens")
    return case


def _expanded(table: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Every combination of the lists in a matrix entry. A list of tables varies several keys together."""
    axes: list[list[dict[str, Any]]] = []
    size = 1
    for key, value in table.items():
        options = value if isinstance(value, list) else [value]
        size *= len(options)
        if not 1 <= size <= MAX_CASES_COUNT:
            raise BadRequestError(f"{where}: stands for {size} cases; 1 to {MAX_CASES_COUNT} can be recorded")
        axes.append([option if isinstance(option, dict) else {key: option} for option in options])
    return [{k: v for part in combination for k, v in part.items()} for combination in itertools.product(*axes)]


def _tables(data: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    entries = data.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise BadRequestError(f"{where}: write {key} entries as [[{key}]] tables")
    return list(entries)


def _count(data: Mapping[str, Any], key: str, default: int, highest: int, where: str) -> int:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
        raise BadRequestError(f"{where}: {key} must be a whole number from 1 to {highest}")
    return value


def parse_suite(data: Mapping[str, Any], where: str = "suite") -> Suite:
    """A suite from a parsed TOML or JSON file.

    Raises:
        BadRequestError: naming the entry and key that is wrong.
    """
    known = ("name", "rounds", "windows", "probes", "defaults", "case", "matrix")
    for key in data:
        if key not in known:
            raise BadRequestError(f"{where}: unknown key {str(key)[:40]!r}; known are {', '.join(known)}")
    defaults = data.get("defaults", {})
    if not isinstance(defaults, Mapping) or not isinstance(data.get("probes", True), bool):
        raise BadRequestError(f"{where}: defaults is a table, and probes is true or false")
    tables = [(dict(table), f"{where}: case {i + 1}") for i, table in enumerate(_tables(data, "case", where))]
    for i, table in enumerate(_tables(data, "matrix", where)):
        tables += [(one, f"{where}: matrix {i + 1}") for one in _expanded(table, f"{where}: matrix {i + 1}")]
    if not 1 <= len(tables) <= MAX_CASES_COUNT:
        raise BadRequestError(f"{where}: has {len(tables)} cases; 1 to {MAX_CASES_COUNT} can be recorded")
    cases = tuple(_case({**defaults, **table}, entry) for table, entry in tables)
    _require_unique(cases, where)
    return Suite(
        name=str(data.get("name", "suite"))[:80],
        cases=cases,
        rounds_count=_count(data, "rounds", 10, MAX_ROUNDS_COUNT, where),
        windows_count=_count(data, "windows", 3, 100, where),
        probes=data.get("probes", True),
    )


def _require_unique(cases: Sequence[SuiteCase], where: str) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.subject in seen:
            raise BadRequestError(f"{where}: the case {case.subject!r} is listed twice")
        seen.add(case.subject)
