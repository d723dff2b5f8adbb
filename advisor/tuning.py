"""The best of the load-time settings that nobody fixed.

A search places every model with the engine's usual settings; `tuned` then tries the others on what it found, where
the model of speed and memory tells them apart: the micro-batch of prompts longer than it (placed anew, for its
buffers take room from layers), a mapped file or none, prompts worked through on the CPU where it holds the weights
rather than on an accelerator that those are copied to, and attention without the flash kernel, which on a CPU may be
the quicker one and takes more memory.
"""

import math
from dataclasses import replace

from advisor.candidates import candidates
from advisor.estimate_warnings import knows_plain_attention
from advisor.links import streams_to
from advisor.machine import CPU_DEVICE_ID, Machine
from advisor.memory.kv_cache import LLAMA_CPP
from advisor.settings import NOTHING_FIXED, LoadSettings
from advisor.types import ComparedSetting, Estimate, EstimateWarning, Workload
from catalog.types import ArtifactSpec, ModelSpec

#: Micro-batches worth comparing; the engine's own is 512.
UBATCH_TOKENS = (512, 1024, 2048)
#: A setting is left for another that is this much faster over a whole turn, or as fast and this much smaller.
_GAIN_FRAC = 0.03
_EQUAL_FRAC = 0.005


def tuned(
    made: Estimate,
    model: ModelSpec,
    artifact: ArtifactSpec,
    machine: Machine,
    workload: Workload,
    *,
    fixed: LoadSettings = NOTHING_FIXED,
    available_bytes: dict[str, int] | None = None,
    compared: bool = True,
) -> Estimate:
    """The best of the settings beside an estimate's own, with the comparison in ``settings``.

    Args:
        made: the estimate of a placement with the usual settings; returned as it is where there is nothing to try.
        model: the model.
        artifact: the weights it was made for.
        machine: the machine.
        workload: what is asked of it.
        fixed: what the user fixed, which is not varied.
        available_bytes: memory by device where it is limited to less than is free.
        compared: whether the comparison is wanted; without it, what cannot be chosen is not tried.
    """
    if machine.engine_id != LLAMA_CPP or not made.memory.fits:
        return made

    def tried(settings: LoadSettings) -> Estimate | None:
        found = candidates(
            model,
            artifact,
            machine,
            workload,
            kv_quant_id=made.deployment.kv_quant_id,
            available_bytes=available_bytes,
            settings=settings,
        )
        return min(found, key=_turn_s, default=None)

    # from the placement that is fastest over a whole turn, however this one was chosen: the same for every command
    if not _lies_in_one_place(made, machine):
        made = tried(fixed) or made
    best, own, rows = made, fixed, [(_name(made), made)]
    for steps in (_larger_ubatches, _unmapped, _unlent, _plain_attention if compared else _known_plain_attention):
        for step in steps(made, best, fixed, machine):
            settings = replace(own, **step)  # type: ignore[arg-type]
            option = tried(settings)
            if option is None or option.deployment in [row.deployment for _, row in rows]:
                continue
            rows.append((_name(option), option))
            if _is_known(option) and _is_better(option, best):
                best, own = option, settings
    if not compared or len(rows) == 1:
        return best
    return replace(best, settings=tuple(_row(name, option, option is best) for name, option in rows))


# What is tried after what was found so far: each changes one setting where that can matter --------------------------

_Steps = list[dict[str, int | bool]]


def _larger_ubatches(made: Estimate, _best: Estimate, fixed: LoadSettings, _machine: Machine) -> _Steps:
    """Micro-batches that a prompt fills at least half: on the CPU alone larger ones do not matter."""
    if fixed.ubatch_tokens is not None or made.deployment.backend == "cpu":
        return []
    usual, most = made.deployment.ubatch_tokens, made.deployment.batch_tokens
    sizes = (size for size in UBATCH_TOKENS if usual < size <= most and made.workload.prompt_tokens > size // 2)
    return [{"ubatch_tokens": size} for size in sizes]


def _unmapped(_made: Estimate, best: Estimate, fixed: LoadSettings, _machine: Machine) -> _Steps:
    return [{"mmap": False}] if fixed.mmap is None and best.deployment.mmap and _uses_cpu(best) else []


def _unlent(made: Estimate, best: Estimate, fixed: LoadSettings, machine: Machine) -> _Steps:
    if fixed.op_offload is not None or not _uses_cpu(best) or not _streams(best, machine):
        return []
    steps: _Steps = [{"op_offload": False}]
    if fixed.ubatch_tokens is None:  # a larger micro-batch may have paid for itself by fewer copies alone
        steps.append({"op_offload": False, "ubatch_tokens": made.deployment.ubatch_tokens})
    return steps


def _plain_attention(_made: Estimate, best: Estimate, fixed: LoadSettings, _machine: Machine) -> _Steps:
    untold = fixed.flash_attention is None and best.deployment.kv_quant_id == "f16"
    return [{"flash_attention": False}] if untold else []


def _known_plain_attention(made: Estimate, best: Estimate, fixed: LoadSettings, machine: Machine) -> _Steps:
    """Where nobody timed it, it is shown but never chosen."""
    return _plain_attention(made, best, fixed, machine) if knows_plain_attention(machine) else []


def _uses_cpu(made: Estimate) -> bool:
    how = made.deployment
    return CPU_DEVICE_ID in how.layers_by_device or how.experts_on_cpu_layers_count > 0


def _lies_in_one_place(made: Estimate, machine: Machine) -> bool:
    """Whether a model is wholly on the one accelerator there is: nothing else is offered then."""
    (first, *others) = machine.devices
    alone = set(made.deployment.layers_by_device) == {first.device_id} and not _uses_cpu(made)
    return alone and len(others) == 1 and not first.unified


def _streams(made: Estimate, machine: Machine) -> bool:
    """Whether prompts are worked through on an accelerator with weights that the CPU holds."""
    prompt_tokens, how = made.workload.prompt_tokens, made.deployment
    passes_count = math.ceil(prompt_tokens / how.ubatch_tokens)
    return streams_to(machine, how.layers_by_device, prompt_tokens / passes_count) is not None


def _turn_s(made: Estimate) -> float:
    """Seconds of a whole turn: the prompt and its answer."""
    return made.first_token_s.mid + made.workload.output_tokens / made.decode_tokens_per_s.mid


def _is_better(option: Estimate, best: Estimate) -> bool:
    faster = _turn_s(option) < (1.0 - _GAIN_FRAC) * _turn_s(best)
    equal = _turn_s(option) <= (1.0 + _EQUAL_FRAC) * _turn_s(best)
    return faster or (equal and option.memory.total_bytes < (1.0 - _GAIN_FRAC) * best.memory.total_bytes)


def _is_known(made: Estimate) -> bool:
    return EstimateWarning.PLAIN_ATTENTION_NOT_MEASURED not in made.warnings


def _name(made: Estimate) -> str:
    how = made.deployment
    parts = [f"micro-batch {how.ubatch_tokens}", "mapped file" if how.mmap else "no mapped file"]
    if not how.op_offload:
        parts.append("no op offload")
    if not how.flash_attention:
        parts.append("no flash attention" + ("" if _is_known(made) else " (only its memory is told apart)"))
    return ", ".join(parts)


def _row(name: str, made: Estimate, chosen: bool) -> ComparedSetting:
    return ComparedSetting(
        setting=name,
        decode_tokens_per_s=made.decode_tokens_per_s.mid,
        prefill_tokens_per_s=made.prefill_tokens_per_s.mid,
        memory_total_bytes=made.memory.total_bytes,
        chosen=chosen,
    )
