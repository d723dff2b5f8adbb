"""Headers of local files that were read once: the same answer, for that file only, whatever becomes of the cache."""

import os

import pytest
from gguf_files import describe, write_sparse

from catalog import gguf
from catalog.gguf import read_gguf
from catalog.gguf_header import Header, HeaderTensor
from catalog.header_cache import _MAX_ENTRIES_COUNT, HeaderCache, Stamp
from catalog.load import load_catalog

HEADER = Header(
    metadata={"general.name": "Zoë", "x.flags": (True, 2, 0.5), "x.count": 7, "x.is": False},
    array_counts={"tokenizer.ggml.tokens": 1000},
    tensors=(HeaderTensor(name="a", shape=(32, 4), type_name="F16", offset_bytes=0, size_bytes=256),),
    data_offset_bytes=64,
    data_bytes=256,
)
STAMP = Stamp(path="/models/a.gguf", size_bytes=320, changed_ns=1)


@pytest.fixture
def model_file(tmp_path):
    return write_sparse(tmp_path / "model.gguf", *describe(load_catalog().model("Qwen/Qwen3-0.6B")))


@pytest.fixture
def headers(tmp_path):
    return HeaderCache(tmp_path / "headers")


def entry_of(headers: HeaderCache):
    (entry,) = headers.folder.iterdir()
    return entry


def test_a_header_comes_back_as_it_was(headers):
    headers.put(STAMP, HEADER)
    assert headers.get(STAMP) == HEADER


@pytest.mark.parametrize("change", [{"size_bytes": 321}, {"changed_ns": 2}, {"path": "/models/b.gguf"}])
def test_another_state_of_a_file_is_another_header(headers, change):
    headers.put(STAMP, HEADER)
    other = Stamp(**({"path": STAMP.path, "size_bytes": 320, "changed_ns": 1} | change))
    assert headers.get(other) is None


def test_a_file_is_walked_through_once(model_file, headers, monkeypatch):
    first = read_gguf(model_file, headers)
    monkeypatch.setattr(gguf, "parse_header", lambda *_: pytest.fail("it was read again"))
    assert read_gguf(model_file, headers) == first


def test_a_changed_file_is_read_again(model_file, headers):
    before = read_gguf(model_file, headers)
    write_sparse(model_file, *describe(load_catalog().model("Qwen/Qwen3-1.7B")))
    os.utime(model_file, ns=(1, 1))
    after = read_gguf(model_file, headers)
    assert after[0].params_total_count > before[0].params_total_count
    assert after == read_gguf(model_file)


def test_a_damaged_entry_counts_as_none(model_file, headers):
    first = read_gguf(model_file, headers)
    whole = entry_of(headers).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", whole[: len(whole) // 2], bytes(flipped), b"0" * 65 + b"{}", b"[" * 100_000):
        entry_of(headers).write_bytes(damaged)
        assert read_gguf(model_file, headers) == first


def test_a_folder_that_cannot_be_written_costs_time_only(model_file, tmp_path):
    (tmp_path / "file").write_text("in the way")
    headers = HeaderCache(tmp_path / "file")
    assert read_gguf(model_file, headers) == read_gguf(model_file)


def test_the_oldest_entries_make_room(headers):
    for number in range(_MAX_ENTRIES_COUNT + 20):
        headers.put(Stamp(path=f"/models/{number}.gguf", size_bytes=1, changed_ns=1), HEADER)
    assert len(list(headers.folder.iterdir())) <= _MAX_ENTRIES_COUNT
    assert headers.get(Stamp(path=f"/models/{_MAX_ENTRIES_COUNT + 19}.gguf", size_bytes=1, changed_ns=1)) == HEADER


def test_a_file_that_is_no_gguf_leaves_nothing(tmp_path, headers):
    path = tmp_path / "not.gguf"
    path.write_bytes(b"no such thing")
    with pytest.raises(gguf.HeaderError):
        read_gguf(path, headers)
    assert not headers.folder.exists()
