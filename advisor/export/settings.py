"""The load-time settings of a pick in words, so that a target which cannot take one can say so."""

from collections.abc import Mapping
from enum import StrEnum

from advisor.export.pick import Pick

_DEFAULT_UBATCH_TOKENS = 512


class Setting(StrEnum):
    """What an engine is told when it loads a model."""

    CONTEXT = "context"
    PARALLEL = "parallel"
    KV_TYPE = "kv_type"
    DEVICE_LAYERS = "device_layers"
    SPLIT = "split"
    CPU_EXPERTS = "cpu_experts"
    THREADS = "threads"
    MICRO_BATCH = "micro_batch"
    FLASH_ATTENTION = "flash_attention"
    MMAP = "mmap"
    OP_OFFLOAD = "op_offload"


def settings_of(pick: Pick) -> Mapping[Setting, str]:
    """The settings that matter for a pick, each in a few words."""
    deployment, workload = pick.deployment, pick.workload
    cards = {device: count for device, count in deployment.layers_by_device.items() if device != "cpu"}
    words = {Setting.CONTEXT: f"context {workload.context_tokens}"}
    if workload.concurrency_count > 1:
        words[Setting.PARALLEL] = f"{workload.concurrency_count} users at a time"
    if deployment.kv_quant_id != "f16":
        words[Setting.KV_TYPE] = f"KV cache {deployment.kv_quant_id}"
    if cards:
        count = sum(deployment.layers_by_device.values())
        words[Setting.DEVICE_LAYERS] = f"{sum(cards.values())} of {count} layers on the accelerator"
    if len(cards) > 1:
        shares = ",".join(str(share) for share in cards.values())
        words[Setting.SPLIT] = f"split by {deployment.split_mode} {shares}"
    if deployment.experts_on_cpu_layers_count:
        words[Setting.CPU_EXPERTS] = f"experts of {deployment.experts_on_cpu_layers_count} layers on the CPU"
    if deployment.threads_count is not None:
        words[Setting.THREADS] = f"{deployment.threads_count} threads"
    if deployment.ubatch_tokens != _DEFAULT_UBATCH_TOKENS:
        words[Setting.MICRO_BATCH] = f"micro-batch {deployment.ubatch_tokens}"
    words[Setting.FLASH_ATTENTION] = f"flash attention {'on' if deployment.flash_attention else 'off'}"
    if not deployment.mmap:
        words[Setting.MMAP] = "no memory mapping"
    if not deployment.op_offload:
        words[Setting.OP_OFFLOAD] = "prompts worked through on the CPU where it holds the weights"
    return words


def untaken(pick: Pick, taken: frozenset[Setting]) -> tuple[str, ...]:
    """The settings of a pick that are not among those a target takes, in words."""
    return tuple(text for setting, text in settings_of(pick).items() if setting not in taken)
