"""Weightless twins: a model's exact metadata, tensor shapes and types, with synthetic weights.

A twin loads and runs at the real model's speed, so a model can be timed without downloading it; with a
few of its layers it stands for a model larger than disk or memory.
"""

import contextlib
import os
import shutil
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from advisor.errors import AdvisorError
from advisor.twins import synthetic
from catalog import ggml_types
from catalog.recipes import tensor_types
from catalog.tensors import gguf_metadata, list_tensors, truncate
from catalog.types import ArtifactSpec, FileFormat, ModelSpec, Role, TensorSpec, WeightGroup
from catalog.weights import used_frac

_MAGIC = b"GGUF"
_VERSION = 3
_ALIGNMENT = 32
_SPARE_DISK_BYTES = 256 * 1024**2
_CHUNK_BYTES = 8 * 1024**2
_FLOAT_TYPES = frozenset({"F32", "F16", "BF16"})

MetadataValue = str | int | float | bool | Sequence[int] | Sequence[float] | Sequence[bool] | Sequence[str]

# (number in the file, struct format) of GGUF's value types
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY, _U64 = 4, 5, 6, 7, 8, 9, 10


class TwinError(AdvisorError):
    """A twin could not be written; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinTensor:
    """One tensor of the file: name, ggml shape, ggml type."""

    name: str
    shape: tuple[int, ...]
    type_name: str

    @property
    def size_bytes(self) -> int:
        """Bytes of its data, padding excluded."""
        return ggml_types.tensor_bytes(self.type_name, self.shape)


def _padding(size: int) -> int:
    return -size % _ALIGNMENT


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _scalar(value: str | int | float | bool) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return _BOOL, struct.pack("<?", value)
    if isinstance(value, int):
        if value < 0:
            return _I32, struct.pack("<i", value)
        return (_U32, struct.pack("<I", value)) if value < 2**32 else (_U64, struct.pack("<Q", value))
    if isinstance(value, float):
        return _F32, struct.pack("<f", value)
    return _STRING, _string(value)


def _value(value: MetadataValue) -> bytes:
    if isinstance(value, (str, int, float)):
        kind, raw = _scalar(value)
        return struct.pack("<I", kind) + raw
    items = [_scalar(item) for item in value]
    kinds = {kind for kind, _ in items}
    if len(kinds) > 1 and kinds <= {_U32, _I32}:  # an array has one type: signed if any is negative
        items = [(_I32, struct.pack("<i", int(item))) for item in value]
        kinds = {_I32}
    if len(kinds) != 1:
        raise TwinError(f"a metadata array must hold one kind of value, not {value!r:.60}")
    return struct.pack("<IIQ", _ARRAY, kinds.pop(), len(items)) + b"".join(raw for _, raw in items)


def gguf_header(metadata: Mapping[str, MetadataValue], tensors: Sequence[TwinTensor]) -> bytes:
    """Everything of a GGUF file before the tensor data, padding included.

    Format: version 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    parts = [_MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    parts += [_string(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        number = ggml_types.TYPES[tensor.type_name].number
        dims = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        parts.append(_string(tensor.name) + dims + struct.pack("<IQ", number, offset))
        offset += tensor.size_bytes + _padding(tensor.size_bytes)
    header = b"".join(parts)
    return header + bytes(_padding(len(header)))


def _fill_value(tensor: TwinTensor) -> float | None:
    """The constant a small tensor is filled with, or None for random weights.

    Norms, gains and scales are 1, biases and attention sinks 0; a state-space decay is negative.
    """
    if tensor.name.endswith("ssm_a"):
        return -1.0
    if tensor.name.endswith((".bias", "sinks.weight", "sinks")) or "ssm_dt" in tensor.name:
        return 0.0
    if len(tensor.shape) == 1 or "norm" in tensor.name or tensor.name.endswith("ssm_d"):
        return 1.0
    return None


def _tensor_chunks(tensor: TwinTensor, seed: int, experts_count: int) -> Iterable[bytes | memoryview]:
    if tensor.type_name == "I32":  # a table of expert numbers
        yield synthetic.ids(tensor.size_bytes // 4, experts_count, seed)
        return
    value = _fill_value(tensor)
    if value is not None and tensor.type_name in _FLOAT_TYPES:
        count = tensor.size_bytes // ggml_types.TYPES[tensor.type_name].block_bytes
        yield synthetic.constant(tensor.type_name, value, count)
        return
    tile = memoryview(synthetic.tile(tensor.type_name, seed))
    tile = memoryview(bytes(tile) * max(1, _CHUNK_BYTES // len(tile))) if tensor.size_bytes > len(tile) else tile
    left = tensor.size_bytes
    while left > 0:
        yield tile[:left]
        left -= len(tile)


def _write(file: BinaryIO, header: bytes, tensors: Sequence[TwinTensor], seed: int, experts_count: int) -> int:
    written = file.write(header)
    for tensor in tensors:
        for chunk in _tensor_chunks(tensor, seed, experts_count):
            written += file.write(chunk)
        written += file.write(bytes(_padding(tensor.size_bytes)))
    return written


def _experts_count(metadata: Mapping[str, MetadataValue]) -> int:
    count = metadata.get(f"{metadata.get('general.architecture')}.expert_count", 1)
    return count if isinstance(count, int) and count > 0 else 1


def write_gguf(
    path: str | Path,
    metadata: Mapping[str, MetadataValue],
    tensors: Sequence[TwinTensor],
    *,
    seed: int = 0,
    durable: bool = True,
) -> int:
    """Write a GGUF file with synthetic weights; returns its size in bytes.

    Memory stays bounded: weights are written from repeated tiles. A file that is not ``durable`` is left to the
    system's page cache: it is read and removed at once, mostly before any of it reaches the disk.

    Raises:
        TwinError: if the disk is too small or cannot be written; nothing is left behind.
    """
    target = Path(path)
    header = gguf_header(metadata, tensors)
    needed = len(header) + sum(tensor.size_bytes + _padding(tensor.size_bytes) for tensor in tensors)
    _require_disk(target, needed)
    try:
        with target.open("wb") as file:
            written = _write(file, header, tensors, seed, _experts_count(metadata))
            if durable:
                file.flush()
                os.fsync(file.fileno())  # else the system writes it out during what is timed next
            return written
    except OSError as error:
        with contextlib.suppress(OSError):
            target.unlink()
        raise TwinError(f"cannot write the twin {target} of {needed} bytes: {error.strerror or error}") from error


def write_hollow_gguf(path: str | Path, metadata: Mapping[str, MetadataValue], tensors: Sequence[TwinTensor]) -> int:
    """Write a GGUF file whose weights are a hole: it takes no disk where the file system has sparse files.

    Enough for an engine's dry run, which lays out memory and reads no weights.

    Raises:
        TwinError: if it cannot be written.
    """
    target = Path(path)
    header = gguf_header(metadata, tensors)
    size = len(header) + sum(tensor.size_bytes + _padding(tensor.size_bytes) for tensor in tensors)
    try:
        with target.open("wb") as file:
            file.write(header)
            file.truncate(size)
    except OSError as error:
        raise TwinError(f"cannot write {target}: {error.strerror or error}") from error
    return size


def _require_disk(target: Path, needed_bytes: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise TwinError(f"cannot write a twin in {target.parent}: {error.strerror or error}") from error
    if free < needed_bytes + _SPARE_DISK_BYTES:
        raise TwinError(
            f"a twin of {needed_bytes} bytes does not fit in {target.parent}, where {free} bytes are free;"
            " free some space or time fewer layers"
        )


def twin_tensors(
    model: ModelSpec,
    quant_id: str,
    *,
    layers: Sequence[int] | None = None,
    types: Mapping[str, str] | None = None,
) -> tuple[ModelSpec, tuple[TensorSpec, ...], tuple[TwinTensor, ...]]:
    """The (possibly truncated) model, its tensors, and the same with their storage types.

    Types are those the tensors have in the full model, whatever the layer's new number. ``types`` sets the
    type of single tensors by their name in the twin.

    Raises:
        CatalogError: if the model's geometry or the quant is unknown.
    """
    every = list_tensors(model)
    full_types = dict(zip((tensor.name for tensor in every), tensor_types(model, every, quant_id), strict=True))
    cut = model if layers is None else truncate(model, layers)
    kept = every if layers is None else list_tensors(cut)
    chosen = []
    for tensor in kept:
        origin = tensor.name
        if layers is not None and tensor.layer is not None:
            origin = origin.replace(f"blk.{tensor.layer}.", f"blk.{layers[tensor.layer]}.", 1)
        type_name = (types or {}).get(tensor.name) or full_types[origin]
        chosen.append(TwinTensor(name=tensor.name, shape=tensor.shape, type_name=type_name))
    return cut, kept, tuple(chosen)


def twin_metadata(model: ModelSpec) -> dict[str, MetadataValue]:
    """Metadata of the model's GGUF, with its vocabulary's size in place of a tokenizer.

    Raises:
        CatalogError: if the model's geometry or architecture is unknown.
    """
    known: Mapping[str, MetadataValue] = gguf_metadata(model)
    vocab = model.geometry.vocab_count if model.geometry else 0
    token_types = next((t.shape[-1] for t in list_tensors(model) if t.name == "token_types.weight"), None)
    return {
        **known,
        f"{known['general.architecture']}.vocab_size": vocab,
        "general.quantization_version": 2,
        "tokenizer.ggml.model": "no_vocab",
        **({"tokenizer.ggml.token_type_count": token_types} if token_types else {}),
    }


def write_twin(
    model: ModelSpec,
    quant_id: str,
    path: str | Path,
    *,
    layers: Sequence[int] | None = None,
    types: Mapping[str, str] | None = None,
    seed: int = 0,
    hollow: bool = False,
) -> ArtifactSpec:
    """Write a weightless twin of a model, or of some of its layers.

    Args:
        model: the model; its geometry must be known.
        quant_id: a GGUF quantisation such as "Q4_K_M".
        path: the file to write.
        layers: indices of the layers to keep, in order; all if None.
        types: ggml types of single tensors, by name in the twin, where they should differ.
        seed: of the synthetic weights; the same seed gives the same bytes.
        hollow: leave the weights a hole in the file: for dry runs only.

    Raises:
        CatalogError: if the geometry or the quant is unknown.
        TwinError: if the file cannot be written.
    """
    cut, specs, tensors = twin_tensors(model, quant_id, layers=layers, types=types)
    metadata = twin_metadata(cut)
    if hollow:
        file_bytes = write_hollow_gguf(path, metadata, tensors)
    else:
        file_bytes = write_gguf(path, metadata, tensors, seed=seed)
    return _describe(cut, quant_id, specs, tensors, file_bytes, str(path))


def _describe(
    model: ModelSpec,
    quant_id: str,
    specs: Sequence[TensorSpec],
    tensors: Sequence[TwinTensor],
    file_bytes: int,
    path: str,
) -> ArtifactSpec:
    layers_count = model.geometry.layers_count if model.geometry else 0
    layer_bytes, expert_bytes = [0] * layers_count, [0] * layers_count
    sums: dict[tuple[Role, str], list[int]] = {}
    for spec, tensor in zip(specs, tensors, strict=True):
        total = sums.setdefault((spec.role, tensor.type_name), [0, 0])
        total[0] += spec.params_count
        total[1] += tensor.size_bytes
        if spec.layer is not None and spec.layer < layers_count and spec.role is not Role.TOWER:
            layer_bytes[spec.layer] += tensor.size_bytes
            expert_bytes[spec.layer] += tensor.size_bytes if spec.role is Role.EXPERT else 0
    return ArtifactSpec(
        model_id=model.model_id,
        quant_id=quant_id,
        file_format=FileFormat.GGUF,
        file_bytes=file_bytes,
        groups=tuple(
            WeightGroup(
                role=role,
                tensor_type=type_name,
                params_count=params,
                weight_bytes=size,
                used_frac=used_frac(role, model.geometry),
            )
            for (role, type_name), (params, size) in sums.items()
        ),
        layer_bytes=tuple(layer_bytes),
        expert_bytes=tuple(expert_bytes),
        local_path=path,
    )
