"""Build a `Machine`: this computer from its profile and calibration, or a what-if from data sheets."""

from collections.abc import Sequence
from dataclasses import replace

from advisor.datasheets.traits import is_arm
from advisor.errors import BadRequestError
from advisor.machine import CPU_DEVICE_ID, Machine, MachineDevice
from advisor.memory import cpu_repack
from advisor.types import Calibration, Rates
from catalog.chips import HardwareSpec
from catalog.load import Catalog
from catalog.types import ChipSpec
from catalog.units import GIB
from probes.types import Device, HardwareProfile

BACKENDS = ("cuda", "metal", "rocm", "vulkan", "sycl", "cpu")
#: Backend of an accelerator by the vendor of its chip.
_BACKEND_BY_VENDOR = {"nvidia": "cuda", "amd": "rocm", "apple": "metal", "intel": "sycl"}
_BACKEND_BY_KIND = {"cuda": "cuda", "rocm": "rocm", "metal": "metal", "xpu": "sycl", "vulkan": "vulkan"}
#: Backend that runs on the accelerators of every vendor.
_ANY_GPUS_BACKEND = "vulkan"
#: Memory left to the system and other programs on a machine that was never looked at.
_SYSTEM_RESERVE_BYTES = 2 * GIB
#: Share of the memory that graphics have in common with the processor and models cannot have: 16 of 128 GiB. Seen on
#: a DGX Spark: 121.7 GiB to CUDA, of which llama.cpp found 115.8 GiB free (a developer's log, 2025-12) and another kit
#: 102 GiB (MiaAI-Lab/GLM-5.3-Flash-EXL3-2x-DGX-Sparks issue 47, 2026-08). On a Ryzen AI Max+ 395: 111.9 GiB to Vulkan
#: on Windows, however divided (unslothai/unsloth pull request 10418, 2026-09); on Linux half (antirez/ds4 issue 475)
#: until ttm.pages_limit is raised, and then 96 to 124 GiB.
_SHARED_RESERVE_FRAC = 0.125
#: Share of a card's memory that its driver and a screen keep, beside what every engine's own context takes (the plan's
#: overhead): what llama.cpp's logs found free less that context lay 0 to 6 % below the card's size on RTX 3060, 3090,
#: 4090, 5060 Ti, 5090, H100, RX 7900 XTX and Arc A770, mostly 1 to 2 %.
_CARD_RESERVE_FRAC = 0.02
#: Share of the memory that Linux lets AMD's graphics map unless told otherwise (superm1/amd-debug-tools, amd-ttm.md).
_MAPPED_BY_DEFAULT_FRAC = 0.5
#: RAM of a what-if PC that says nothing of it, and the bandwidth of its usual memory (DDR5-5600, two channels).
_ASSUMED_HOST_MEMORY_BYTES = 32 * GIB
_ASSUMED_HOST_CHIP = "DDR5-5600 dual channel desktop"
#: A model that leaves less than this of a machine's memory starves everything else.
_KEEP_FREE_SHARE = 0.05


def from_profile(
    profile: HardwareProfile,
    calibration: Calibration | None,
    catalog: Catalog,
    *,
    backend: str | None = None,
    engine_available: bool = True,
) -> Machine:
    """This computer (or another whose profile was saved), measured as far as it was."""
    _check_backend(backend)
    calibrated = {rates.device_id: rates for rates in calibration.rates} if calibration else {}
    devices = [
        found
        for device in profile.devices
        if device.kind in _BACKEND_BY_KIND and backend in (None, _BACKEND_BY_KIND[device.kind], _ANY_GPUS_BACKEND)
        if (found := _accelerator(profile, device, calibrated, catalog, backend)) is not None
    ]
    if backend not in (None, "cpu") and not devices:
        raise BadRequestError(f"--backend {backend}: {describe(profile)} has nothing that runs it; use --backend cpu")
    devices.append(_host_device(profile, calibrated, unified=any(device.unified for device in devices)))
    disk = profile.measured("disk.read", "disk")
    instruction_sets = profile.host.instruction_sets
    links = {link.dst: link.bytes_per_s for link in profile.links if link.src in ("host", CPU_DEVICE_ID)}
    return Machine(
        name=describe(profile),
        profile_id=profile.profile_id,
        devices=tuple(devices),
        disk_bytes_per_s=disk.median_value if disk else None,
        engine_available=engine_available,
        link_bytes_per_s=links,
        calibration_id=calibration.calibration_id if calibration else None,
        polluted=calibration.polluted if calibration else False,
        repacked_types=cpu_repack.repacked_types(instruction_sets) if instruction_sets else cpu_repack.COMMON,
    )


def _datasheet_rates(chip: ChipSpec, backend: str, *, device_id: str, threads_count: int | None = None) -> Rates:
    # the fitted effects are read from a file: only where something was not calibrated
    from advisor.datasheets.datasheet import rates_for_chip

    return rates_for_chip(chip, backend, device_id=device_id, threads_count=threads_count)


def describe(profile: HardwareProfile) -> str:
    """A machine in a few words: its accelerators, processor and memory."""
    host = profile.host
    parts = [device.name or device.device_id for device in profile.devices if device.kind in _BACKEND_BY_KIND]
    cores = f" ({host.cores_count} cores)" if host.cores_count else ""
    parts.append((host.cpu_name or "CPU") + cores)
    if host.memory_total_bytes:
        parts.append(f"{host.memory_total_bytes / GIB:.0f} GiB")
    return ", ".join(parts)


def _host_device(profile: HardwareProfile, calibrated: dict[str, Rates], *, unified: bool) -> MachineDevice:
    available = profile.host.memory_available_bytes or profile.host.memory_total_bytes or 0
    rates = calibrated.get(CPU_DEVICE_ID) or _datasheet_rates(
        measured_cpu(profile), "cpu", device_id=CPU_DEVICE_ID, threads_count=profile.host.usable_threads_count
    )
    return MachineDevice(
        device_id=CPU_DEVICE_ID,
        backend="cpu",
        name=profile.host.cpu_name or "CPU",
        memory_available_bytes=round(available * (1.0 - _KEEP_FREE_SHARE)),
        rates=rates,
        unified=unified,
        vendor=profile.host.cpu_vendor,
    )


def measured_cpu(profile: HardwareProfile) -> ChipSpec:
    """The processor as a data sheet of what was measured on it."""
    read = profile.measured("cpu.read_bandwidth")
    fp32 = profile.measured("cpu.matmul", dtype="fp32")
    int8 = profile.measured("cpu.matmul", dtype="int8")
    return ChipSpec(
        chip_id=profile.host.cpu_name or "CPU",
        vendor=profile.host.cpu_vendor or "unknown",
        kind="cpu",
        memory_bytes=profile.host.memory_total_bytes,
        memory_bytes_per_s=read.median_value if read else None,
        fp32_flop_per_s=fp32.median_value if fp32 else None,
        int8_op_per_s=int8.median_value if int8 else None,
        unified=True,
    )


def _accelerator(
    profile: HardwareProfile,
    device: Device,
    calibrated: dict[str, Rates],
    catalog: Catalog,
    backend: str | None,
) -> MachineDevice | None:
    """A device a model can run on, or None where its memory is unknown; an unknown speed is assumed."""
    own_backend = backend or _BACKEND_BY_KIND[device.kind]
    chip = _measured_chip(profile, device, catalog)
    rates = _datasheet_rates(chip, own_backend, device_id=device.device_id)
    timed = calibrated.get(device.device_id)
    if timed is not None and timed.backend == own_backend:
        rates = _with_batches(timed, rates)
    free = device.memory_free_bytes if device.memory_free_bytes is not None else device.memory_total_bytes
    if free is None:
        return None
    return MachineDevice(
        device_id=device.device_id,
        backend=own_backend,
        name=device.name or device.device_id,
        memory_available_bytes=free,
        rates=rates,
        unified=device.unified,
        vendor=device.vendor,
        set_aside=device.unified and device.properties.get("memory_pool") == "vram",
    )


def _with_batches(timed: Rates, sheet: Rates) -> Rates:
    """Rates that were timed for one user, with what only several at once show taken from the data sheet's."""
    return replace(
        timed,
        batch_matvec_factor=sheet.batch_matvec_factor,
        batch_half_tokens=sheet.batch_half_tokens,
        batch_s_per_operation=sheet.batch_s_per_operation,
        experts_reread=sheet.experts_reread,
    )


def _measured_chip(profile: HardwareProfile, device: Device, catalog: Catalog) -> ChipSpec:
    """The chip's data sheet with what was measured put over it; an unknown chip is its measurements only.

    One in the computer's own memory reads no faster than the processor was seen to.
    """
    chip = catalog.known_chip(device.name or "", memory_bytes=device.memory_total_bytes) or ChipSpec(
        chip_id=device.name or device.device_id, vendor=device.vendor or "unknown", kind="gpu"
    )
    read = profile.measured(f"{device.kind}.read_bandwidth", device.device_id)
    if read is None and device.unified and chip.memory_bytes_per_s is None:
        chip = replace(chip, memory_bytes_per_s=measured_cpu(profile).memory_bytes_per_s)
    if read is not None:
        chip = replace(chip, memory_bytes_per_s=max(read.value, chip.memory_bytes_per_s or 0.0))
    return replace(chip, memory_bytes=device.memory_total_bytes or chip.memory_bytes)


def from_hardware(spec: HardwareSpec, catalog: Catalog, *, backend: str | None = None) -> Machine:
    """A machine that is not here, from data sheets alone."""
    _check_backend(backend)
    chip = spec.chip
    suited = suited_backends(chip)
    own_backend = backend or suited[0]
    if own_backend not in suited:
        raise BadRequestError(f"--backend {backend}: {chip.chip_id} does not run it; use {' or '.join(suited)}")
    devices: list[MachineDevice] = []
    if own_backend != "cpu":
        devices = [_what_if_device(chip, own_backend, index) for index in range(spec.count)]
    if not (chip.unified and own_backend != "cpu"):
        devices.append(_what_if_host(spec, catalog))
    count = f"{spec.count} x " if spec.count > 1 else ""
    extra = f" + {spec.host.chip_id}" if spec.host else ""
    extra += f" + {spec.extra_memory_bytes / GIB:.0f} GiB" if spec.extra_memory_bytes else ""
    return Machine(
        name=f"{count}{chip.chip_id}{extra}",
        profile_id=f"datasheet:{chip.chip_id}*{spec.count}{extra}",
        devices=tuple(devices),
        price_usd=chip.price_usd * spec.count if chip.price_usd else None,
        power_w=chip.power_w * spec.count if chip.power_w else None,
        repacked_types=cpu_repack.ARM if is_arm(spec.host or chip) else cpu_repack.COMMON,
    )


def suited_backends(chip: ChipSpec) -> tuple[str, ...]:
    """The backends that run a chip, or the computer around it; the one that its users mostly run comes first."""
    if chip.kind == "cpu":
        return ("cpu",)
    if chip.vendor.lower() not in _BACKEND_BY_VENDOR:
        return tuple(sorted(BACKENDS, key=lambda backend: backend != _ANY_GPUS_BACKEND))
    return tuple(dict.fromkeys((default_backend(chip), _ANY_GPUS_BACKEND, "cpu")))


def default_backend(chip: ChipSpec) -> str:
    """The backend llama.cpp users of a chip mostly run."""
    if chip.kind == "cpu":
        return "cpu"
    return _BACKEND_BY_VENDOR.get(chip.vendor.lower(), _ANY_GPUS_BACKEND)


def _what_if_device(chip: ChipSpec, backend: str, index: int) -> MachineDevice:
    memory_bytes = chip.memory_bytes
    if memory_bytes is None:
        raise BadRequestError(f"{chip.chip_id} comes with different memory sizes; name one, e.g. {chip.chip_id} 64GiB")
    available = round(memory_bytes * (1.0 - _CARD_RESERVE_FRAC))
    if chip.kind == "apple":
        from probes.apple import default_wired_limit_bytes  # it brings what runs system_profiler along

        available = default_wired_limit_bytes(memory_bytes)
    elif chip.unified:
        available = memory_bytes - max(2 * _SYSTEM_RESERVE_BYTES, round(memory_bytes * _SHARED_RESERVE_FRAC))
    device_id = f"{backend}:{index}"
    is_mapped = chip.unified and chip.vendor.lower() == "amd"
    return MachineDevice(
        device_id=device_id,
        backend=backend,
        name=chip.chip_id,
        memory_available_bytes=available,
        rates=_datasheet_rates(chip, backend, device_id=device_id),
        unified=chip.unified,
        vendor=chip.vendor,
        memory_by_default_bytes=round(memory_bytes * _MAPPED_BY_DEFAULT_FRAC) if is_mapped else None,
    )


def _what_if_host(spec: HardwareSpec, catalog: Catalog) -> MachineDevice:
    is_own = spec.chip.unified or spec.chip.kind == "cpu"
    chip = spec.chip if is_own else spec.host or catalog.chip(_ASSUMED_HOST_CHIP)
    memory_bytes = spec.extra_memory_bytes or (spec.chip.memory_bytes if is_own else None)
    return MachineDevice(
        device_id=CPU_DEVICE_ID,
        backend="cpu",
        name=chip.chip_id,
        memory_available_bytes=max(0, (memory_bytes or _ASSUMED_HOST_MEMORY_BYTES) - _SYSTEM_RESERVE_BYTES),
        rates=_datasheet_rates(chip, "cpu", device_id=CPU_DEVICE_ID),
        vendor=chip.vendor,
    )


def _check_backend(backend: str | None) -> None:
    if backend is not None and backend not in BACKENDS:
        raise BadRequestError(f"unknown backend {backend[:20]!r}; use one of {', '.join(BACKENDS)}")


def accelerators(machine: Machine) -> Sequence[MachineDevice]:
    """The machine's devices other than the CPU."""
    return [device for device in machine.devices if device.device_id != CPU_DEVICE_ID]
