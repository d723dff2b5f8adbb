"""Peak of what vLLM and MLX hold beside weights and caches while a step runs.

Both compute in 16 bits and free what a layer leaves, so the peak is one layer's. vLLM measures it once with a full
batch and keeps that much of its share free (0.32, ``v1/worker/gpu_worker.py``, ``determine_available_memory``); the
sampler, run on as many sequences as may be decoded at once, has a peak of its own. MLX computes lazily and never
forms the logits of a prompt's inner tokens (``mlx_lm/generate.py``). Attention is fused in both: no scores are kept.
A Llama 3.1 8B with 2,048 tokens a batch was logged to take 0.22 GiB; this gives 0.20.
"""

from catalog.types import Ffn, Geometry

_HALF_BYTES = 2
#: The residual stream and a layer's normalised input.
_STREAMS_COUNT = 2
#: Gate and up side by side, and their product.
_GATED_WIDTHS = 3
#: A logit in 16 bits, its copy in 32, a sorted copy and its 64-bit indices.
_SAMPLED_LOGIT_BYTES = 2 + 4 + 4 + 8


def activation_bytes(geometry: Geometry, tokens_count: int, sequences_count: int) -> int:
    """Bytes at the peak of a step of ``tokens_count`` prompt tokens, or of sampling for ``sequences_count``."""
    widths = [_attention_width(geometry), _dense_width(geometry), _routed_width(geometry)]
    streams = _STREAMS_COUNT * geometry.hidden_dim
    layer_bytes = _HALF_BYTES * tokens_count * (streams + max(widths))
    return max(layer_bytes, _SAMPLED_LOGIT_BYTES * sequences_count * geometry.vocab_count)


def _attention_width(geometry: Geometry) -> int:
    """Queries, keys, values and what attention makes of them."""
    queries = geometry.head_count * geometry.head_dim
    return 2 * queries + 2 * geometry.kv_head_count * geometry.head_dim


def _dense_width(geometry: Geometry) -> int:
    return _GATED_WIDTHS * (geometry.ffn_dim or 0)


def _routed_width(geometry: Geometry) -> int:
    """Every token is worked on once by each expert it wakes; their outputs are summed last."""
    if not any(ffn in (Ffn.MOE.value, Ffn.DENSE_AND_MOE.value) for ffn in geometry.ffns):
        return 0
    expert_dim = geometry.expert_ffn_dim or 0
    return (geometry.expert_used_count or 0) * (_GATED_WIDTHS * expert_dim + geometry.hidden_dim)
