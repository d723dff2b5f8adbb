"""Safetensors headers and indices: what a checkpoint holds, and one line where it is damaged."""

import json
import struct

import pytest

from catalog.safetensors import HeaderError, read_safetensors

TENSORS = {
    "model.embed_tokens.weight": {"dtype": "BF16", "shape": [100, 8], "data_offsets": [0, 1600]},
    "model.layers.0.w.qweight": {"dtype": "I32", "shape": [8, 1], "data_offsets": [1600, 1632]},
    "model.norm.weight": {"dtype": "F32", "shape": [8], "data_offsets": [1632, 1664]},
}


def encoded(tensors, data_bytes=1664, **metadata):
    entries = ({"__metadata__": metadata} if metadata else {}) | tensors
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(data_bytes)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(encoded(TENSORS, format="mlx"))
    return path


def test_a_files_tensors_types_and_bytes(path):
    checkpoint = read_safetensors(path)
    assert {t.name: (t.type_name, t.shape, t.size_bytes) for t in checkpoint.tensors} == {
        "model.embed_tokens.weight": ("BF16", (100, 8), 1600),
        "model.layers.0.w.qweight": ("I32", (8, 1), 32),
        "model.norm.weight": ("F32", (8,), 32),
    }
    assert checkpoint.metadata == {"format": "mlx"}
    assert checkpoint.file_bytes == path.stat().st_size


def indexed(folder, names=("a.safetensors", "b.safetensors")):
    mapping = {}
    for name in names:
        (folder / name).write_bytes(
            encoded({f"{name}.w": {"dtype": "F8_E4M3", "shape": [64], "data_offsets": [0, 64]}}, 64)
        )
        mapping[f"{name}.w"] = name
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 128}, "weight_map": mapping}))
    return index


def test_an_index_and_its_folder_hold_all_files_tensors(tmp_path):
    index = indexed(tmp_path)
    for given in (index, tmp_path):
        checkpoint = read_safetensors(given)
        assert sorted(tensor.name for tensor in checkpoint.tensors) == ["a.safetensors.w", "b.safetensors.w"]
        assert checkpoint.file_bytes == sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))


def test_a_folder_without_an_index(path):
    assert len(read_safetensors(path.parent).tensors) == 3


def test_a_missing_file_of_an_index_is_named(tmp_path):
    index = indexed(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(HeaderError, match=r"b\.safetensors: file: "):
        read_safetensors(index)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "", "C:evil", "a\\b", 7, None, "x" * 300])
def test_an_index_names_no_file_elsewhere(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(HeaderError, match="weight_map"):
        read_safetensors(index)


def entry(**changes):
    return {"w": {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]} | changes}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "header"),
        (struct.pack("<Q", 1 << 60) + b"{}", "header length"),
        (struct.pack("<Q", 50) + b"{}", "header length"),
        (struct.pack("<Q", 4) + b"{{{{", "not JSON"),
        (struct.pack("<Q", 4) + b"[{}]", "no JSON object"),
        (struct.pack("<Q", 60_000) + b"[" * 60_000, "not JSON"),
        (encoded({"w": 3}), "malformed"),
        (encoded(entry(shape=[4, -4])), "malformed"),
        (encoded(entry(shape=[4.0, 4])), "malformed"),
        (encoded(entry(shape=[True, 4])), "malformed"),
        (encoded(entry(data_offsets=[0])), "malformed"),
        (encoded(entry(dtype="Q4")), "type Q4"),
        (encoded(entry(shape=[4, 5])), "disagree"),
        (encoded(entry(shape=[1 << 47, 1 << 47], data_offsets=[0, 32])), "disagree"),
        (encoded(entry(shape=[1 << 40] * 100_000)), "disagree"),
        (encoded(entry(), data_bytes=31), "ends 1 bytes before"),
    ],
)
def test_damage_is_one_line_with_file_and_field(tmp_path, content, problem):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderError) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert message.startswith("bad.safetensors: ")
    assert problem in message
    assert "\n" not in message


def test_a_missing_file_or_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(HeaderError, match=r"none\.safetensors: file: "):
        read_safetensors(tmp_path / "none.safetensors")
    with pytest.raises(HeaderError, match=r"holds no \.safetensors file"):
        read_safetensors(tmp_path)
