"""Limits of the control group this process runs in: memory and CPU quota, both versions."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_BYTES = 1 << 60  # version 1 writes "no limit" as the largest multiple of a page in 63 bits
_MAX_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the control group allows; None where it sets no limit."""

    memory_limit_bytes: int | None = None
    memory_available_bytes: int | None = None  # the limit less what is used and cannot be reclaimed
    quota_cores_frac: float | None = None


def parse_memory_limit(text: str) -> int | None:
    """``memory.max`` or ``memory.limit_in_bytes``; None for no limit."""
    word = text.strip()
    if not word.isdecimal():
        return None
    limit = int(word)
    return limit if limit < _UNLIMITED_BYTES else None


def parse_inactive_file_bytes(text: str) -> int:
    """File pages the kernel gives back under pressure, from either version's ``memory.stat``."""
    fields = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split()) == 2)
    value = fields.get("total_inactive_file", fields.get("inactive_file", "0"))
    return int(value) if value.isdecimal() else 0


def parse_quota_v2(text: str) -> float | None:
    """``cpu.max``: quota and period in microseconds, or ``max``; in cores."""
    words = text.split()
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def parse_quota_v1(quota_text: str, period_text: str) -> float | None:
    """``cpu.cfs_quota_us`` (-1 for none) over ``cpu.cfs_period_us``; in cores."""
    quota, period = quota_text.strip(), period_text.strip()
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0 or int(quota) == 0:
        return None
    return int(quota) / int(period)


def folders(controller: str, root: Path = Path("/")) -> tuple[Path, ...]:
    """Folders of this process's control group for a controller, innermost first, both versions.

    Inside a container the path in ``/proc/self/cgroup`` is often not mounted, so the mount's own root
    comes last.
    """
    mount = root / "sys/fs/cgroup"
    found: list[Path] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        base = mount / controller if names else mount
        parts = [part for part in path.split("/") if part not in ("", "..")]
        found += [base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return tuple(dict.fromkeys([*found, mount / controller, mount]))


def read_limits(root: Path = Path("/")) -> Limits:
    """The tightest limits from this process's group up to the root group."""
    memory = list(_memory_limits(root))
    quotas = [quota for folder in folders("cpu", root) if (quota := _quota(folder)) is not None]
    return Limits(
        memory_limit_bytes=min((limit for limit, _ in memory), default=None),
        memory_available_bytes=min((available for _, available in memory), default=None),
        quota_cores_frac=min(quotas, default=None),
    )


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    for folder in folders("memory", root):
        for limit_name, usage_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = parse_memory_limit(_read(folder / limit_name))
            if limit is None:
                continue
            usage = parse_memory_limit(_read(folder / usage_name)) or 0
            held = max(0, usage - parse_inactive_file_bytes(_read(folder / "memory.stat")))
            yield limit, max(0, limit - held)


def _quota(folder: Path) -> float | None:
    quota = parse_quota_v2(_read(folder / "cpu.max"))
    if quota is not None:
        return quota
    return parse_quota_v1(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_READ_BYTES)
    except OSError:
        return ""
