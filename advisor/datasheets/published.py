"""Published speeds of llama.cpp: a table's rows, checked and turned into work a `Rates` can price.

The columns are those of the command contract: hardware, backend, model_id, quant, test, tokens_per_s
and, where present, date, file_size_gib and n_ubatch. Rows come from strangers' tables, so every one that cannot be
read or priced is set aside with its reason.
"""

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from advisor.datasheets.factors import Setting
from advisor.types import SkippedRow
from advisor.work import Work, decode_work, prefill_work
from catalog.errors import CatalogError
from catalog.load import Catalog
from catalog.types import ArtifactSpec, ChipSpec, ModelSpec
from catalog.units import GIB
from catalog.weights import weigh

COLUMNS = ("hardware", "backend", "model_id", "quant", "test", "tokens_per_s")
_TEST = re.compile(r"^(pp|tg)\s*([1-9]\d{0,7})(?:\s*@\s*d\s*(\d{1,8}))?$", re.IGNORECASE)
_DATE = re.compile(r"\b(20[12]\d)(?:-(0[1-9]|1[0-2])(?!\d)(?:-(0[1-9]|[12]\d|3[01])(?!\d))?)?")
_BACKENDS = {
    "cuda": "cuda",
    "metal": "metal",
    "mtl": "metal",
    "rocm": "rocm",
    "hip": "rocm",
    "vulkan": "vulkan",
    "sycl": "sycl",
    "cpu": "cpu",
}
#: Whose chips a backend runs on, where it is one maker's.
_MAKERS = {"cuda": "nvidia", "metal": "apple", "rocm": "amd", "sycl": "intel"}
#: A library for the processor, named beside a backend or, where there is no other, alone.
_PROCESSOR_LIBRARY = "blas"
#: What published tables call llama.cpp's file types; its own tool prints "Q4_K - Medium" and "IQ4_XS - 4.25 bpw".
_QUANT_NAMES = {
    "MXFP4": "MXFP4_MOE",
    "MXFP4 MOE": "MXFP4_MOE",
    "BF16+MXFP4": "BF16",
    "Q4_0_4_4": "Q4_0",
    "Q4_0_4_8": "Q4_0",
    "Q4_0_8_8": "Q4_0",
}
_PRINTED_SIZES = {"SMALL": "_S", "MEDIUM": "_M", "LARGE": "_L"}
_PRINTED_QUANT = re.compile(r"^(\S+) - (?:(small|medium|large)|[\d.]+ bpw\b.*)$", re.IGNORECASE)
#: Several of one card: "2x RTX 3090", "RTX 3090 x2", "RTX 3090 (x2)", "RTX 3090 * 2".
_CARDS_BEFORE = re.compile(r"^([2-9]|1[0-6])\s*[x×*]\s*(?=\S)", re.IGNORECASE)
_CARDS_AFTER = re.compile(r"(?:\s+\(?[x×]|\s*\(?\*)\s*([2-9]|1[0-6])\)?$", re.IGNORECASE)
_VENDORS = ("NVIDIA ", "AMD ", "Intel ", "Apple ")
_CUSTOM_MIX = re.compile(r"^(?:UD-)?(.+?)(?:_(?:XL|L|XS))?$")
#: A file further than this from the recipe's size is another model or a misprint.
_FILE_RATIO_RANGE = (0.6, 1.6)
#: Since llama.cpp turned flash attention on by itself (August 2025); long prompts are then run with
#: micro-batches of 2048, as the project's own guides do.
_FLASH_ATTENTION_SINCE = 2025.62
_LONG_PROMPT_TOKENS = 2048
#: Builds from here on are counted as today's where architectures differ (``catalog.architectures.evaluation``); older
#: rows of those fit better without.
_EVALUATED_AS_TODAY_SINCE = 2026.3
_UBATCH_TOKENS = 512
_MAX_TOKENS_PER_S = 1e7
_MONTH_DAYS = 31.0


class RowError(ValueError):
    """A row cannot be predicted; the message says why in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One published speed. ``built`` is the year of the build as a decimal, where the row tells it."""

    hardware: str
    backend: str
    model_id: str
    quant: str
    test: str
    phase: str  # "decode" | "prefill"
    tokens: int
    depth_tokens: int
    tokens_per_s: float
    built: float | None = None
    file_bytes: int | None = None
    told_ubatch_tokens: int | None = None

    @property
    def flash_attention(self) -> bool:
        """Whether the run most likely used flash attention."""
        return self.built is None or self.built >= _FLASH_ATTENTION_SINCE

    @property
    def setting(self) -> Setting:
        """The build and attention the run's coefficients depend on."""
        return Setting(built=self.built, flash_attention=self.flash_attention)

    @property
    def as_today(self) -> bool:
        """Whether the build worked through prompts as today's does."""
        return self.built is None or self.built >= _EVALUATED_AS_TODAY_SINCE

    @property
    def ubatch_tokens(self) -> int:
        """The micro-batch the run used, or most likely did."""
        if self.told_ubatch_tokens is not None:
            return self.told_ubatch_tokens
        return _LONG_PROMPT_TOKENS if self.flash_attention and self.tokens >= _LONG_PROMPT_TOKENS else _UBATCH_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedRow:
    """A row with what is needed to predict it: the chip, the model's weights and the work of one step."""

    row: PublishedRow
    chip: ChipSpec
    model: ModelSpec
    artifact: ArtifactSpec
    work: Work
    cards_count: int = 1  # of like cards that share the layers out, each waiting for the one before

    @property
    def measured_s(self) -> float:
        """Seconds of one decoded token, or of the whole prompt."""
        return (self.row.tokens if self.row.phase == "prefill" else 1) / self.row.tokens_per_s


def parse_row(fields: Mapping[str, str | None]) -> PublishedRow:
    """Read one row of the table.

    Raises:
        RowError: if a field is missing or makes no sense.
    """
    values = {name: (fields.get(name) or "").strip() for name in (*COLUMNS, "date", "file_size_gib", "n_ubatch")}
    empty = next((name for name in COLUMNS if not values[name]), None)
    if empty is not None:
        raise RowError(f"{empty} is empty")
    test = _TEST.match(values["test"])
    if test is None:
        raise RowError(f"test {values['test'][:20]!r} is not ppN, tgN or either with @dDEPTH")
    kind, tokens, depth = test.groups()
    size, ubatch = values["file_size_gib"], values["n_ubatch"]
    return PublishedRow(
        hardware=values["hardware"],
        backend=_parse_backend(values["backend"]),
        model_id=values["model_id"],
        quant=values["quant"],
        test=values["test"],
        phase="prefill" if kind.lower() == "pp" else "decode",
        tokens=int(tokens),
        depth_tokens=int(depth or 0),
        tokens_per_s=_positive("tokens_per_s", values["tokens_per_s"], _MAX_TOKENS_PER_S),
        built=parse_year(values["date"]),
        file_bytes=round(_positive("file_size_gib", size, 1e5) * GIB) if size else None,
        told_ubatch_tokens=math.ceil(_positive("n_ubatch", ubatch, 1e6)) if ubatch else None,
    )


def _parse_backend(text: str) -> str:
    """The one backend that a row names, as the tool prints it ("CUDA,BLAS") or with its driver ("Vulkan (RADV)")."""
    words = re.findall(r"[a-z]+", text.lower())
    named = {_BACKENDS[word] for word in words if word in _BACKENDS}
    if not named and words == [_PROCESSOR_LIBRARY]:
        return "cpu"
    if len(named) != 1:
        raise RowError(f"backend {text[:20]!r} is {'several' if named else 'unknown'}")
    return named.pop()


def _parse_cards(text: str) -> tuple[str, int]:
    """A card's name and how many of it are told of: "2x NVIDIA GeForce RTX 3090"."""
    found = _CARDS_BEFORE.match(text) or _CARDS_AFTER.search(text)
    if found is None:
        return text, 1
    return (text[: found.start()] + text[found.end() :]).strip(), int(found.group(1))


def _positive(name: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise RowError(f"{name} {text[:20]!r} is not a number") from None
    if not (math.isfinite(value) and 0.0 < value <= most):
        raise RowError(f"{name} {text[:20]!r} is out of range")
    return value


def parse_year(text: str) -> float | None:
    """A date as printed ("2024-05", "2025-2026", "scraped 2026-04-05") as a decimal year, or None.

    A month or a span counts from its middle. A table read on some day ("scraped") is older than that day: half a year.
    """
    found = _DATE.findall(text)
    if not found:
        return None
    years = [_decimal_year(*date) for date in found]
    middle = sum(years) / len(years)
    return middle - 0.5 if text.startswith("scraped") else middle


def _decimal_year(year: str, month: str, day: str) -> float:
    if not month:
        return int(year) + 0.5
    passed_months = int(month) - 1 + ((int(day) - 0.5) / _MONTH_DAYS if day else 0.5)
    return int(year) + passed_months / 12.0


def price_row(row: PublishedRow, catalog: Catalog) -> PricedRow:
    """Look up a row's chip and model and count the work of its test.

    Raises:
        RowError: if the catalog cannot price the row.
    """
    try:
        chip, cards_count = _find_chips(row.hardware, catalog)
        model = catalog.model(row.model_id)
    except CatalogError as error:
        raise RowError(str(error)) from error
    if _MAKERS.get(row.backend, chip.vendor.lower()) != chip.vendor.lower() or (
        row.backend == "cpu" and chip.kind in ("gpu", "accelerator")
    ):
        raise RowError(f"{row.backend} does not run on {chip.chip_id}")
    if model.geometry is None:
        raise RowError(f"{model.model_id}: shape unknown")
    artifact = artifact_of(model, row.quant, row.file_bytes)
    if row.phase == "decode":
        work = decode_work(artifact, model.geometry, depth_tokens=row.depth_tokens + row.tokens / 2.0)
    else:
        work = prefill_work(
            artifact,
            model.geometry,
            prompt_tokens=row.tokens,
            depth_tokens=row.depth_tokens,
            ubatch_tokens=row.ubatch_tokens,
            architecture=model.architecture if row.as_today else None,
        )
    return PricedRow(row=row, chip=chip, model=model, artifact=artifact, work=work, cards_count=cards_count)


def _find_chips(hardware: str, catalog: Catalog) -> tuple[ChipSpec, int]:
    """A row's chip and how many of it: by its name as it is, for two sockets of a processor are one; or as of several.

    What is left of a name without the vendor's is tried too ("NVIDIA RTX 4090").
    """
    with contextlib.suppress(CatalogError):
        return catalog.chip(hardware), 1
    name, count = _parse_cards(hardware)
    bare = next((name.removeprefix(vendor) for vendor in _VENDORS if name.startswith(vendor)), name)
    for tried, cards_count in ((name, count), (bare, count)):
        if tried != hardware:
            with contextlib.suppress(CatalogError):
                return catalog.chip(tried), cards_count
    return catalog.chip(hardware), 1


def artifact_of(model: ModelSpec, quant: str, file_bytes: int | None) -> ArtifactSpec:
    """The weights of a published file; a known file size stretches the recipe to custom mixes.

    Raises:
        RowError: if the quantisation is unknown or the file cannot be that model.
    """
    artifact = _recipe(model, quant, custom=file_bytes is not None)
    if file_bytes is None:
        return artifact
    ratio = file_bytes / artifact.file_bytes
    low, high = _FILE_RATIO_RANGE
    if not low <= ratio <= high:
        raise RowError(f"file_size_gib is {ratio:.2f} times what {model.model_id} takes at {quant}")
    groups = tuple(replace(group, weight_bytes=round(group.weight_bytes * ratio)) for group in artifact.groups)
    return replace(
        artifact,
        groups=groups,
        layer_bytes=tuple(round(size * ratio) for size in artifact.layer_bytes),
        expert_bytes=tuple(round(size * ratio) for size in artifact.expert_bytes),
        file_bytes=file_bytes,
    )


def _recipe(model: ModelSpec, quant: str, *, custom: bool) -> ArtifactSpec:
    name = _QUANT_NAMES.get(quant.upper(), quant)
    printed = _PRINTED_QUANT.match(name)
    if printed is not None:
        name = printed.group(1) + _PRINTED_SIZES.get((printed.group(2) or "").upper(), "")
    try:
        return weigh(model, name)
    except CatalogError as error:
        base = _CUSTOM_MIX.match(name)
        if not custom or base is None or base.group(1) == name:
            raise RowError(f"quant {quant[:20]!r} is unknown") from error
    try:
        return weigh(model, base.group(1))
    except CatalogError as error:
        raise RowError(f"quant {quant[:20]!r} is unknown") from error


def skipped(fields: Mapping[str, str | None], error: RowError) -> SkippedRow:
    """A row set aside, as the document shows it."""
    shown = {name: str(fields.get(name) or "")[:80] for name in COLUMNS}
    return SkippedRow(row=shown, reason=str(error))
