"""What quantisation costs in task quality, by one formula fitted on published divergences.

    loss = 1 - exp(-0.3 · f_task · D · (8·10⁹ / parameters)^0.42)

D is the mean KL divergence (nats) from the unquantised model's next-token distribution, brought to 8
billion parameters: published per type where it is, else ln D = 2.92 - 1.33 · bits per weight (rounded
to nearest without calibration data: + 0.92).

* 0.42: ratio of divergences of the same type on 8B and 27B models, and of ln perplexity on 1B/8B and 8B/70B.
* 0.3: zero-shot accuracy above chance of Llama-3.1-8B-Instruct at Q2_K to Q6_K against its divergence.
* Of a mixture of experts, parameters are the geometric mean of total and active ones: NVFP4 experts of Qwen3.6-35B-A3B
  diverge 1.40 times as far as NVFP4 weights of the dense Qwen3.6-27B; this says 1.50, total parameters 0.90.
* f_task: GSM8K and code lose more than MMLU in the same INT4 tables (quants.csv, runtime_format_quality).

``tests/unit/catalog/test_quantloss.py`` repeats the fits on the sources.
"""

import math

from catalog.recipes import NATIVE_MXFP4
from catalog.types import ModelSpec, QuantSpec

SIZE_EXPONENT = 0.42
_LOSS_PER_NAT = 0.3
_REFERENCE_PARAMS = 8e9
_LOG_DIVERGENCE_AT_0_BITS = 2.92
_LOG_DIVERGENCE_PER_BIT = -1.33
_ROUNDED_LOG_DIVERGENCE = 0.92
_TASK_FACTOR = {"coding": 1.6, "reasoning": 1.6, "agentic": 1.6}

# Mean KL divergence of a quantised KV cache at 8 billion parameters: medians of quants.csv
# (kv_cache_quality) over Llama 3, Qwen3 and Qwen3.6; types between are interpolated on bits.
_KV_DIVERGENCE = {"q8_0": 0.004, "q5_1": 0.02, "q5_0": 0.03, "q4_1": 0.08, "iq4_nl": 0.09, "q4_0": 0.1}
# Gemma 4 alone is measured to be far more sensitive: 0.108 and 0.377 at q8_0, 1.088 at q4_0.
_GEMMA4_KV_DIVERGENCE = {"q8_0": 0.2, "q5_1": 0.4, "q5_0": 0.5, "q4_1": 0.9, "iq4_nl": 1.0, "q4_0": 1.1}


def divergence_of_bits(bits_per_weight: float, *, rounded: bool = False) -> float:
    """Typical mean KL divergence in nats at 8 billion parameters, where none is published."""
    log = _LOG_DIVERGENCE_AT_0_BITS + _LOG_DIVERGENCE_PER_BIT * bits_per_weight
    return math.exp(log + (_ROUNDED_LOG_DIVERGENCE if rounded else 0.0))


def loss_frac(divergence: float, params_count: float, task: str) -> float:
    """Expected relative loss of task quality at a divergence that holds for 8 billion parameters."""
    size = (_REFERENCE_PARAMS / max(params_count, 1.0)) ** SIZE_EXPONENT
    return -math.expm1(-_LOSS_PER_NAT * _TASK_FACTOR.get(task, 1.0) * divergence * size)


def weight_loss_frac(quant: QuantSpec, params_count: int, task: str) -> float:
    """Expected relative loss of task quality for weights stored in a quantisation."""
    divergence = quant.kl_divergence
    if divergence is None:
        divergence = divergence_of_bits(quant.bits_per_weight)
    return loss_frac(divergence, params_count, task)


def robust_params_count(model: ModelSpec) -> int:
    """Parameters as the formula counts them: of a mixture, the geometric mean of total and active ones."""
    total = model.params_total_count
    return round(math.sqrt(total * min(total, model.params_active_count or total)))


def charged_type(quant_id: str, architecture: str | None) -> str:
    """The quantisation whose loss a model's weights take: experts that were trained in MXFP4 lose nothing in it."""
    return "Q8_0" if quant_id == "MXFP4_MOE" and architecture in NATIVE_MXFP4 else quant_id


def kv_loss_frac(kv_quant_id: str, model: ModelSpec) -> float:
    """Expected relative loss of quality for a KV cache stored in a type; 16-bit types lose nothing."""
    sensitive = (model.architecture or "") == "gemma4" or (model.family or "").lower().startswith("gemma-4")
    divergence = (_GEMMA4_KV_DIVERGENCE if sensitive else _KV_DIVERGENCE).get(kv_quant_id.lower(), 0.0)
    return loss_frac(divergence, model.params_total_count, "general")
