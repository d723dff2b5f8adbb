import io
import json
import sys
from dataclasses import replace

import pytest

from advisor import codec
from probes.types import Device, HardwareProfile, Host

PROFILE = HardwareProfile(
    profile_id="p",
    created_at="2026-01-01T00:00:00Z",
    tool_version="0",
    host=Host(os="Linux"),
    devices=(Device(device_id="cpu", kind="cpu"),),
)


def test_a_document_survives_the_round_trip(tmp_path):
    path = tmp_path / "deep" / "profile.json"
    codec.save(PROFILE, path)
    assert codec.load(path, kind="profile") == PROFILE


def test_a_byte_order_mark_of_a_shell_is_read_over(tmp_path):
    path = tmp_path / "profile.json"
    path.write_text("\ufeff" + codec.dump(PROFILE), encoding="utf-8")
    assert codec.load(path) == PROFILE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"kind": "plan", "schema_version": NaN}', "NaN is not a finite number"),
        ('{"kind": "plan", "rows": [-Infinity]}', "-Infinity is not a finite number"),
        ('{"kind": "plan", "rows": [1e999]}', "1e999 is not a finite number"),
        ('{"kind": "zebra"}', "field kind"),
        ('{"kind": "profile"}', "field schema_version"),
        ('{"kind": "profile", "schema_version": 99}', "reads up to"),
        ('{"kind": "profile", "schema_version": 0}', "too old"),
        ('{"kind": "profile", "schema_version": true}', "field schema_version"),
        ('{"kind": "profile", "schema_version": 1, "profile_id": 3}', "field profile_id"),
        ('{"kind": "profile", "schema_version": 1, "surprise": 3}', "field"),
    ],
)
def test_a_bad_document_is_one_line_that_names_file_and_field(tmp_path, text, said):
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(codec.DocumentError) as caught:
        codec.load(path)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert str(path) in message


def test_the_wrong_kind_is_refused(tmp_path):
    path = tmp_path / "p.json"
    codec.save(PROFILE, path)
    with pytest.raises(codec.DocumentError, match="a recommendation document is needed"):
        codec.load(path, kind="recommendation")


def test_a_missing_or_binary_file_is_one_line(tmp_path):
    with pytest.raises(codec.DocumentError, match="cannot be read"):
        codec.load(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(codec.DocumentError, match="not UTF-8"):
        codec.load(tmp_path / "b.json")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "profile.json"
    codec.save(PROFILE, path)

    def broken(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(codec.DocumentError, match="No space left"):
        codec.save(replace(PROFILE, profile_id="new"), path)
    assert codec.load(path) == PROFILE
    assert [item.name for item in tmp_path.iterdir()] == ["profile.json"]


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "profile.json"
    codec.save(PROFILE, path)

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        codec.save(replace(PROFILE, profile_id="new"), path)
    assert codec.load(path) == PROFILE
    assert len(list(tmp_path.iterdir())) == 1


def test_infinite_numbers_are_not_json():
    broken = replace(PROFILE, conditions=replace(PROFILE.conditions, steal_frac=float("inf")))
    with pytest.raises(ValueError, match="JSON compliant"):
        codec.dump(broken)


def test_an_old_version_is_migrated(monkeypatch):
    monkeypatch.setitem(
        codec.MIGRATIONS,
        ("profile", 0),
        lambda old: {"profile_id" if key == "id" else key: value for key, value in old.items()},
    )
    old = json.loads(codec.dump(PROFILE))
    old["id"] = old.pop("profile_id")
    old["schema_version"] = 0
    assert codec.from_mapping(old) == PROFILE


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("text", ["Zoë – 模型 😀", "plain"])
def test_json_on_stdout_loses_nothing_in_any_encoding(monkeypatch, encoding, text):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    monkeypatch.setattr(sys, "stdout", out)
    codec.save(replace(PROFILE, profile_id=text), "-")
    out.flush()
    printed = out.buffer.getvalue().decode(encoding)
    assert codec.loads(printed).profile_id == text


def test_a_name_that_is_no_text_can_be_saved(tmp_path):
    path = tmp_path / "profile.json"
    codec.save(replace(PROFILE, profile_id="b\udce9d"), path)
    assert json.loads(path.read_text(encoding="utf-8"))["profile_id"] == "b\udce9d"
