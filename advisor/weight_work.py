"""Which weights a step sweeps, how often, and how many tokens share a sweep.

Every weight on a device is read once per sweep, but for experts that no token wakes. Logits, and the last layer's
feed-forward, are computed for the last prompt token only (measured: leaving that out makes a two-layer twin look 1.6
times as fast per layer as a deep one; ``catalog.architectures.evaluation`` lists the exceptions).
"""

from dataclasses import dataclass

from advisor.operations import moe_layers_count
from advisor.shares import Share
from catalog.architectures.evaluation import works_through_last_ffn
from catalog.types import ArtifactSpec, Ffn, Geometry, Mixer, Role

_SKIPPED_ROLES = frozenset({Role.EMBEDDING, Role.TOWER})  # looked up, or run on images alone
_ROUTING_EXPONENT = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightWork:
    """Weights of one storage type: bytes moved and floating-point operations made.

    ``rows_count`` is how many tokens share one sweep of a weight matrix; an expert sees only those that wake it.
    ``dots_count`` is how many rows of the matrices one token is multiplied with, each to be set up and summed.
    ``held_bytes`` are all that are stored, of experts also those that sleep.
    """

    tensor_type: str
    role: Role
    bytes: float
    flop: float
    rows_count: float
    held_bytes: float
    dots_count: float = 0.0


def experts_touched_frac(geometry: Geometry, tokens_count: float) -> float:
    """Expected share of experts that some tokens wake: 1-(1-k/E)^n, with n what they would be if routed evenly.

    Tokens share favourites: batches of 2 to 32 users on published runs wake as many experts as n^0.8 even
    tokens would.
    """
    if not geometry.expert_count:
        return 1.0
    idle_frac = 1.0 - geometry.expert_used_count / geometry.expert_count
    return float(1.0 - idle_frac ** (tokens_count**_ROUTING_EXPONENT))


def sweep_weights(
    artifact: ArtifactSpec,
    geometry: Geometry | None,
    share: Share,
    *,
    tokens_count: float,
    tokens_per_pass: float,
    outputs_count: float,
    architecture: str | None = None,
) -> tuple[WeightWork, ...]:
    """Work of one step on the weights that a device holds, by type and role.

    Args:
        artifact: the weights.
        geometry: the model's layers; without them experts wake one by one, and rows of matrices are not counted.
        share: the part of the model on the device.
        tokens_count: tokens of the step.
        tokens_per_pass: tokens that share one sweep.
        outputs_count: tokens whose logits are wanted.
        architecture: llama.cpp's name of it, for what passes the last layer.
    """
    works = []
    for group in artifact.groups:
        held_frac = _held_frac(share, group.role)
        if held_frac <= 0.0:
            continue
        last_frac = _output_only_frac(geometry, group.role, architecture)
        woken_frac = moved_frac = 1.0
        if group.role == Role.EXPERT:
            woken_frac = _woken_frac(geometry, group.used_frac, tokens_per_pass)
            woken_last_frac = _woken_frac(geometry, group.used_frac, min(outputs_count, tokens_per_pass))
            moved_frac = woken_frac * (1.0 - last_frac) + woken_last_frac * last_frac
        multiplied_count = tokens_count * (1.0 - last_frac) + outputs_count * last_frac
        row_dim = _row_dim(geometry, group.role)
        used_count = group.params_count * group.used_frac * held_frac
        works.append(
            WeightWork(
                tensor_type=group.tensor_type,
                role=group.role,
                bytes=group.weight_bytes * moved_frac * held_frac,
                flop=2.0 * used_count * multiplied_count,
                rows_count=tokens_per_pass * group.used_frac / woken_frac,
                held_bytes=group.weight_bytes * held_frac,
                dots_count=used_count * multiplied_count / tokens_count / row_dim if row_dim else 0.0,
            )
        )
    return tuple(works)


def _held_frac(share: Share, role: Role) -> float:
    """Share of a role's weights that a device holds and sweeps."""
    if role in _SKIPPED_ROLES or (role == Role.OUTPUT and not share.output):
        return 0.0
    return {Role.EXPERT: share.experts_frac, Role.OUTPUT: 1.0}.get(role, share.layers_frac)


def spares_last_ffn(geometry: Geometry, architecture: str | None) -> bool:
    """Whether only tokens with logits pass the last feed-forward; by the layers alone where builds have differed."""
    if geometry.ffns[-1] == Ffn.NONE or Mixer.GATED_DELTA in geometry.mixers:
        return False
    return not works_through_last_ffn(architecture)


def _output_only_frac(geometry: Geometry | None, role: Role, architecture: str | None) -> float:
    """Share of a role's weights that only tokens with logits pass: the output layer, the last feed-forward."""
    if role == Role.OUTPUT:
        return 1.0
    if geometry is None or role not in (Role.FFN, Role.EXPERT):
        return 0.0
    if not spares_last_ffn(geometry, architecture):
        return 0.0
    layers = moe_layers_count(geometry) if role == Role.EXPERT else geometry.layers_count
    return 1.0 / layers if layers else 0.0


def _row_dim(geometry: Geometry | None, role: Role) -> float | None:
    """Mean length of the rows that a role's matrices multiply a token with; None where it is unknown."""
    if geometry is None:
        return None
    inner = {Role.FFN: geometry.ffn_dim, Role.EXPERT: geometry.expert_ffn_dim}.get(role)
    if not inner:
        return float(geometry.hidden_dim)
    widening = 1 + geometry.ffn_gated  # gate and up
    return (widening + 1) * geometry.hidden_dim * inner / (widening * inner + geometry.hidden_dim)


def _woken_frac(geometry: Geometry | None, used_frac: float, tokens_count: float) -> float:
    """Share of a layer's experts that some tokens wake."""
    return min(1.0, used_frac * tokens_count) if geometry is None else experts_touched_frac(geometry, tokens_count)
