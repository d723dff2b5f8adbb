"""How far the catalog's arithmetic is from what was published: file sizes and parameter counts."""

import csv
import gzip
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from catalog.errors import CatalogError
from catalog.ggml_types import FULL_PRECISION, TYPES
from catalog.load import Catalog
from catalog.mixes import DEFAULT_TYPES
from catalog.names import squash
from catalog.publishers import DYNAMIC_LEVELS
from catalog.recipes import recipe_of
from catalog.tensors import gguf_architecture, params_count
from catalog.types import ModelSpec, Role
from catalog.units import GIB
from catalog.weights import weigh

TOLERANCE_FRAC = 0.005
_PARAMS_ROUNDING = 6e6  # published counts have two decimals of a billion
_LABEL = re.compile(r"((?:IQ|TQ|Q|BF|F|MXFP)\d\w*)(?: - (Small|Medium|Large))?")
_DYNAMIC = re.compile(r"UD-[A-Z0-9]+(?:_[A-Z0-9]+)*")
_UNIFORM = frozenset({"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"})
_UNIFORM_SLACK_FRAC = 0.06
_MIX_SLACK_FRAC = 0.1
_NOT_OF_THE_NAME = re.compile(r"(?i)^unsloth_|[ _-](bf16|b|safetensors|it qat|128k)\b")
_OF_A_FORK = "ik_llama.cpp"  # loads files of anybody's making, those of its own quantiser included
# https://unsloth.ai/docs/models/qwen3.5/gguf-benchmarks and the files of others who follow it
_LIFTED_BY_UPLOADERS = frozenset({"qwen35", "qwen35moe"})
_LARGE_VARIANTS = ("Q2_K_L", "Q4_K_L", "Q5_K_L", "Q6_K_L")
_NO_MEDIUM = frozenset({"Q2_K", "Q6_K"})


#: The kinds of rows that are compared.
COMPARED = ("standard", "vendor", "unnamed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One published figure beside ours. ``error_frac`` is ours / published - 1; None if not comparable.

    ``kind`` says which mix the file is of: "standard" (llama.cpp's own), "vendor" (an uploader's, by its name),
    "unnamed" (its label names a file type that several mixes share, and its uploader is not known: compared with
    the nearest of them) or "skipped"; ``note`` says why it is not standard.
    """

    subject: str
    quant_id: str | None
    kind: str
    published: float
    computed: float | None = None
    error_frac: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """All comparisons of one kind of figure."""

    comparisons: tuple[Comparison, ...]
    tolerance_frac: float = TOLERANCE_FRAC

    def of_kind(self, kind: str) -> tuple[Comparison, ...]:
        """The comparisons of one kind."""
        return tuple(row for row in self.comparisons if row.kind == kind)

    def within_frac(self, *kinds: str) -> float | None:
        """Share of comparisons within the tolerance, of standard files or of the kinds; None if there are none."""
        rows = [row for kind in kinds or ("standard",) for row in self.of_kind(kind)]
        return sum(_close(row, self.tolerance_frac) for row in rows) / len(rows) if rows else None

    def misses(self, kind: str = "standard") -> tuple[Comparison, ...]:
        """A kind's comparisons beyond the tolerance, worst first."""
        rows = [row for row in self.of_kind(kind) if not _close(row, self.tolerance_frac)]
        return tuple(sorted(rows, key=lambda row: -abs(row.error_frac or 0.0)))


def _close(row: Comparison, tolerance_frac: float) -> bool:
    return row.error_frac is not None and abs(row.error_frac) <= tolerance_frac


def parameter_agreement(catalog: Catalog) -> Agreement:
    """Parameters recomputed from each geometry against the stated count."""
    return Agreement(comparisons=tuple(_parameters(model) for model in catalog.models.values()))


def _parameters(model: ModelSpec) -> Comparison:
    stated = model.params_total_count
    if model.geometry is None:
        return Comparison(
            subject=model.model_id, quant_id=None, kind="skipped", published=stated, note=model.geometry_note
        )
    computed = params_count(model)
    return Comparison(
        subject=model.model_id,
        quant_id=None,
        kind="standard",
        published=stated,
        computed=computed,
        error_frac=computed / stated - 1,
        note=model.geometry_note,
    )


def size_agreement(catalog: Catalog, rows: Iterable[Mapping[str, str]] | None = None) -> Agreement:
    """Weight bytes by the mixing rules against published GGUF sizes.

    Args:
        catalog: whose models the rows are about.
        rows: columns ``model, quant, file_size_bytes, file_size_gib, params_b, file_name, source``; the
            packaged table by default. Sizes are those of the weights, as llama-bench prints them.
    """
    table = list(_packaged_sizes() if rows is None else rows)
    candidates = _Candidates(catalog)
    return Agreement(comparisons=_one_standard_each([_size(row, candidates) for row in table]))


def _one_standard_each(rows: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Of several sizes under one label, at most one can be the standard mix: keep the nearest as such."""
    nearest: dict[tuple[str | None, float | None], Comparison] = {}
    for row in sorted(rows, key=lambda row: -abs(row.error_frac or 0.0)):
        if row.kind == "standard":
            nearest[row.quant_id, row.computed] = row
    return tuple(_demoted(row, nearest.get((row.quant_id, row.computed), row)) for row in rows)


def _demoted(row: Comparison, nearest: Comparison) -> Comparison:
    if row.kind != "standard" or abs(row.published / nearest.published - 1) <= TOLERANCE_FRAC:
        return row
    return replace(row, kind="vendor", note="another size is published under the same label")


def _packaged_sizes() -> list[dict[str, str]]:
    packed = files("catalog").joinpath("sources", "published", "gguf_sizes.csv.gz").read_bytes()
    return list(csv.DictReader(io.StringIO(gzip.decompress(packed).decode())))


class _Candidates:
    """Catalog models of known shape, to be found by name or by architecture and size."""

    def __init__(self, catalog: Catalog) -> None:
        self._models = [model for model in catalog.models.values() if model.geometry is not None]
        self._by_name = {squash(model.model_id.rpartition("/")[2]): model for model in self._models}
        self._by_name |= {squash(model.display_name): model for model in self._models}
        self._stored: dict[tuple[str, bool], int] = {}

    def named(self, text: str) -> ModelSpec | None:
        """The model of exactly that name, what names its conversion left out."""
        name = _NOT_OF_THE_NAME.sub("", text)
        return self._by_name.get(squash(name))

    def sized(self, architecture: str, params: float) -> tuple[ModelSpec, bool] | None:
        """A model of an architecture and size, and whether that size counts its prediction blocks."""
        near = [
            (model, with_nextn)
            for model in self._models
            for with_nextn in (False, True)
            if abs(self._stored_params(model, with_nextn) - params) <= _PARAMS_ROUNDING
        ]
        same = [found for found in near if gguf_architecture(found[0]) == architecture]
        # llama-bench calls several architectures "llama"; the size then decides alone
        return next(iter(same or (near if architecture == "llama" else [])), None)

    def _stored_params(self, model: ModelSpec, with_nextn: bool) -> int:
        key = model.model_id, with_nextn
        if key not in self._stored:
            self._stored[key] = _stored(model, with_nextn)
        return self._stored[key]


def _stored(model: ModelSpec, with_nextn: bool) -> int:
    total = params_count(model)
    if with_nextn:
        groups = weigh(model, "F16").groups
        total += sum(group.params_count for group in groups if group.role is Role.TOWER)
    return total


def _size(row: Mapping[str, str], candidates: _Candidates) -> Comparison:
    published = float(row["file_size_bytes"] or float(row["file_size_gib"]) * GIB)
    subject = row["model"] or row["file_name"] or row["source"]
    dynamic = _DYNAMIC.search(" ".join((row["file_name"], row["model"], row["source"])))
    quant_id = dynamic.group() if dynamic else _quant_of(row["quant"])
    found = _model_of(row, candidates)
    note = _obstacle(row, quant_id, found, published)
    if note or found is None or quant_id is None:
        return Comparison(subject=subject, quant_id=quant_id, kind="skipped", published=published, note=note)
    model, with_nextn = found
    reason = None if dynamic else _reason_for_another_mix(row, quant_id, model)
    of_the_label = mixes_of(quant_id) if reason else (quant_id,)
    sizes = {name: _weights_bytes(model, name, with_nextn=with_nextn) for name in of_the_label}
    nearest = min(sizes, key=lambda name: abs(sizes[name] / published - 1))
    return Comparison(
        subject=f"{subject} ({model.model_id})",
        quant_id=nearest,
        kind="vendor" if dynamic else "unnamed" if reason else "standard",
        published=published,
        computed=sizes[nearest],
        error_frac=sizes[nearest] / published - 1,
        note=reason,
    )


def _weights_bytes(model: ModelSpec, quant_id: str, *, with_nextn: bool) -> int:
    groups = weigh(model, "MXFP4_MOE" if quant_id == "MXFP4" else quant_id).groups
    return sum(group.weight_bytes for group in groups if with_nextn or group.role is not Role.TOWER)


def mixes_of(quant_id: str) -> tuple[str, ...]:
    """The mixes that llama.cpp prints as one file type: its own, Unsloth's, and those with larger edges."""
    file_type = recipe_of(quant_id).file_type
    named = (*(f"UD-{level}" for level in DYNAMIC_LEVELS), *_LARGE_VARIANTS)
    return (quant_id, *(name for name in named if recipe_of(name).file_type == file_type))


def _reason_for_another_mix(row: Mapping[str, str], quant_id: str, model: ModelSpec) -> str | None:
    """Why a file may not be of llama.cpp's own mix although its label does not say so, or None."""
    if _OF_A_FORK in row["source"]:
        return "loaded with a fork of llama.cpp; its maker is not named"
    if model.architecture in _LIFTED_BY_UPLOADERS and quant_id not in _UNIFORM | FULL_PRECISION:
        return "uploaders lift this architecture's token mixers; which of them made it is not named"
    return None


def _quant_of(label: str) -> str | None:
    """``Q4_K_M`` from "llama 8B Q4_K - Medium"."""
    match = _LABEL.search(label)
    if match is None:
        return None
    name, size = match.group(1).upper(), match.group(2)
    return name if size is None or name in _NO_MEDIUM else f"{name}_{size[0]}"


def _model_of(row: Mapping[str, str], candidates: _Candidates) -> tuple[ModelSpec, bool] | None:
    label = f"{row['model']} {row['quant']}".lower()
    described = (*label.split(), label.partition("-")[0])
    if not row["params_b"]:
        model = candidates.named(row["model"])
        return (model, False) if model else None
    params = float(row["params_b"]) * 1e9
    for word in described:
        found = candidates.sized(word, params)
        if found is not None:
            return found
    model = candidates.named(row["model"])
    return (model, False) if model else None


def _obstacle(
    row: Mapping[str, str], quant_id: str | None, found: tuple[ModelSpec, bool] | None, published: float
) -> str | None:
    """Why a row cannot be compared, or None."""
    if quant_id is None:
        return "no file type in its label"
    try:
        recipe_of(quant_id)
    except CatalogError:
        return f"{quant_id} is a type of a fork of llama.cpp"
    if found is None:
        return "its model is not in the catalog, or its shape is unknown"
    bits = float(row.get("bits_per_weight") or 8 * published / params_count(found[0]))
    recipe = recipe_of(quant_id)
    if recipe.exact and not _plausible(bits, recipe.file_type):
        return f"{bits:.3g} bits per weight contradict the label {quant_id}"
    return None


def _plausible(bits: float, file_type: str) -> bool:
    """Whether a file of so many bits per weight can be of a type: no mix is far below its default type."""
    if file_type in FULL_PRECISION:
        return True
    default = TYPES[DEFAULT_TYPES[file_type]]
    least = 8 * default.block_bytes / default.block_weights_count
    most = least * (1 + _UNIFORM_SLACK_FRAC) if file_type in _UNIFORM else 2 * least
    return least * (1 - _MIX_SLACK_FRAC) <= bits <= most


def summarise(name: str, agreement: Agreement, kinds: Sequence[str] = COMPARED) -> list[str]:
    """One line per kind: how many comparisons are within the tolerance."""
    lines = []
    for kind in kinds:
        rows, share = agreement.of_kind(kind), agreement.within_frac(kind)
        if share is not None:
            lines.append(f"{name}, {kind}: {share:.1%} of {len(rows)} within {agreement.tolerance_frac:.1%}")
    return lines
