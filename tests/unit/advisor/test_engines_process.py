"""The worker process: its bounds, its end, and what the parent makes of either."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from advisor.engines import _process, base
from advisor.engines._process import Limits, WorkerProcess

POSIX = pytest.mark.skipif(os.name == "nt", reason="uses POSIX signals")


@pytest.fixture
def worker():
    with WorkerProcess(Limits(request_s=20.0)) as process:
        yield process


def test_a_request_is_answered(worker):
    assert worker.request("adopt", folder=None) == {}
    assert worker.alive


def test_an_unknown_request_is_an_error_and_the_worker_lives(worker):
    with pytest.raises(base.EngineError, match="unknown request 'sing'"):
        worker.request("sing")
    with pytest.raises(base.EngineError, match="TypeError"):
        worker.request("adopt", nonsense=1)
    assert worker.request("adopt", folder=None) == {}


def test_closing_ends_the_worker():
    process = WorkerProcess()
    pid = process.pid
    process.close()
    assert not psutil.pid_exists(pid)


def test_leaving_in_error_ends_it_too():
    with pytest.raises(RuntimeError, match="boom"), WorkerProcess() as process:
        raise RuntimeError("boom")
    assert not process.alive


@POSIX
def test_a_worker_that_hangs_is_stopped(worker):
    worker.request("adopt", folder=None)
    os.kill(worker.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(base.EngineTimeoutError, match="did not finish 'memory' within 1 s"):
        worker.request("memory", handle=1, timeout_s=1.0)
    assert time.monotonic() - started < 10
    assert not worker.alive


@POSIX
def test_a_kill_reads_as_lack_of_memory(worker):
    worker.request("adopt", folder=None)
    os.kill(worker.pid, signal.SIGSTOP)
    worker._process.send_signal(signal.SIGKILL)
    with pytest.raises(base.OutOfMemoryError, match="was killed during 'memory'"):
        worker.request("memory", handle=1)


@POSIX
def test_a_crash_is_told_from_a_kill(worker):
    worker.request("adopt", folder=None)
    worker._process.send_signal(signal.SIGABRT)
    with pytest.raises(base.EngineCrashedError, match="ended during 'memory' \\(exit -6\\)"):
        worker.request("memory", handle=1)
    with pytest.raises(base.EngineCrashedError):  # and again: the worker stays gone
        worker.request("memory", handle=1)


def test_a_worker_above_its_memory_limit_is_stopped():
    with WorkerProcess(Limits(memory_bytes=1)) as process:
        os.kill(process.pid, signal.SIGSTOP) if hasattr(signal, "SIGSTOP") else None
        with pytest.raises(base.OutOfMemoryError, match="above its limit of 1"):
            process.request("info")
        assert not process.alive


def test_a_machine_running_out_of_memory_stops_the_worker(monkeypatch):
    monkeypatch.setattr(_process, "_available_bytes", lambda: 1000)
    with WorkerProcess(Limits(available_floor_bytes=5000)) as process:
        os.kill(process.pid, signal.SIGSTOP) if hasattr(signal, "SIGSTOP") else None
        with pytest.raises(base.OutOfMemoryError, match="only 1000 bytes of memory are left"):
            process.request("info")
        assert not process.alive


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_allocations_beyond_the_limit_fail_inside_the_worker(worker):
    assert worker.request("limit", data_bytes=1 << 30) == {"limited": True}
    limits = Path(f"/proc/{worker.pid}/limits").read_text()
    assert str(1 << 30) in next(line for line in limits.splitlines() if line.startswith("Max data size"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's out-of-memory killer")
def test_the_worker_volunteers_to_be_ended_first(worker):
    worker.request("adopt", folder=None)
    assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"


@POSIX
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, getattr(signal, "SIGKILL", 9)])
@pytest.mark.parametrize("whole_group", [False, True])
def test_nothing_outlives_a_killed_parent(tmp_path: Path, signal_number, whole_group):
    folder = tmp_path / "twins"
    folder.mkdir()
    (folder / "twin.gguf").write_bytes(b"x" * 1000)
    code = (
        "import sys, time; from advisor.engines._process import WorkerProcess\n"
        "process = WorkerProcess(); process.request('adopt', folder=sys.argv[1])\n"
        "print(process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with parent:
        worker_pid = int(parent.stdout.readline())
        (os.killpg if whole_group else os.kill)(parent.pid, signal_number)
    deadline = time.monotonic() + 10
    while (psutil.pid_exists(worker_pid) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
    assert not psutil.pid_exists(worker_pid) or psutil.Process(worker_pid).status() == psutil.STATUS_ZOMBIE


def test_a_worker_let_go_of_a_folder_leaves_it(tmp_path: Path):
    with WorkerProcess() as process:
        process.request("adopt", folder=str(tmp_path))
        process.request("adopt", folder=None)
    assert tmp_path.is_dir()


def test_a_reply_beyond_the_bound_ends_the_conversation(worker, monkeypatch):
    monkeypatch.setattr(_process, "MAX_REPLY_BYTES", 10)
    with WorkerProcess() as process, pytest.raises(base.EngineError):
        process.request("adopt", folder=None)  # its reply is longer than ten bytes
