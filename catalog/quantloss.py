"""What quantisation costs in quality: one formula, fitted from published divergence."""

import math

from catalog.types import ModelSpec, QuantSpec

_TASK_FACTOR = {"coding": 1.5, "reasoning": 1.4, "agentic": 1.4}
_KV_LOSS_FRAC = {"q8_0": 0.002, "q5_1": 0.008, "q5_0": 0.01, "q4_1": 0.03, "q4_0": 0.035, "iq4_nl": 0.03}


def weight_loss_frac(quant: QuantSpec, params_count: int, task: str) -> float:
    """Expected relative loss of task quality for weights stored in a quantisation."""
    bits = quant.bits_per_weight
    if bits >= 8:
        return 0.0
    size: float = (8e9 / max(params_count, 1)) ** 0.3
    return min(0.95, 0.01 * math.exp(-1.5 * (bits - 4.8)) * size * _TASK_FACTOR.get(task, 1.0))


def kv_loss_frac(kv_quant_id: str, model: ModelSpec) -> float:
    """Expected relative loss of quality for a KV cache stored in a type."""
    loss = _KV_LOSS_FRAC.get(kv_quant_id.lower(), 0.0)
    return loss * 10 if model.family and model.family.startswith("Gemma-4") else loss
