"""Reading what a GGUF file is, from its header alone: local, sharded, or remote by HTTP range."""

import math
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from catalog.architectures.blocks import find_architecture
from catalog.files import open_file
from catalog.ggml_types import FULL_PRECISION
from catalog.gguf_header import Header, HeaderError, HeaderTensor, parse_header, printable
from catalog.gguf_model import Facts, geometry_of, is_known, layers_of, nextn_layers, role_of
from catalog.header_cache import HeaderCache, stamp_of
from catalog.types import ArtifactSpec, Citation, FileFormat, ModelSpec, Role, WeightGroup
from catalog.weights import used_frac

if TYPE_CHECKING:
    from http.client import HTTPResponse

__all__ = ["HeaderError", "read_gguf"]

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_REPOSITORY = re.compile(r"([\w.-]{1,96}/[\w.-]{1,96})/?$")
_MAX_SHARDS_COUNT = 512
_TIMEOUT_S = 20.0  # of silence
_MOST_S = 120.0  # for one window
_REMOTE_WINDOW_BYTES = 1 << 22
_FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """One file of a model: its header and size."""

    location: str
    size_bytes: int
    header: Header


def read_gguf(
    path_or_url: str | os.PathLike[str], headers: HeaderCache | None = None
) -> tuple[ModelSpec, ArtifactSpec]:
    """What a GGUF holds, read from its header without touching the weights.

    The shards of a split model are read together, whichever of them is named.

    Args:
        path_or_url: a file, or an ``http(s)://`` address whose server answers range requests.
        headers: where the headers of local files are kept, if they are.

    Returns:
        The model as the file states it, and its weights with the tensors' real types and bytes. The
        geometry of an architecture that is not known by name is an approximation, which
        ``geometry_note`` says; a file without a language model has none.

    Raises:
        HeaderError: if the file is missing, damaged, cut short, or no GGUF; one line says where.
    """
    location = os.fspath(path_or_url)
    remote = urlsplit(location).scheme in ("http", "https")
    parts = _shard_locations(location)
    shards = [_read_remote(part) if remote else _read_local(part, headers) for part in parts]
    if not any(shard.header.tensors for shard in shards):
        raise HeaderError(f"{_name(location)}: tensors: it holds none, only a vocabulary; give the model's own file")
    return _describe(shards, None if remote else str(Path(shards[0].location).absolute()))


def _shard_locations(location: str) -> list[str]:
    """All shards of a split file's name, in order; just the file itself if it is not split."""
    match = _SHARD.search(location)
    if match is None:
        return [location]
    count = int(match.group(2))
    if not 0 < count <= _MAX_SHARDS_COUNT:
        raise HeaderError(f"{_name(location)}: file name: {count} shards are not read; check the name")
    stem = location[: match.start()]
    return [f"{stem}-{index:05d}-of-{count:05d}.gguf" for index in range(1, count + 1)]


def _name(location: str) -> str:
    return printable(re.split(r"[/\\]", location.partition("?")[0])[-1] or location, limit=100)


def _read_local(location: str, headers: HeaderCache | None = None) -> _Shard:
    try:
        with open_file(location) as file:
            status = os.fstat(file.fileno())
            size, stamp = status.st_size, stamp_of(location, status)
            known = headers.get(stamp) if headers is not None else None
            if known is not None:
                return _Shard(location=location, size_bytes=size, header=known)

            def fetch(offset: int, count: int) -> bytes:
                file.seek(offset)
                return file.read(count)

            header = parse_header(fetch, size, _name(location))
        if headers is not None:
            headers.put(stamp, header)
        return _Shard(location=location, size_bytes=size, header=header)
    except OSError as error:
        raise HeaderError(f"{_name(location)}: file: {error.strerror or error}; check the path") from error


def _read_remote(location: str) -> _Shard:
    size, first = _fetch_range(location, 0, _REMOTE_WINDOW_BYTES)
    windows = {0: first}

    def fetch(offset: int, count: int) -> bytes:
        for start, window in windows.items():
            if start <= offset and offset + count <= start + len(window):
                return window[offset - start : offset - start + count]
        windows.clear()
        windows[offset] = _fetch_range(location, offset, max(count, _REMOTE_WINDOW_BYTES))[1]
        return windows[offset]

    return _Shard(location=location, size_bytes=size, header=parse_header(fetch, size, _name(location)))


def _fetch_range(location: str, offset: int, count: int) -> tuple[int, bytes]:
    """Size of the remote file, and at most ``count`` bytes of it."""
    # every recommendation reads the headers of local files; only a remote one needs a client
    import http.client
    import urllib.error
    import urllib.request

    headers = {"Range": f"bytes={offset}-{offset + count - 1}", "User-Agent": "model-fit-advisor"}
    request = urllib.request.Request(location, headers=headers)  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            total = _total_bytes(location, answer.status, answer.headers.get("Content-Range", ""))
            return total, _read_by(answer, count, time.monotonic() + _MOST_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise HeaderError(f"{_name(location)}: server: answered {error.code}; check the address") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise HeaderError(f"{_name(location)}: server: {printable(str(error))}; check the address") from error


def _read_by(answer: "HTTPResponse", count: int, deadline_s: float) -> bytes:
    """At most ``count`` bytes; a server that drips them is given up at the deadline."""
    content = bytearray()
    while len(content) < count and (piece := answer.read1(count - len(content))):
        content += piece
        if time.monotonic() > deadline_s:
            raise TimeoutError("too slow")
    return bytes(content)


def _total_bytes(location: str, status: int, content_range: str) -> int:
    match = re.fullmatch(r"bytes \d+-\d+/(\d{1,18})", content_range.strip())
    if status != 206 or match is None:
        raise HeaderError(f"{_name(location)}: server: it does not answer range requests; download the file")
    return int(match.group(1))


def _describe(shards: Sequence[_Shard], local_path: str | None) -> tuple[ModelSpec, ArtifactSpec]:
    first = shards[0]
    metadata = first.header.metadata
    architecture = _text(metadata.get("general.architecture")) or "unknown"
    tensors = [tensor for shard in shards for tensor in shard.header.tensors]
    top = {tensor.name: tensor.shape for tensor in tensors if not tensor.name.startswith("blk.")}
    facts = Facts(architecture, metadata)
    geometry = geometry_of(facts, tensors, top)
    model_id = _text(metadata.get("general.name")) or _name(first.location).removesuffix(".gguf")
    weighed = _weigh(tensors, top, architecture)
    total = sum(group.params_count for group in weighed.groups if group.role is not Role.TOWER)
    used = geometry.expert_used_count / geometry.expert_count if geometry and geometry.expert_count else 1.0
    model = ModelSpec(
        model_id=model_id,
        display_name=model_id,
        org=_text(metadata.get("general.organization")) or "",
        official=False,
        architecture=architecture,
        license_id=_text(metadata.get("general.license")),
        params_total_count=total,
        params_active_count=_active(weighed.groups, used),
        geometry=geometry,
        geometry_note=_note(architecture, known_shape=geometry is not None),
        max_context_tokens=facts.integer("context_length") or None,
        repos=_origins(metadata),
        citation=Citation(source=f"header of {_name(first.location)}"),
    )
    artifact = ArtifactSpec(
        model_id=model_id,
        quant_id=_quant_id(metadata.get("general.file_type"), tensors),
        file_format=FileFormat.GGUF,
        file_bytes=sum(shard.size_bytes for shard in shards),
        groups=_used(weighed.groups, used),
        layer_bytes=weighed.layer_bytes,
        expert_bytes=weighed.expert_bytes,
        exact=True,
        local_path=local_path,
    )
    return model, artifact


def _origins(metadata: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The repositories a header names as the model's own or its base."""
    stated = (metadata.get("general.source.huggingface.repository"), metadata.get("general.base_model.0.repo_url"))
    found = [match.group(1) for text in stated if isinstance(text, str) and (match := _REPOSITORY.search(text))]
    return {"stated": tuple(dict.fromkeys(found))} if found else {}


def _text(value: object) -> str | None:
    return printable(value, limit=200) if isinstance(value, str) and value else None


def _note(architecture: str, known_shape: bool) -> str | None:
    if not known_shape:
        return f"the file holds no language model that is known by its layers (architecture {architecture})"
    if not is_known(architecture):
        return f"architecture {architecture} is unknown: its layers are taken for those their tensors look like"
    return None


def _active(groups: Sequence[WeightGroup], used: float) -> int:
    """Weights that one token multiplies; in a model with experts the looked-up embedding is left out."""
    total = sum(group.params_count for group in groups if group.role is not Role.TOWER)
    if used == 1.0:
        return total
    experts = sum(group.params_count for group in groups if group.role is Role.EXPERT)
    looked_up = sum(group.params_count for group in groups if group.role is Role.EMBEDDING)
    return total - looked_up - experts + round(experts * used)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    groups: tuple[WeightGroup, ...]
    layer_bytes: tuple[int, ...]
    expert_bytes: tuple[int, ...]


def _weigh(tensors: Sequence[HeaderTensor], top: Mapping[str, object], architecture: str) -> _Weighed:
    layers = layers_of(tensors)
    predicting = {f"blk.{index}" for index in nextn_layers(layers)}
    tied, encoder = "output.weight" not in top, find_architecture(architecture).encoder
    sums: dict[tuple[Role, str], list[int]] = {}
    layer_bytes, expert_bytes = Counter[str](), Counter[str]()
    for tensor in tensors:
        layer = tensor.name[: tensor.name.find(".", 4)] if tensor.name.startswith("blk.") else ""
        role = role_of(tensor.name, tied=tied, encoder=encoder, dimensions=len(tensor.shape))
        if layer in predicting:
            role = Role.TOWER
        total = sums.setdefault((role, tensor.type_name), [0, 0])
        total[0] += math.prod(tensor.shape)
        total[1] += tensor.size_bytes
        layer_bytes[layer] += tensor.size_bytes
        expert_bytes[layer] += tensor.size_bytes if role is Role.EXPERT else 0
    names = [f"blk.{index}" for index in sorted(layers) if f"blk.{index}" not in predicting]
    return _Weighed(
        groups=tuple(
            WeightGroup(role=role, tensor_type=name, params_count=params, weight_bytes=size)
            for (role, name), (params, size) in sums.items()
        ),
        layer_bytes=tuple(layer_bytes[name] for name in names),
        expert_bytes=tuple(expert_bytes[name] for name in names),
    )


def _used(groups: Sequence[WeightGroup], experts_used_frac: float) -> tuple[WeightGroup, ...]:
    return tuple(
        WeightGroup(
            role=group.role,
            tensor_type=group.tensor_type,
            params_count=group.params_count,
            weight_bytes=group.weight_bytes,
            used_frac=experts_used_frac if group.role is Role.EXPERT else used_frac(group.role, None),
        )
        for group in groups
    )


def _quant_id(file_type: object, tensors: Sequence[HeaderTensor]) -> str:
    """The stated file type; where there is none, the type of most weights."""
    stated = _FILE_TYPES.get(file_type) if type(file_type) is int else None
    if stated is not None:
        return stated
    weights = Counter[str]()
    for tensor in tensors:
        weights[tensor.type_name] += math.prod(tensor.shape)
    quantised = [name for name, _ in weights.most_common() if name not in FULL_PRECISION]
    return quantised[0] if quantised else next((name for name, _ in weights.most_common(1)), "unknown")
