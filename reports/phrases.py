"""Short phrases about documents that several renderers share, as inert text."""

from collections.abc import Mapping, Sequence

from advisor.types import Choice, Deployment, Estimate, Limits, Quality, Rejection, Workload
from probes.types import Check, Conditions, Device, EngineDevice, EngineReport, HardwareProfile, Host, Measurement
from reports import format as fmt
from reports.text import plain

_NAMES_SHOWN = 4

_MEASURED_UNITS = {
    "bytes_per_s": fmt.bandwidth,
    "flop_per_s": fmt.compute,
    "s": fmt.duration,
}
_SUFFIX_FORMATS = (
    ("_tokens_per_s", fmt.rate),
    ("_bytes_per_s", fmt.bandwidth),
    ("_flop_per_s", fmt.compute),
    ("_bytes", fmt.gib),
    ("_frac", fmt.percent),
    ("_s", fmt.duration),
)


def workload(load: Workload) -> str:
    """What is asked of the model, in one line."""
    users = f" · {load.concurrency_count} at once" if load.concurrency_count != 1 else ""
    if load.shared_prefix_tokens:
        users += f" · first {fmt.tokens(load.shared_prefix_tokens)} shared"
    return (
        f"prompt {fmt.tokens(load.prompt_tokens)} · answer {fmt.tokens(load.output_tokens)}"
        f" · context {fmt.tokens(load.context_tokens)} tokens{users}"
    )


def limits(hard: Limits) -> str:
    """The hard limits in one line, or an empty string."""
    parts = []
    if hard.min_tokens_per_s is not None:
        parts.append(f"at least {fmt.rate(hard.min_tokens_per_s)}")
    if hard.max_first_token_s is not None:
        parts.append(f"first token within {fmt.duration(hard.max_first_token_s)}")
    if hard.min_quality is not None:
        parts.append(f"quality at least {fmt.number(hard.min_quality)}")
    if hard.max_memory_bytes is not None:
        parts.append(f"at most {fmt.gib(hard.max_memory_bytes)}")
    if hard.licenses:
        parts.append("licence " + " or ".join(plain(name) for name in hard.licenses))
    return " · ".join(parts)


def quality(score: Quality) -> str:
    """A quality interval; a star marks one that was imputed."""
    return fmt.score_interval(score.low, score.mid, score.high) + ("*" if score.imputed else "")


def quality_mid(score: Quality) -> str:
    """A quality without its interval, for a table that has no room; a star marks one that was imputed."""
    return fmt.points(score.mid) + ("*" if score.imputed else "")


def listed(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(map(plain, names[:_NAMES_SHOWN]))
    rest = len(names) - _NAMES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def choice_name(choice: Choice) -> str:
    """A pick's display name."""
    return plain(choice.display_name or choice.estimate.model_id)


def rejection_name(rejection: Rejection) -> str:
    """A rejected model, with its quant where one was tried."""
    return plain(" ".join(filter(None, (rejection.model_id, rejection.quant_id))))


def short_name(model_id: str) -> str:
    """A model's id without its owner."""
    return plain(model_id).rpartition("/")[2] or plain(model_id)


def capitalised(text: str) -> str:
    """Text that starts with a capital, for lists."""
    words = plain(text)
    return words[:1].upper() + words[1:]


def sentence(text: str) -> str:
    """Text with a full stop at its end."""
    words = plain(text)
    return words if words.endswith((".", "!", "?")) else f"{words}."


def counted(count: int, one: str, several: str | None = None) -> str:
    """A count with its noun, such as ``1 row`` or ``1,400 rows``."""
    return f"{fmt.count(count)} {one if count == 1 else several or one + 's'}"


def estimate_name(estimate: Estimate) -> str:
    """A model and its quant."""
    return f"{plain(estimate.model_id)} {plain(estimate.quant_id)}"


def placement(layers_by_device: Mapping[str, int]) -> str:
    """Where the layers live, such as ``cuda:0 28 layers + cpu 4 layers``."""
    return " + ".join(f"{plain(device)} {layers} layers" for device, layers in layers_by_device.items())


def deployment(settings: Deployment) -> str:
    """Load-time settings in one line."""
    parts = [f"{plain(settings.engine_id)} on {plain(settings.backend)}"]
    if settings.layers_by_device:
        parts.append(placement(settings.layers_by_device))
    if settings.threads_count:
        parts.append(f"{settings.threads_count} threads")
    parts.append(f"KV cache {plain(settings.kv_quant_id)}")
    if settings.experts_on_cpu_layers_count:
        parts.append(f"experts of {settings.experts_on_cpu_layers_count} layers on the CPU")
    if settings.flash_attention:
        parts.append("flash attention")
    if not settings.op_offload:
        parts.append("no op offload")
    return " · ".join(parts)


def processor(host: Host) -> str:
    """The processor with its cores."""
    name = plain(host.cpu_name or host.machine or "unknown processor")
    cores, threads = host.cores_count, host.usable_threads_count or host.threads_count
    parts = [f"{cores} cores"] * (cores is not None) + [f"{threads} threads"] * (threads is not None)
    return f"{name} ({', '.join(parts)})" if parts else name


def hardware(profile: HardwareProfile) -> str:
    """A machine in one line: accelerators, processor, memory."""
    parts = [
        f"{plain(device.name or device.device_id)} {fmt.gib(device.memory_total_bytes)}"
        for device in profile.devices
        if device.kind != "cpu"
    ]
    parts.append(processor(profile.host))
    parts.append(fmt.gib(profile.host.memory_total_bytes))
    return " · ".join(parts)


def machine_name(profile: HardwareProfile) -> str:
    """What a machine is called in a legend or a column: its accelerators, or its processor."""
    chips = [plain(device.name or device.device_id) for device in profile.devices if device.kind != "cpu"]
    return " + ".join(chips) or plain(profile.host.cpu_name or profile.host.machine or "unknown processor")


def memory_state(host: Host) -> str:
    """Memory in all and free, and the limit a container sets."""
    parts = [fmt.gib(host.memory_total_bytes), f"{fmt.gib(host.memory_available_bytes)} free"]
    if host.memory_limit_bytes is not None:
        parts.append(f"limited to {fmt.gib(host.memory_limit_bytes)}")
    return ", ".join(parts)


def device(chip: Device) -> str:
    """An accelerator with its memory and driver."""
    parts = [plain(chip.name or chip.kind), fmt.gib(chip.memory_total_bytes)]
    if chip.memory_free_bytes is not None:
        parts.append(f"{fmt.gib(chip.memory_free_bytes)} free")
    if chip.unified:
        parts.append("shared with the processor")
    if chip.driver:
        parts.append(f"driver {plain(chip.driver)}")
    return ", ".join(parts)


def engine(report: EngineReport) -> str:
    """An installed engine's version and the devices it lists, with their memory."""
    chips = [
        f"{plain(chip.name)} ({', '.join(filter(None, (plain(chip.description), _memory_of(chip))))})"
        for chip in report.devices
    ]
    uses = f"can use {', '.join(chips)}" if chips else ""
    return ", ".join(filter(None, (plain(report.version or "version unknown"), uses)))


def _memory_of(chip: EngineDevice) -> str:
    return "" if chip.memory_total_bytes is None else fmt.gib(chip.memory_total_bytes)


def checks(found: Sequence[Check]) -> list[str]:
    """What a doctor's visit says, one line for all subjects of which the same is said."""
    says = dict.fromkeys(check.says for check in found)
    return [f"{', '.join(check.subject for check in found if check.says == text)}: {text}" for text in says]


def measured(measurement: Measurement, value: float | None = None) -> str:
    """A measurement's best value (or another in its unit) as text."""
    show = _MEASURED_UNITS.get(measurement.unit, fmt.number)
    return show(measurement.value if value is None else value)


def metric_value(metric: str, value: float | None) -> str:
    """A value in the unit that its metric's suffix names."""
    show = next((show for suffix, show in _SUFFIX_FORMATS if metric.endswith(suffix)), fmt.number)
    return show(value)


def conditions(state: Conditions) -> str:
    """How quiet the machine was, in one line."""
    parts = []
    if state.other_busy_cores_frac is not None:
        parts.append(f"other programs used {fmt.number(state.other_busy_cores_frac)} cores")
    if state.steal_frac:
        parts.append(f"{fmt.percent(state.steal_frac)} of time stolen by the host")
    if state.throttled_s:
        parts.append(f"throttled for {fmt.duration(state.throttled_s)}")
    if state.temperature_celsius is not None:
        parts.append(f"{fmt.number(state.temperature_celsius)} °C")
    if state.gpu_busy_by_others:
        parts.append("other programs used the GPU")
    if state.gpu_throttled:
        parts.append("heat or its power supply slowed the GPU")
    if state.polluted:
        parts.append("polluted: read speeds as lower bounds")
    return " · ".join(parts)
