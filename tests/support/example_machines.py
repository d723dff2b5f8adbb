"""A scanned processor, a scanned GPU and a calibration."""

import math
from dataclasses import replace

from example_rankings import CREATED_AT, TOOL_VERSION

from advisor.types import Basis, Calibration, EngineBuild, Rates
from catalog.units import GIB, KIB, MIB
from probes.types import (
    Conditions,
    Device,
    HardwareProfile,
    Host,
    Link,
    Measurement,
    ProbeOutcome,
    ProbeStatus,
    ScanWarning,
)


def _curve() -> dict[str, tuple[float, ...]]:
    sizes = tuple(float(16 * KIB * 2**step) for step in range(16))
    caches = ((48 * KIB, 290e9), (1 * MIB, 160e9), (32 * MIB, 88e9), (math.inf, 39e9))
    values = tuple(
        next(rate for limit, rate in caches if size <= limit) * (1 + 0.03 * math.sin(step))
        for step, size in enumerate(sizes)
    )
    return {"size_bytes": sizes, "bytes_per_s": values}


def measured(quantity: str, unit: str, value: float, **more: object) -> Measurement:
    fields: dict = {
        "warmup_count": 1,
        "elapsed_s": (0.0521, 0.0533, 0.0529, 0.0547),
        "median_value": value * 0.97,
        "spread_frac": 0.02,
        "threads_count": 2,
    } | more
    return Measurement(quantity=quantity, unit=unit, value=value, **fields)


def profile() -> HardwareProfile:
    def ok(probe_id: str, measurement: Measurement) -> ProbeOutcome:
        return ProbeOutcome(
            probe_id=probe_id, device_id="cpu", status=ProbeStatus.OK, measurement=measurement, elapsed_s=1.2
        )

    threads = {"threads_count": (1.0, 2.0), "bytes_per_s": (23.4e9, 40.2e9)}
    return HardwareProfile(
        profile_id="7d1f0c2a",
        created_at=CREATED_AT,
        tool_version=TOOL_VERSION,
        host=Host(
            os="Linux",
            os_version="6.12",
            machine="x86_64",
            cpu_vendor="AMD",
            cpu_name="AMD EPYC 9B45",
            cores_count=2,
            threads_count=2,
            usable_threads_count=2,
            instruction_sets=("avx2", "avx512f", "avx512_bf16", "avx512_vnni"),
            l1d_bytes=48 * KIB,
            l2_bytes=1 * MIB,
            l3_bytes=32 * MIB,
            memory_total_bytes=24 * GIB,
            memory_available_bytes=int(22.4 * GIB),
            virtualization="kvm",
        ),
        devices=(
            Device(
                device_id="cpu",
                kind="cpu",
                vendor="AMD",
                name="AMD EPYC 9B45",
                memory_total_bytes=24 * GIB,
                memory_free_bytes=int(22.4 * GIB),
            ),
        ),
        links=(Link(src="disk", dst="cpu", bytes_per_s=1.4e9),),
        outcomes=(
            ok("cpu.read_bandwidth", measured("read", "bytes_per_s", 40.2e9, details=threads)),
            ok("cpu.stream_copy", measured("copy", "bytes_per_s", 34.1e9)),
            ok(
                "cpu.stream_triad",
                measured("triad", "bytes_per_s", 33.0e9, warnings=(ScanWarning.CONTENDED,)),
            ),
            ok("cpu.cache_curve", measured("read", "bytes_per_s", 298e9, details=_curve())),
            ok("cpu.matmul", measured("matmul", "flop_per_s", 310e9, dtype="float32", shape=(1024, 1024, 1024))),
            ok("cpu.matmul", measured("matmul", "flop_per_s", 640e9, dtype="bfloat16", shape=(1024, 1024, 1024))),
            ok("cpu.matmul", measured("matmul", "flop_per_s", 720e9, dtype="int8", shape=(1024, 1024, 1024))),
            ProbeOutcome(
                probe_id="cuda.read_bandwidth",
                device_id="cuda:0",
                status=ProbeStatus.WAIVED,
                reason="no NVIDIA driver on this machine",
                fix="install the NVIDIA driver",
            ),
        ),
        conditions=Conditions(other_busy_cores_frac=0.05, steal_frac=0.004),
    )


def gpu_profile() -> HardwareProfile:
    base = profile()
    gpu = Device(
        device_id="cuda:0",
        kind="cuda",
        vendor="NVIDIA",
        name="NVIDIA GeForce RTX 4090",
        memory_total_bytes=24 * GIB,
        memory_free_bytes=int(23.4 * GIB),
        driver="580.65",
    )

    def on_gpu(probe_id: str, measurement: Measurement) -> ProbeOutcome:
        return ProbeOutcome(
            probe_id=probe_id, device_id="cuda:0", status=ProbeStatus.OK, measurement=measurement, elapsed_s=0.8
        )

    return replace(
        base,
        profile_id="b81c93aa",
        host=replace(base.host, cpu_name="AMD Ryzen 9 7950X", cores_count=16, usable_threads_count=32),
        devices=(gpu, *base.devices),
        outcomes=(
            on_gpu("cuda.read_bandwidth", measured("read", "bytes_per_s", 921e9, threads_count=None)),
            on_gpu("cuda.matmul", measured("matmul", "flop_per_s", 158e12, dtype="float16", threads_count=None)),
            *base.outcomes[:-1],
        ),
    )


def calibration() -> Calibration:
    return Calibration(
        calibration_id="c0ffee",
        profile_id="7d1f0c2a",
        engine=EngineBuild(id="llama.cpp", version="0.3.36"),
        created_at=CREATED_AT,
        rates=(
            Rates(
                device_id="cpu",
                backend="cpu",
                basis=Basis.CALIBRATED,
                decode_s_per_byte={"Q4_K": 1 / 27e9, "Q6_K": 1 / 29e9, "Q8_0": 1 / 30e9, "*": 1 / 26e9},
                prefill_s_per_flop={"Q4_K": 1 / 300e9, "Q6_K": 1 / 480e9, "Q8_0": 1 / 205e9, "*": 1 / 280e9},
                kv_s_per_byte=1 / 24e9,
                attention_s_per_flop=1 / 120e9,
                decode_sigma=0.06,
                prefill_sigma=0.11,
                threads_count=2,
                memory_bytes_per_s=40.2e9,
                flop_per_s=720e9,
                source="7 twins, 17 s",
            ),
        ),
        samples={"decode.Q4_K": (0.0123, 0.0124)},
    )
