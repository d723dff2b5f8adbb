"""A small CPU machine with calibrated rates, for commands that would otherwise measure this one."""

from advisor.machine import Machine, MachineDevice
from advisor.types import Basis, Rates

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
