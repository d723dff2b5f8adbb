"""Damaged headers: whatever the bytes, an answer or one line, in bounded time and memory."""

import json
import random
import struct
import tracemalloc

import pytest
from gguf_files import describe, header
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import made_up

from catalog.errors import CatalogError
from catalog.gguf import HeaderError, read_gguf
from catalog.gguf_header import parse_header
from catalog.hf import read_config
from catalog.safetensors import read_safetensors
from catalog.tensors import gguf_metadata, list_tensors
from catalog.weights import weigh

MUTANTS_COUNT = 10_000
# Numbers at which counters, lengths and offsets go wrong.
AWKWARD = (
    0,
    1,
    7,
    8,
    9,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
MOST_BYTES = 48 * 1024**2


def seed_file():
    """A small model's whole file: every kind of value, a vocabulary, weights that are really there."""
    metadata, tensors = describe(made_up("maincoder"))
    words = tuple(f"word{index}" for index in range(40))
    more = {"tokenizer.ggml.tokens": words, "tokenizer.ggml.scores": (0.5,) * 40, "general.alignment": 32}
    start, _ = header(metadata | more, tensors[:20])
    return start


def mutate(content, rng):
    """One to three random wounds: a flipped bit, an awkward number, a cut, a repeated or a lost piece."""
    wounded = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(wounded))
        wound = rng.randrange(6)
        if wound == 0:
            wounded[at] ^= 1 << rng.randrange(8)
        elif wound == 1:
            wounded[at] = rng.choice((0, 1, 8, 9, 127, 128, 255))
        elif wound == 2:
            wounded[at : at + 8] = struct.pack("<Q", rng.choice(AWKWARD))
        elif wound == 3:
            wounded[at : at + 4] = struct.pack("<I", rng.choice(AWKWARD) & 0xFFFFFFFF)
        elif wound == 4:
            del wounded[at : at + rng.choice((1, 4, 8, 64, len(wounded)))]
        else:
            wounded[at:at] = wounded[at : at + rng.choice((1, 8, 64))]
        if not wounded:
            break
    return bytes(wounded)


def check_message(error):
    """A message is one printable line of bounded length."""
    assert str(error).isprintable()
    assert len(str(error)) < 500


def survives(content, size=None):
    """Whether the header is read; anything but an answer or a `HeaderError` of one line is a failure."""

    def fetch(offset, count):
        return content[offset : offset + count]

    try:
        parse_header(fetch, len(content) if size is None else size, "model.gguf")
    except HeaderError as error:
        check_message(error)
        return False
    return True


def test_ten_thousand_mutated_headers_neither_crash_nor_swell():
    whole, rng = seed_file(), random.Random(20_26)
    tracemalloc.start()
    try:
        read_count = sum(survives(mutate(whole, rng), size=1 << 32) for _ in range(MUTANTS_COUNT))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MOST_BYTES
    assert 0 < read_count < MUTANTS_COUNT  # some wounds do no harm, most do


def test_mutated_files_are_described_or_refused(tmp_path):
    whole, rng = seed_file(), random.Random(7)
    path = tmp_path / "model.gguf"
    described = 0
    for _ in range(1500):
        content = mutate(whole, rng)
        with path.open("wb") as file:
            file.write(content)
            file.truncate(len(content) + (1 << 24))
        try:
            model, artifact = read_gguf(path)
        except HeaderError as error:
            check_message(error)
            continue
        described += 1
        assert artifact.file_bytes == len(content) + (1 << 24)
        if model.geometry is not None:
            usable(model)
    assert described > 0


def usable(model):
    """What others do with a model they were given: it may be refused, in one line, but not crash."""
    try:
        list_tensors(model)
        gguf_metadata(model)
        weigh(model, "Q4_K_M")
    except CatalogError as error:
        check_message(error)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_behind_the_magic(content):
    survives(b"GGUF" + struct.pack("<I", 3) + content)


@given(
    st.sampled_from(AWKWARD),
    st.sampled_from(AWKWARD),
    st.integers(0, 13),
    st.integers(0, 13),
    st.sampled_from(AWKWARD),
    st.binary(max_size=64),
)
def test_huge_counts_are_refused_before_anything_is_allocated(tensors, pairs, kind, element, count, rest):
    value = struct.pack("<I", kind) + (struct.pack("<IQ", element, count) if kind == 9 else struct.pack("<Q", count))
    content = b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + struct.pack("<Q", 1) + b"k" + value + rest
    tracemalloc.start()
    try:
        survives(content, size=1 << 50)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1024**2


def test_a_vocabulary_beyond_the_bound_is_refused_without_reading_it():
    """Strings that together are longer than any header may be, from a file that never ends."""
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 22)
    fetched = []

    def fetch(offset, count):
        fetched.append(count)
        piece = start[offset : offset + count]
        return piece + struct.pack("<Q", 1 << 20) * ((count - len(piece)) // 8 + 1)

    with pytest.raises(HeaderError, match="larger than 64 MiB"):
        parse_header(fetch, 1 << 50, "endless.gguf")
    assert max(fetched) <= 1 << 20


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(max_size=12),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), st.lists, max_leaves=6),
    )
)
def test_arbitrary_safetensors_headers(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    raw = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    try:
        read_safetensors(path)
    except HeaderError as error:
        check_message(error)


CONFIG = {
    "model_type": "qwen3_moe",
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 512,
    "moe_intermediate_size": 64,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 1000,
    "layer_types": ["full_attention"] * 4,
    "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
    "rope_scaling": {"rope_type": "llama3"},
    "text_config": None,
    "linear_attn_config": {},
    "kv_lora_rank": None,
    "hybrid_override_pattern": None,
    "block_configs": None,
    "tie_word_embeddings": True,
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(AWKWARD),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(sorted(CONFIG)), inner, max_size=3),
    max_leaves=8,
)
TYPES = [
    "qwen3",
    "gemma4",
    "deepseek_v3",
    "nemotron_h",
    "jamba",
    "lfm2",
    "kimi_linear",
    "falcon",
    "nemotron-nas",
    "llama4",
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(sorted(CONFIG)), VALUES, min_size=1, max_size=4))
def test_arbitrary_configurations_give_a_shape_or_one_line(model_type, changes):
    try:
        model = read_config(CONFIG | {"model_type": model_type} | changes)
    except CatalogError as error:
        check_message(error)
        return
    assert model.params_total_count >= 0
    usable(model)
