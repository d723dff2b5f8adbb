"""What of a data sheet decides an engine's speed: rates put on one footing, gaps filled, generation named.

Vendors count differently: NVIDIA lists two FP32 lanes per integer lane since Ampere's consumer chips,
AMD counts RDNA 3's dual issue, laptop chips are listed at their lowest clock. Published runs line up
across generations once a chip is described by its integer lanes and clock (``vector_flop_per_s``): prompt
throughput of quantised models is about 530 flop per streaming multiprocessor and clock from Ampere to
Blackwell, whatever the tensor cores are rated at.
"""

import math
import re
from dataclasses import dataclass, field, replace

from catalog.types import ChipSpec

#: Streaming multiprocessors with two FP32 lanes per integer lane.
_TWO_FP32_PER_INTEGER = frozenset({"Ampere", "Ada", "Hopper", "Blackwell", "Blackwell DC"})
_GENERATIONS = {
    "Ada Lovelace": "Ada",
    "Blackwell 2.0": "Blackwell",
    "Maxwell 2.0": "Maxwell",
    "RDNA 1.0": "RDNA 1",
    "RDNA 2.0": "RDNA 2",
    "RDNA 3.0": "RDNA 3",
    "RDNA 4.0": "RDNA 4",
    "GCN 4.0": "GCN 4",
    "GCN 5.0": "GCN 5",
    "GCN 5.1": "GCN 5",
    "CDNA 1.0": "CDNA",
    "CDNA 2.0": "CDNA",
    "CDNA 3.0": "CDNA 3",
    "CDNA 4.0": "CDNA 3",
    "Xe-LPG": "Xe-LP",
    "Xe-LPG+": "Xe-LP",
}
#: Data-centre chips of these generations have far more tensor than vector throughput.
_DATACENTRE_NAMES = {"Ampere": "Ampere DC", "Blackwell": "Blackwell DC"}
_DATACENTRE_TENSOR_RATIO = 12.0
_HBM_GENERATIONS = frozenset({"Ampere DC", "Blackwell DC", "Hopper", "Volta", "CDNA", "CDNA 3"})
#: Desktop chips whose listed FP32 rate counts two operations issued at once.
_DUAL_ISSUE = frozenset({"RDNA 3", "RDNA 4"})
#: Apple's figure for the matrix units in every core of these: four times the previous generation's rate.
_MATRIX_PER_VECTOR = {"M5": 4.0}
#: NVIDIA generations without tensor cores; of Turing, the chips that list no FP16 rate (GTX 16).
_WITHOUT_TENSOR_CORES = frozenset({"Kepler", "Kepler 2.0", "Maxwell", "Pascal"})
#: What their packed products reach of a tensor core's rate per lane, by data sheet: a quarter in INT8, which CUDA
#: multiplies in; half in FP16, which Vulkan does.
_PACKED_PER_TENSOR = {"cuda": 0.25, "vulkan": 0.5}
#: First AMD generation whose drivers offer Vulkan matrices of BF16; before it llama.cpp multiplies those as FP32.
_VULKAN_BF16_SINCE = "RDNA 4"
#: 8-bit matrix products are part of the Arm architecture from this version on.
_ARM_MATRIX_SINCE = (8, 6)
_ARM_VERSION = re.compile(r"Armv(\d+)\.(\d+)-A")
#: Watts per teraflop/s of vector rate that a generation's desktop chips are given; less means lower clocks.
_FULL_CLOCK_W_PER_TFLOP = {
    "Pascal": 21.0,
    "Turing": 22.0,
    "Ampere": 21.0,
    "Ada": 12.0,
    "Blackwell": 14.0,
    "RDNA 2": 14.0,
    "RDNA 3": 12.0,
    "RDNA 3.5": 12.0,  # laptop chips only: what the same units are given on cards
    "RDNA 4": 12.2,
}
_POWER_LOG_RANGE = (-1.2, 0.6)
#: Flop per byte of memory bandwidth where a data sheet gives no arithmetic rate.
_ASSUMED_FLOP_PER_BYTE = {"cpu": 15.0, "arm": 8.0, "apple": 33.0, "gpu": 20.0, "apu": 20.0}
#: Cards whose data sheet counts several dies that engines see as devices of their own: layers are shared out among
#: them, and one works at a time.
_DEVICES_PER_CARD = {"MI250": 2}
_ARM_VENDORS = frozenset({"raspberry", "rockchip", "cix", "qualcomm", "aws", "ampere", "apple"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipTraits:
    """A chip as one backend sees it.

    ``stack`` names the software that drives it: the backend, and for Vulkan whose hardware.
    ``power_log`` is the logarithm of its power per vector rate relative to its generation's desktop chips; an
    integrated chip's power is that of the whole package.
    ``matrix_flop_per_s`` is the rate prompts scale with, ``bf16_flop_per_s`` the same for BF16 weights.
    ``imputed`` names fields the data sheet lacks.
    """

    chip_id: str
    backend: str
    stack: str
    generation: str
    memory_bytes_per_s: float
    vector_flop_per_s: float
    matrix_flop_per_s: float
    bf16_flop_per_s: float
    power_log: float = 0.0
    inline_ecc: bool = False
    joined_dies: bool = False
    integrated: bool = False
    imputed: tuple[str, ...] = field(default=())


def traits_of(chip: ChipSpec, backend: str) -> ChipTraits | None:
    """Describe a chip for one backend, or None without a memory bandwidth."""
    chip = _one_device(chip)
    if chip.memory_bytes_per_s is None:
        return None
    generation = "" if backend == "cpu" else _generation(chip)
    generation = generation or _fallback_generation(chip)
    fp32, imputed = _fp32(chip)
    vector = _vector_rate(generation, chip, fp32)
    matrix = _matrix_rate(chip, backend, generation, vector)
    return ChipTraits(
        chip_id=chip.chip_id,
        backend=backend,
        stack=f"{backend}-{chip.vendor.lower()}" if backend == "vulkan" else backend,
        generation=generation,
        memory_bytes_per_s=chip.memory_bytes_per_s,
        vector_flop_per_s=vector,
        matrix_flop_per_s=matrix,
        bf16_flop_per_s=vector if _promotes_bf16(chip, backend, generation) else matrix,
        power_log=_power_log(chip, backend, generation, vector),
        inline_ecc=_has_inline_ecc(chip, generation),
        joined_dies=chip.kind == "apple" and "Ultra" in chip.chip_id,
        integrated=chip.kind == "apu",
        imputed=imputed,
    )


def _one_device(chip: ChipSpec) -> ChipSpec:
    """The data sheet of the one device that works at a time, of a card that holds several."""
    count = next((count for name, count in _DEVICES_PER_CARD.items() if name in chip.chip_id), 1)
    if count == 1:
        return chip
    shared = ("memory_bytes_per_s", "fp32_flop_per_s", "fp16_flop_per_s", "int8_op_per_s", "power_w")
    told = {name: getattr(chip, name) for name in shared}
    return replace(chip, **{name: value / count for name, value in told.items() if value is not None})


def _generation(chip: ChipSpec) -> str:
    name = _GENERATIONS.get(chip.architecture or "", chip.architecture or "")
    fp32, fp16 = chip.fp32_flop_per_s, chip.fp16_flop_per_s
    if name in _DATACENTRE_NAMES and fp32 and fp16 and fp16 / fp32 >= _DATACENTRE_TENSOR_RATIO:
        return _DATACENTRE_NAMES[name]
    return name


def is_arm(chip: ChipSpec) -> bool:
    """Whether a chip's processor cores are Arm's."""
    return chip.vendor.lower() in _ARM_VENDORS


def _fallback_generation(chip: ChipSpec) -> str:
    if chip.kind != "cpu":
        return "unknown"
    if not is_arm(chip):
        return "x86"
    version = _ARM_VERSION.fullmatch(chip.architecture or "")
    has_matrix_products = version is not None and (int(version[1]), int(version[2])) >= _ARM_MATRIX_SINCE
    return "Arm i8mm" if has_matrix_products else "Arm"


def _fp32(chip: ChipSpec) -> tuple[float, tuple[str, ...]]:
    """The FP32 rate, and what had to be assumed for it."""
    if chip.fp32_flop_per_s:
        return chip.fp32_flop_per_s, ()
    bandwidth = chip.memory_bytes_per_s or 0.0
    if chip.fp16_flop_per_s and chip.kind in ("gpu", "apu"):
        return chip.fp16_flop_per_s / 4.0, ("fp32_flop_per_s",)
    kind = "arm" if chip.kind == "cpu" and is_arm(chip) else chip.kind
    return bandwidth * _ASSUMED_FLOP_PER_BYTE.get(kind, 20.0), ("fp32_flop_per_s",)


def _vector_rate(generation: str, chip: ChipSpec, fp32: float) -> float:
    if generation in _TWO_FP32_PER_INTEGER:
        return fp32 / 2.0
    if generation in _DUAL_ISSUE and chip.kind == "gpu":
        return fp32 / 2.0
    return fp32


def _matrix_rate(chip: ChipSpec, backend: str, generation: str, vector: float) -> float:
    vendor = chip.vendor.lower()
    if backend in ("cpu", "metal") or vendor in ("nvidia", "intel", "apple"):
        per_vector = _MATRIX_PER_VECTOR.get(generation, 1.0) if backend == "metal" else 1.0
        packed = vendor == "nvidia" and not _has_tensor_cores(chip, generation)
        return vector * (_PACKED_PER_TENSOR.get(backend, 1.0) if packed else per_vector)
    return chip.fp16_flop_per_s or 2.0 * vector


def _has_tensor_cores(chip: ChipSpec, generation: str) -> bool:
    return generation not in _WITHOUT_TENSOR_CORES and (generation != "Turing" or chip.fp16_flop_per_s is not None)


def _promotes_bf16(chip: ChipSpec, backend: str, generation: str) -> bool:
    return backend == "vulkan" and chip.vendor.lower() == "amd" and generation != _VULKAN_BF16_SINCE


def _power_log(chip: ChipSpec, backend: str, generation: str, vector: float) -> float:
    usual = _FULL_CLOCK_W_PER_TFLOP.get(generation)
    if usual is None or chip.power_w is None or chip.kind not in ("gpu", "apu") or backend == "cpu":
        return 0.0
    low, high = _POWER_LOG_RANGE
    return min(high, max(low, math.log(chip.power_w / (vector / 1e12) / usual)))


def _has_inline_ecc(chip: ChipSpec, generation: str) -> bool:
    """Professional NVIDIA cards with GDDR keep error-correction bits in the same memory."""
    if chip.vendor != "NVIDIA" or chip.kind != "gpu" or generation in _HBM_GENERATIONS:
        return False
    return not any(word in chip.chip_id for word in ("GeForce", "TITAN", "P100"))  # the P100 has stacked memory
