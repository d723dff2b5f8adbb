"""A small CPU machine with calibrated rates, and an engine to go with it, for commands that would otherwise measure."""

from pathlib import Path

import pytest

from advisor.cli import _machine, _validation
from advisor.engines.fake import FakeEngine
from advisor.machine import Machine, MachineDevice
from advisor.types import Basis, Rates
from probes.types import HardwareProfile, Host

GIB = 1024**3


def machine_of() -> Machine:
    """The machine."""
    rates = Rates(
        device_id="cpu",
        backend="cpu",
        basis=Basis.CALIBRATED,
        decode_s_per_byte={"*": 1 / 30e9},
        prefill_s_per_flop={"*": 1 / 300e9},
        kv_s_per_byte=1 / 20e9,
        attention_s_per_flop=1 / 100e9,
        threads_count=2,
    )
    device = MachineDevice(device_id="cpu", backend="cpu", name="CPU", memory_available_bytes=16 * GIB, rates=rates)
    return Machine(name="a test machine", profile_id="p1", devices=(device,))


def pretend(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have commands run in ``folder``, on the small machine, with this engine and no models of the user's."""
    profile = HardwareProfile(
        profile_id="p1", created_at="2026-01-01T00:00:00Z", tool_version="0", host=Host(os="Linux"), devices=()
    )
    monkeypatch.setenv("ADVISOR_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(_machine, "resolve_machine", lambda *_, **__: machine_of())
    monkeypatch.setattr(_machine, "this_profile", lambda **_: profile)
    monkeypatch.setattr(_validation, "local_engine", lambda *_, **__: engine)
    monkeypatch.setattr("catalog.local.find_local_models", lambda *_, **__: ())
