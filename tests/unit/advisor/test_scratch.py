"""Temporary folders that do not outlive their owner."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from advisor.errors import AdvisorError
from advisor.twins.scratch import scratch_folder, sweep


def test_a_folder_lasts_as_long_as_its_context(tmp_path: Path):
    with scratch_folder(tmp_path / "twins") as folder:
        (folder / "twin.gguf").write_bytes(b"x")
        assert folder.is_dir()
    assert not folder.exists()


def test_it_goes_when_the_context_fails(tmp_path: Path):
    with pytest.raises(RuntimeError, match="boom"), scratch_folder(tmp_path) as folder:
        raise RuntimeError("boom")
    assert not folder.exists()


def test_two_at_once_do_not_share(tmp_path: Path):
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as two:
        assert one != two
        assert one.is_dir()


def test_the_folder_of_a_killed_owner_is_swept(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from advisor.twins.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'twin.gguf').write_bytes(b'x'); print(folder, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with owner:
        folder = Path(owner.stdout.readline().strip())
        assert (folder / "twin.gguf").exists()
        assert sweep(tmp_path) == 0  # its owner lives
        owner.kill()
    assert folder.exists()
    assert sweep(tmp_path) == 1
    assert not folder.exists()


def test_a_reused_process_id_does_not_protect_a_folder(tmp_path: Path):
    started = int(psutil.Process().create_time())
    (tmp_path / f"{os.getpid()}-{started - 3600}-1").mkdir()
    (tmp_path / f"{os.getpid()}-{started}-1").mkdir()
    assert sweep(tmp_path) == 1
    assert [folder.name for folder in tmp_path.iterdir()] == [f"{os.getpid()}-{started}-1"]


def test_what_is_not_ours_is_left_alone(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "12-34").mkdir()
    assert sweep(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(AdvisorError, match="set ADVISOR_HOME") as caught, scratch_folder(blocker / "twins"):
        pass
    assert "\n" not in str(caught.value)
