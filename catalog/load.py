"""The catalog: packaged facts, indexed and frozen.

Loading is lazy: `load_catalog` reads the files; a record is decoded when it is first looked at.
Models that the user added or fetched lie in an overlay directory and take precedence.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from catalog.errors import CatalogError, UnknownNameError
from catalog.names import fold, resolve
from catalog.overlay import overlay_dir, read_overlay
from catalog.records import model_from_record, tuples
from catalog.types import ChipSpec, Citation, FileFormat, ModelSpec, QuantSpec, Score

if TYPE_CHECKING:
    from catalog.chips import ChipIndex, HardwareSpec

__all__ = ["TASKS", "Catalog", "CatalogError", "UnknownNameError", "load_catalog"]

TASKS = ("coding", "chat", "reasoning", "agentic", "rag", "embedding", "vision", "multilingual", "general")

_DATA_DIR = Path(__file__).resolve().parent / "data"  # importlib.resources would cost 10 ms of imports

#: Quantisations that a message offers where a name resembles none.
_USUAL_QUANT_IDS = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")

T = TypeVar("T")


class LazyMapping(Mapping[str, T], Generic[T]):
    """Identities to values that are decoded from their packed JSON when first looked at."""

    def __init__(self, packed: Mapping[str, bytes], decode: Callable[[Any], T], origin: str) -> None:
        self._packed = packed
        self._decode = decode
        self._origin = origin
        self._decoded: dict[str, T] = {}

    def __getitem__(self, identity: str) -> T:
        value = self._decoded.get(identity)
        if value is None:
            packed = self._packed[identity]
            try:
                value = self._decode(json.loads(packed))
            except (TypeError, ValueError, KeyError) as error:
                raise CatalogError(f"{self._origin}: record of {identity!r} is malformed: {error}") from error
            self._decoded[identity] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything the advisor knows about models, quantisations and chips."""

    version: str
    models: Mapping[str, ModelSpec]
    quants: Mapping[str, QuantSpec]
    chips: Mapping[str, ChipSpec]
    overlay_ids: frozenset[str] = field(default_factory=frozenset)  # models added or fetched by the user

    def model(self, text: str) -> ModelSpec:
        """The model of a name: repository id, its last part, display name, or a repository of its files.

        Raises:
            UnknownNameError: if the name fits no model or several.
        """
        exact = self.models.get(text)
        return exact or self.models[resolve("model", text, self._model_tiers, self.models)]

    def known_model(self, text: str) -> ModelSpec | None:
        """As `model`, but None for an unknown or ambiguous name, without looking for similar ones."""
        try:
            return self.models.get(text) or self.models[resolve("model", text, self._model_tiers, ())]
        except UnknownNameError:
            return None

    def quant(self, text: str) -> QuantSpec:
        """The quantisation of a name such as ``q4_k_m``.

        Raises:
            UnknownNameError: if there is none.
        """
        tier = {fold(quant_id): [quant_id] for quant_id in self.quants}
        try:
            return self.quants[resolve("quantisation", text, [tier], self.quants)]
        except UnknownNameError as error:
            if error.nearest or error.candidates:
                raise
            usual = tuple(quant_id for quant_id in _USUAL_QUANT_IDS if quant_id in self.quants)
            raise UnknownNameError("quantisation", text, nearest=usual) from None

    def chip(self, text: str, memory_bytes: int | None = None) -> ChipSpec:
        """The chip of a name or PCI id; a memory size picks the variant.

        Raises:
            UnknownNameError: if the name fits no chip or several.
        """
        return self._chip_index.find(text, memory_bytes)

    def known_chip(self, text: str, memory_bytes: int | None = None) -> ChipSpec | None:
        """As `chip`, but None for an unknown or ambiguous name, without looking for similar ones."""
        try:
            return self._chip_index.known(text, memory_bytes)
        except UnknownNameError:
            return None

    def hardware(self, text: str) -> "HardwareSpec":
        """The machine of a ``--hardware`` text such as ``rtx 3090*2+64GiB``.

        Raises:
            CatalogError: if it cannot be read, or its chip is unknown or ambiguous.
        """
        from catalog.chips import parse_hardware

        return parse_hardware(text, self._chip_index)

    def quality(self, model_id: str, task: str) -> Score:
        """Expected quality at a task, 0-100 with an 80 % interval; all zero for a model of another kind."""
        found = self._scores["models"].get(model_id, {}).get(task)
        if found is None:
            return self._unscored(model_id, task)
        low, mid, high, imputed, evidence = found
        texts = tuple(self._scores["evidence"][number] for number in evidence)
        return Score(low=low, mid=mid, high=high, imputed=bool(imputed), evidence=texts)

    def _unscored(self, model_id: str, task: str) -> Score:
        """The score of a model of another kind, or of one that joined after the scores were fitted."""
        model = self.models.get(model_id)
        if model is None or task not in model.tasks:
            return Score(low=0.0, mid=0.0, high=0.0, imputed=True, evidence=("not a model for this task",))
        from catalog.quality import impute, inherit

        if model.derived_from is not None and task in self._scores["models"].get(model.derived_from, {}):
            return inherit(self.quality(model.derived_from, task), model.derived_from)
        return impute(model, self._scores["fallback"][task])

    def quant_loss_frac(self, quant_id: str, params_count: int, task: str) -> float:
        """Relative loss of task quality by storing weights in a quantisation."""
        from catalog.quantloss import weight_loss_frac

        return weight_loss_frac(self.quants[quant_id], params_count, task)

    def weight_loss_frac(self, quant_id: str, model: ModelSpec, task: str) -> float:
        """Relative loss of a model's task quality by storing its weights in a quantisation."""
        from catalog.quantloss import charged_type, robust_params_count

        return self.quant_loss_frac(charged_type(quant_id, model.architecture), robust_params_count(model), task)

    def kv_quant_loss_frac(self, kv_quant_id: str, model: ModelSpec) -> float:
        """Relative loss of quality by storing the KV cache in a type."""
        from catalog.quantloss import kv_loss_frac

        return kv_loss_frac(kv_quant_id, model)

    @cached_property
    def _scores(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(json.loads(_read("scores.json")))

    @cached_property
    def _model_tiers(self) -> list[dict[str, list[str]]]:
        model_ids = json.loads(_read("index.json"))["ids"]["models"]
        tiers = [
            {name: [model_ids[position] for position in positions] for name, positions in tier.items()}
            for tier in json.loads(_read("names.json"))
        ]
        for model_id in self.overlay_ids:
            tiers[0][fold(model_id)] = [model_id]
            tiers[1].setdefault(fold(model_id.rpartition("/")[2]), [model_id])
        return tiers

    @cached_property
    def _chip_index(self) -> "ChipIndex":
        from catalog.chips import ChipIndex

        return ChipIndex(self.chips)


@cache
def load_catalog(overlay: Path | None = None) -> Catalog:
    """The packaged catalog, with the user's own models over it.

    Args:
        overlay: directory of the user's models; by default `overlay_dir`.
    """
    index = json.loads(_read("index.json"))
    models = _packed("models", index)
    added = read_overlay(overlay or overlay_dir())
    models.update(added)
    return Catalog(
        version=index["version"],
        models=LazyMapping(models, model_from_record, "models.jsonl"),
        quants=LazyMapping(_packed("quants", index), _quant, "quants.jsonl"),
        chips=LazyMapping(_packed("chips", index), _chip, "chips.jsonl"),
        overlay_ids=frozenset(added),
    )


def _packed(name: str, index: Mapping[str, Any]) -> dict[str, bytes]:
    return dict(zip(index["ids"][name], _read(f"{name}.jsonl").splitlines(), strict=True))


def _read(name: str) -> bytes:
    return (_DATA_DIR / name).read_bytes()


def _quant(record: Mapping[str, Any]) -> QuantSpec:
    fields = {**record, "file_format": FileFormat(record["file_format"]), "citation": Citation(**record["citation"])}
    return QuantSpec(**fields)


def _chip(record: Mapping[str, Any]) -> ChipSpec:
    return ChipSpec(**tuples({**record, "citation": Citation(**record["citation"])}))
