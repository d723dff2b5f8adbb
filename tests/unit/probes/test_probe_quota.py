"""A real CPU quota: the host, the guard and the number of threads see it. Needs a control group one may write to."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MOUNT = Path("/sys/fs/cgroup")
PERIOD_US, QUOTA_US = 100_000, 10_000  # a tenth of a core: less than rivals leave, so that the quota is what bounds

#: Moves itself into the group, works for a second, and tells what the guard and the host detection saw.
PROGRAM = """
import json, os, sys, time
from probes.guard import watch
from probes.host import read_linux_host
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
with watch() as window:
    end = time.perf_counter() + 1.0
    while time.perf_counter() < end:
        pass
host = read_linux_host()
seen = {"causes": list(window.conditions.causes), "throttled_s": window.conditions.throttled_s}
print(json.dumps(seen | {"quota": host.cpu_quota_cores_frac, "threads": host.usable_threads_count}))
"""


def _write_quota(group: Path) -> None:
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
    else:
        (group / "cpu.max").write_text(f"{QUOTA_US} {PERIOD_US}")


@contextmanager
def quota_group(*, nested: bool) -> Iterator[Path]:
    """A control group with a quota, or one without that lies in it."""
    root = MOUNT / "cpu" if (MOUNT / "cpu").is_dir() else MOUNT
    outer = root / f"advisor-test-{os.getpid()}"
    inner = outer / "inner"
    try:
        outer.mkdir()
        _write_quota(outer)
        if nested:
            inner.mkdir()
    except OSError as error:
        outer.is_dir() and outer.rmdir()
        pytest.skip(f"no control group may be made here ({error.strerror})")
    try:
        yield inner if nested else outer
    finally:
        for group in (inner, outer):
            if group.is_dir():
                group.rmdir()


@pytest.mark.parametrize("nested", [False, True], ids=["our own group", "the group above ours"])
def test_a_real_quota_is_read_and_marks_the_window(nested: bool) -> None:
    with quota_group(nested=nested) as group:
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(group)], capture_output=True, text=True, timeout=60, check=False
        )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert seen["quota"] == pytest.approx(QUOTA_US / PERIOD_US)
    assert seen["threads"] == 1
    assert "throttled" in seen["causes"]
    assert seen["throttled_s"] > 0.1
