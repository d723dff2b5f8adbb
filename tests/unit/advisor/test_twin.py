"""Weightless twins: the file format, the synthetic weights, the tensors of real models."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

from advisor.errors import AdvisorError
from advisor.twins import synthetic, twin
from advisor.twins.twin import TwinError, TwinTensor, twin_tensors, write_gguf, write_hollow_gguf, write_twin
from catalog.load import load_catalog
from catalog.tensors import truncate
from catalog.types import Role
from catalog.weights import weigh

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.rope.freq_base": 10000.0,
    "llama.layers": (1, 2, 3),
    "llama.signed": (-1, 2),
    "llama.flags": (True, False),
    "llama.big": 2**40,
    "llama.on": True,
    "llama.negative": -5,
}
TENSORS = (
    TwinTensor(name="token_embd.weight", shape=(256, 5), type_name="Q6_K"),
    TwinTensor(name="blk.0.attn_norm.weight", shape=(7,), type_name="F32"),
    TwinTensor(name="blk.0.attn_q.bias", shape=(7,), type_name="F32"),
    TwinTensor(name="blk.0.ffn_up.weight", shape=(256, 3), type_name="F16"),
    TwinTensor(name="blk.0.ssm_a", shape=(1, 4), type_name="F32"),
)
QUANTISED = [name for name in synthetic._LAYOUTS if name not in ("Q1_0", "Q2_0")]  # unknown to gguf's own code


@pytest.fixture(scope="module")
def models():
    return load_catalog()


def test_the_reference_reader_reads_what_was_written(tmp_path: Path):
    path = tmp_path / "t.gguf"
    size = write_gguf(path, METADATA, TENSORS)
    assert path.stat().st_size == size
    reader = gguf.GGUFReader(path)
    assert {key: reader.fields[key].contents() for key in METADATA} == {
        key: list(value) if isinstance(value, tuple) else value for key, value in METADATA.items()
    }
    found = [(t.name, tuple(int(n) for n in t.shape), t.tensor_type.name) for t in reader.tensors]
    assert found == [(t.name, t.shape, t.type_name) for t in TENSORS]


def test_norms_are_one_biases_zero_decays_negative(tmp_path: Path):
    path = tmp_path / "t.gguf"
    write_gguf(path, METADATA, TENSORS)
    data = {t.name: t.data for t in gguf.GGUFReader(path).tensors}
    assert (data["blk.0.attn_norm.weight"] == 1).all()
    assert (data["blk.0.attn_q.bias"] == 0).all()
    assert (data["blk.0.ssm_a"] == -1).all()
    assert np.isfinite(data["blk.0.ffn_up.weight"]).all()
    assert data["blk.0.ffn_up.weight"].std() > 0


@pytest.mark.parametrize("type_name", QUANTISED)
def test_synthetic_blocks_are_finite_and_the_size_of_real_weights(type_name: str):
    raw = np.frombuffer(synthetic.tile(type_name), dtype=np.uint8).reshape(1, -1)
    weights = dequantize(raw, gguf.GGMLQuantizationType[type_name])
    assert np.isfinite(weights).all()
    assert 0.01 < weights.std() < 0.06
    assert abs(weights.mean()) < 0.5 * weights.std()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path):
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.tile.cache_clear()
        write_gguf(tmp_path / name, METADATA, TENSORS, seed=seed)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_tensor_larger_than_the_tile_repeats_it(tmp_path: Path):
    path = tmp_path / "t.gguf"
    tile = synthetic.tile("Q8_0", 0)
    rows = 3 * len(tile) // 34 + 5
    write_gguf(path, {"general.architecture": "x"}, [TwinTensor(name="w", shape=(32, rows), type_name="Q8_0")])
    data = gguf.GGUFReader(path).tensors[0].data.tobytes()
    assert len(data) == rows * 34
    assert data[: len(tile)] == tile
    assert data[len(tile) : len(tile) + 100] == tile[:100]


def test_expert_tables_name_existing_experts(tmp_path: Path):
    path = tmp_path / "t.gguf"
    metadata = {"general.architecture": "deepseek4", "deepseek4.expert_count": 6}
    tensor = TwinTensor(name="blk.0.ffn_gate_tid2eid.weight", shape=(4, 100), type_name="I32")
    write_gguf(path, metadata, [tensor])
    data = gguf.GGUFReader(path).tensors[0].data
    assert data.min() >= 0
    assert data.max() == 5


def test_a_hollow_twin_has_the_same_layout_and_next_to_no_blocks(tmp_path: Path):
    full, hollow = tmp_path / "full", tmp_path / "hollow"
    tensors = [TwinTensor(name="w", shape=(4096, 4096), type_name="F16")]
    assert write_gguf(full, METADATA, tensors) == write_hollow_gguf(hollow, METADATA, tensors)
    assert full.stat().st_size == hollow.stat().st_size
    header = twin.gguf_header(METADATA, tensors)
    assert hollow.read_bytes()[: len(header)] == full.read_bytes()[: len(header)] == header
    if hasattr(hollow.stat(), "st_blocks"):
        assert hollow.stat().st_blocks * 512 < full.stat().st_blocks * 512 / 10


def test_a_full_disk_is_one_line_before_anything_is_written(tmp_path: Path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(twin.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(TwinError, match=r"does not fit in .* where 1000 bytes are free") as caught:
        write_gguf(tmp_path / "t.gguf", METADATA, TENSORS)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(twin, "_write", fail)
    with pytest.raises(TwinError, match="No space left"):
        write_gguf(tmp_path / "t.gguf", METADATA, TENSORS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(TwinError, match="nowhere"):
        write_gguf(tmp_path / "nowhere" / "t.gguf", METADATA, TENSORS)


def test_an_unknown_tensor_type_is_refused():
    with pytest.raises(AdvisorError, match="no synthetic weights for tensor type 'Q9_Z'"):
        synthetic.tile("Q9_Z")


def test_mixed_metadata_arrays_are_refused():
    with pytest.raises(TwinError, match="one kind of value"):
        twin.gguf_header({"x": (1, "a")}, [])


def test_the_header_starts_like_every_gguf():
    header = twin.gguf_header(METADATA, TENSORS)
    assert header[:4] == b"GGUF"
    assert struct.unpack("<IQQ", header[4:24]) == (3, len(TENSORS), len(METADATA))
    assert len(header) % 32 == 0


def test_a_twin_weighs_what_the_model_weighs(tmp_path: Path, models):
    model = models.model("SmolLM2-135M-Instruct")
    artifact = write_twin(model, "Q4_K_M", tmp_path / "t.gguf", hollow=True)
    expected = weigh(model, "Q4_K_M")
    assert artifact.layer_bytes == expected.layer_bytes
    assert sum(g.weight_bytes for g in artifact.groups) == sum(g.weight_bytes for g in expected.groups)
    assert artifact.local_path == str(tmp_path / "t.gguf")


def test_a_truncated_twin_keeps_each_layers_own_types(models):
    model = models.model("Qwen2.5-7B-Instruct")
    _, _, full = twin_tensors(model, "Q4_K_M")
    layers = (0, 9, 27)
    cut, _, tensors = twin_tensors(model, "Q4_K_M", layers=layers)
    assert cut.geometry.layers_count == 3
    types = {tensor.name: tensor.type_name for tensor in full}
    for tensor in tensors:
        number = tensor.name.split(".")[1]
        origin = tensor.name if not number.isdigit() else tensor.name.replace(number, str(layers[int(number)]), 1)
        assert tensor.type_name == types[origin]
    assert {t.type_name for t in tensors if "ffn_down" in t.name} == {"Q4_K", "Q6_K"}


def test_types_can_be_set_tensor_by_tensor(models):
    model = models.model("SmolLM2-135M-Instruct")
    _, _, tensors = twin_tensors(model, "F16", layers=(0,), types={"blk.0.ffn_up.weight": "Q8_0"})
    assert {t.type_name for t in tensors if t.name == "blk.0.ffn_up.weight"} == {"Q8_0"}
    assert "Q8_0" not in {t.type_name for t in tensors if t.name != "blk.0.ffn_up.weight"}


def test_routed_experts_are_counted_apart(tmp_path: Path, models):
    model = models.model("Qwen3-30B-A3B")
    artifact = write_twin(model, "Q4_K_M", tmp_path / "t.gguf", layers=(0, 1), hollow=True)
    experts = [group for group in artifact.groups if group.role is Role.EXPERT]
    assert experts
    assert all(group.used_frac == pytest.approx(8 / 128) for group in experts)
    assert all(0 < part < whole for part, whole in zip(artifact.expert_bytes, artifact.layer_bytes, strict=True))


@pytest.mark.parametrize(
    ("model_id", "layers", "step", "dense"),
    [
        ("baidu/ERNIE-4.5-21B-A3B-PT", None, 1, 1),
        ("baidu/ERNIE-4.5-21B-A3B-PT", (0, 1), 2, 1),
        ("baidu/ERNIE-4.5-21B-A3B-PT", (0,), 2, 1),  # no experts left: a step beyond the last layer
        ("baidu/ERNIE-4.5-300B-A47B-Base-PT", None, 1, 3),
    ],
)
def test_the_step_between_expert_layers_is_stated_as_loaders_insist(model_id, layers, step, dense):
    model = load_catalog().model(model_id)
    metadata = twin.twin_metadata(model if layers is None else truncate(model, layers))
    assert metadata["ernie4_5-moe.interleave_moe_layer_step"] == step
    assert metadata["ernie4_5-moe.leading_dense_block_count"] == dense
