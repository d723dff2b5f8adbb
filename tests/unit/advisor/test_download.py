"""Fetching weights from a server that speaks the Hub's API: whole, broken, damaged, refused, too large."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
from hub_server import COMMIT, FakeHub, serve

from advisor.validation import download
from advisor.validation.download import Transfer, fetch, sweep_partials
from advisor.validation.hub_files import DownloadError, choose_names, find_weights
from catalog.types import ModelSpec

pytest.importorskip("huggingface_hub")
REPO = "quants/Tiny-1B-GGUF"
DATA = bytes(range(256)) * 20_000  # 5 MB: several reads
MODEL = ModelSpec(
    model_id="maker/Tiny-1B",
    display_name="Tiny 1B",
    org="maker",
    family="tiny",
    official=True,
    architecture="llama",
    params_total_count=1,
    repos={"gguf": (REPO,)},
)


@pytest.fixture
def hub(monkeypatch):
    fake = FakeHub()
    fake.add(REPO, files={"Tiny-1B-Q4_K_M.gguf": DATA, "Tiny-1B-Q8_0.gguf": b"x" * 100, "mmproj-Q4_K_M.gguf": b"y"})
    with serve(fake) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield served


def partial_files(root: Path) -> list[Path]:
    return list(root.rglob(f"*{download.PARTIAL_SUFFIX}"))


def test_a_file_is_found_fetched_checked_and_entered_in_the_cache(hub, tmp_path):
    weights = find_weights(MODEL, "Q4_K_M")
    assert [file.name for file in weights.files] == ["Tiny-1B-Q4_K_M.gguf"]
    seen = []
    path = Path(fetch(weights, Transfer(cache_root=tmp_path, on_bytes=lambda done, total: seen.append((done, total)))))
    assert path.read_bytes() == DATA
    assert path.name == "Tiny-1B-Q4_K_M.gguf"
    assert "snapshots" in path.parts
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    assert not partial_files(tmp_path)
    asked = len(hub.ranges)
    assert fetch(weights, Transfer(cache_root=tmp_path)) == str(path)
    assert len(hub.ranges) == asked, "a file that is here is not fetched again"


def test_a_broken_connection_goes_on_where_it_stopped(hub, tmp_path):
    hub.break_after_bytes = 2_000_000
    waits = []
    path = fetch(find_weights(MODEL, "Q4_K_M"), Transfer(cache_root=tmp_path, sleep=waits.append))
    assert Path(path).read_bytes() == DATA
    assert hub.ranges == [None, "bytes=2000000-", "bytes=4000000-"]
    assert len(waits) == 2


def test_another_process_goes_on_where_the_first_gave_up(hub, tmp_path):
    weights = find_weights(MODEL, "Q4_K_M")
    hub.break_after_bytes = 1_000_000

    class KilledError(BaseException):
        pass

    def die(_: float) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        fetch(weights, Transfer(cache_root=tmp_path, sleep=die))
    hub.break_after_bytes = None
    assert Path(fetch(weights, Transfer(cache_root=tmp_path))).read_bytes() == DATA
    assert hub.ranges == [None, "bytes=1000000-"]


def test_a_server_that_cannot_begin_in_the_middle_starts_over(hub, tmp_path):
    weights = find_weights(MODEL, "Q4_K_M")
    hub.break_after_bytes = 1_000_000
    breaks = iter([None])

    def mend(_: float) -> None:
        hub.break_after_bytes, hub.ignores_ranges = next(breaks), True

    assert Path(fetch(weights, Transfer(cache_root=tmp_path, sleep=mend))).read_bytes() == DATA


def test_a_connection_that_brings_nothing_is_given_up_and_the_part_is_kept(hub, tmp_path):
    weights = find_weights(MODEL, "Q4_K_M")
    hub.break_after_bytes = 1_500_000

    def stall(_: float) -> None:
        hub.break_after_bytes = 0

    with pytest.raises(DownloadError, match="the same command goes on from there") as caught:
        fetch(weights, Transfer(cache_root=tmp_path, sleep=stall))
    assert "\n" not in str(caught.value)
    (partial,) = partial_files(tmp_path)
    assert partial.stat().st_size == 1_500_000


def test_a_wrong_checksum_is_not_kept(hub, tmp_path):
    hub.stated_sha256["Tiny-1B-Q4_K_M.gguf"] = "0" * 64
    with pytest.raises(DownloadError, match="arrived damaged"):
        fetch(find_weights(MODEL, "Q4_K_M"), Transfer(cache_root=tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_too_small_a_disk_is_noticed_before_the_first_byte(hub, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(DownloadError, match=r"GiB of disk and .* are free"):
        fetch(find_weights(MODEL, "Q4_K_M"), Transfer(cache_root=tmp_path))
    assert hub.ranges == []


def test_a_disk_that_fills_up_gets_its_space_back(hub, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DownloadError, match="the disk is full"):
        fetch(find_weights(MODEL, "Q4_K_M"), Transfer(cache_root=tmp_path, on_bytes=full))
    assert not partial_files(tmp_path)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "the key is refused"), (403, "is gated"), (404, "does not exist"), (503, "status 503")],
)
def test_a_repository_that_is_refused_is_one_line(hub, status, said):
    hub.answer = lambda path: (status, b"") if path.startswith("/api/models/") else None
    with pytest.raises(DownloadError, match=said) as caught:
        find_weights(MODEL, "Q4_K_M")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("status", "said"), [(401, "refuses the key"), (403, "accept its terms"), (404, "no longer")])
def test_a_file_that_is_refused_is_one_line(hub, tmp_path, status, said):
    weights = find_weights(MODEL, "Q4_K_M")
    hub.answer = lambda path: (status, b"") if "/resolve/" in path else None
    with pytest.raises(DownloadError, match=said):
        fetch(weights, Transfer(cache_root=tmp_path, sleep=lambda _: None))


def test_the_key_is_sent_to_the_hub_and_not_shown(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.answer = lambda path: (401, b"hf_secret") if "/resolve/" in path else None
    with pytest.raises(DownloadError) as caught:
        fetch(find_weights(MODEL, "Q4_K_M"), Transfer(cache_root=tmp_path))
    assert "Bearer hf_secret" in hub.tokens
    assert "hf_secret" not in str(caught.value)


def test_the_key_is_left_behind_when_redirected_to_another_host(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    weights = find_weights(MODEL, "Q4_K_M")
    storage = FakeHub()
    storage.add(REPO, files={"Tiny-1B-Q4_K_M.gguf": DATA})
    with serve(storage) as elsewhere:
        other = elsewhere.url.replace("127.0.0.1", "localhost")
        hub.redirect = lambda path: other + path if "/resolve/" in path else None
        path = fetch(weights, Transfer(cache_root=tmp_path))
    assert Path(path).read_bytes() == DATA
    assert storage.tokens
    assert not any(storage.tokens)


def test_offline_mode_and_a_dead_address_are_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        find_weights(MODEL, "Q4_K_M")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9 cannot be reached"):
        find_weights(MODEL, "Q4_K_M")


def test_a_quantisation_nobody_made_is_named(hub):
    with pytest.raises(DownloadError, match="holds no Q5_K_S"):
        find_weights(MODEL, "Q5_K_S")


def test_partial_files_nobody_came_back_for_are_swept(tmp_path):
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    old, new = blobs / f"1{download.PARTIAL_SUFFIX}", blobs / f"2{download.PARTIAL_SUFFIX}"
    for partial in (old, new):
        partial.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert sweep_partials(tmp_path) == 1
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize(
    ("names", "quant", "chosen"),
    [
        (["a-Q4_K_M.gguf", "a-Q4_K_S.gguf", "a-IQ4_XS.gguf"], "Q4_K_M", ("a-Q4_K_M.gguf",)),
        (["a.i1-IQ4_XS.gguf", "a.Q4_0.gguf"], "IQ4_XS", ("a.i1-IQ4_XS.gguf",)),
        (["a-UD-Q4_K_M.gguf", "a-Q4_K_M.gguf"], "Q4_K_M", ("a-Q4_K_M.gguf",)),
        (["a-UD-Q4_K_M.gguf"], "Q4_K_M", ("a-UD-Q4_K_M.gguf",)),
        (["a-q8_0-00002-of-00002.gguf", "a-q8_0-00001-of-00002.gguf"], "Q8_0",
         ("a-q8_0-00001-of-00002.gguf", "a-q8_0-00002-of-00002.gguf")),
        (["a-q8_0-00002-of-00002.gguf"], "Q8_0", ()),
        (["Q8_0/a-Q8_0.gguf", "mmproj-a-Q8_0.gguf"], "Q8_0", ("Q8_0/a-Q8_0.gguf",)),
        (["a-BF16.gguf", "README.md"], "F16", ()),
        (["gpt-oss-20b-mxfp4.gguf"], "MXFP4", ("gpt-oss-20b-mxfp4.gguf",)),
        (["gpt-oss-20b-mxfp4.gguf"], "MXFP4_MOE", ("gpt-oss-20b-mxfp4.gguf",)),
        (["a-MXFP4_MOE.gguf"], "MXFP4", ("a-MXFP4_MOE.gguf",)),
        ([], "Q4_0", ()),
    ],
)  # fmt: skip
def test_names_are_matched_to_quantisations(names, quant, chosen):
    assert choose_names(names, quant) == chosen


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_download_killed_outright_goes_on_from_its_last_byte(hub, tmp_path):
    """A process that is killed leaves nothing running; what it had fetched is the next one's beginning."""
    gate = threading.Event()
    hub.pause_after_bytes, hub.pause = 2_000_000, gate
    script = (
        "import sys; from pathlib import Path; from advisor.validation.download import Transfer, fetch;"
        "from advisor.validation.hub_files import RemoteFile, RemoteWeights;"
        f"sha256 = '{hashlib.sha256(DATA).hexdigest()}';"
        f"file = RemoteFile(name='Tiny-1B-Q4_K_M.gguf', size_bytes={len(DATA)}, sha256=sha256);"
        f"fetch(RemoteWeights(repo='{REPO}', commit='{COMMIT}', files=(file,)), Transfer(cache_root=Path(sys.argv[1])))"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) as child:
        deadline = time.monotonic() + 60.0
        while sum(path.stat().st_size for path in partial_files(tmp_path)) < 1_000_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        child.kill()
    gate.set()
    hub.pause_after_bytes = None
    (partial,) = partial_files(tmp_path)
    had = partial.stat().st_size
    assert 0 < had < len(DATA)
    assert Path(fetch(find_weights(MODEL, "Q4_K_M"), Transfer(cache_root=tmp_path))).read_bytes() == DATA
    assert hub.ranges[-1] == f"bytes={had}-"
    assert not partial_files(tmp_path)
