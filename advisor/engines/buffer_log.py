"""Read llama.cpp's own log: which buffers it allocated, where, and what went wrong."""

import re
from collections.abc import Iterable, Mapping

from catalog.units import MIB

_BUFFER = re.compile(
    r"(?P<where>\S+)\s+(?P<what>model|KV|RS|DSV4 .{1,40}state|output|compute) buffer size"
    r"\s*=\s*(?P<mib>[0-9]+\.[0-9]+) MiB"
)
_TOTAL = re.compile(r"llama_(?P<what>kv_cache|memory_recurrent)\w*: size\s*=\s*(?P<mib>[0-9]+\.[0-9]+) MiB")
_TOTAL_PURPOSE = {"kv_cache": "kv", "memory_recurrent": "state"}
_PURPOSE = {"model": "weights", "KV": "kv", "RS": "state", "output": "output", "compute": "compute"}
_FAILURE = re.compile(
    r"error|fail|unable|unknown|unsupported|missing|invalid|not supported|wrong|corrupt", re.IGNORECASE
)
_CAUSE = re.compile(r"error loading model: (?:error loading model \w+: )?(?P<cause>.+)")
_DESCRIPTION = re.compile(r"^(?:print_info|llama_model_loader: - )")
_ALLOCATION = re.compile(r"(?:alloc\w*|out of memory|cudaMalloc)", re.IGNORECASE)
_SIZE = re.compile(r"(?:of size|allocating|allocate) ([0-9]+(?:\.[0-9]+)?)( MiB)?")


def parse_buffers(lines: Iterable[str]) -> Mapping[str, int]:
    """Bytes by ``device.purpose`` (``cpu.weights``, ``cpu_repack.weights``, ``cpu.kv``, …).

    The log rounds to 0.01 MiB, so each buffer is exact to about 5 KiB. A device's line for the same
    purpose may come several times (sliding and full caches): they add up.
    """
    found: dict[str, int] = {}
    for line in lines:
        match = _BUFFER.search(line)
        if match is None:
            continue
        purpose = _PURPOSE.get(match["what"], "state")
        key = f"{match['where'].lower()}.{purpose}"
        found[key] = found.get(key, 0) + round(float(match["mib"]) * MIB)
    return found


def parse_dry_run(lines: Iterable[str]) -> Mapping[str, int]:
    """As `parse_buffers`, for a load that allocated nothing: caches are stated as totals, under ``all.``."""
    kept = list(lines)
    found = {key: size for key, size in parse_buffers(kept).items() if size}
    for line in kept:
        match = _TOTAL.search(line)
        if match is not None:
            key = f"all.{_TOTAL_PURPOSE[match['what']]}"
            found[key] = found.get(key, 0) + round(float(match["mib"]) * MIB)
    return found


def failure_reason(lines: Iterable[str]) -> str:
    """The most telling line of a failed load: the stated cause, else the first error, else the last line."""
    kept = [line.strip() for line in lines if line.strip() and not _DESCRIPTION.match(line)]
    causes = [match["cause"] for line in kept if (match := _CAUSE.search(line))]
    telling = [line for line in kept if _FAILURE.search(line)]
    return (causes or telling or kept[-1:] or ["the engine gave no reason"])[0][:300]


def failed_allocation_bytes(lines: Iterable[str]) -> int | None:
    """Size of the allocation the engine could not make; 0 if unknown, None if memory was not the cause."""
    for line in lines:
        if not (_ALLOCATION.search(line) and _FAILURE.search(line)):
            continue
        size = _SIZE.search(line)
        if size is None:
            return 0
        number, mib = size.groups()
        return round(float(number) * (MIB if mib else 1))
    return None
