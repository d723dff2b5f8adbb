"""Stand-ins for a model that is too large to run here: a few of its layers, extrapolated to all.

A phase takes ``t = t0 + Σ n_k·t_k`` where ``k`` runs over the kinds of layers (attention or sliding window or
state space, dense or routed, …). One stand-in holds a layer or two of each kind; for each kind another
holds some more of it. Their differences are the ``t_k``, and the rest follows by addition.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from catalog.tensors import list_tensors
from catalog.types import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Layers that do the same work: their indices, and the bytes of each."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIns:
    """Which layers each stand-in keeps.

    ``layers[0]`` is the base; ``layers[1 + k]`` is the base with more layers of kind ``k``. ``gains[k]``
    is by how much kind ``k``'s difference must be multiplied to make up for the layers left out.
    """

    layers: tuple[tuple[int, ...], ...]
    gains: tuple[float, ...]

    def total(self, values: Sequence[float]) -> float:
        """A quantity of the whole model from that of each stand-in, in the order of ``layers``."""
        base, *longer = values
        return base + sum(gain * (value - base) for gain, value in zip(self.gains, longer, strict=True))


def layer_kinds(model: ModelSpec) -> tuple[Kind, ...]:
    """The model's layers grouped by what they do, in order of first appearance.

    Raises:
        CatalogError: if the geometry is unknown.
    """
    shapes: dict[int, list[Hashable]] = {}
    for tensor in list_tensors(model):
        if tensor.layer is not None:
            shapes.setdefault(tensor.layer, []).append((tensor.name.split(".", 2)[2], tensor.shape))
    geometry = model.geometry
    assert geometry is not None  # noqa: S101 - list_tensors has raised otherwise
    first_shared = geometry.layers_count - geometry.kv_shared_layers_count
    groups: dict[Hashable, list[int]] = {}
    for index in range(geometry.layers_count):
        ratio = geometry.compress_ratios[index] if geometry.compress_ratios else 0
        key = (geometry.mixers[index], index >= first_shared, ratio, tuple(sorted(map(repr, shapes.get(index, ())))))
        groups.setdefault(key, []).append(index)
    return tuple(Kind(indices=tuple(indices)) for indices in groups.values())


def _spread(candidates: Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` of the candidates, evenly spaced, so that storage types mix as they do in the whole."""
    step = len(candidates) / count
    return tuple(candidates[int((index + 0.5) * step)] for index in range(count))


def plan_stand_ins(
    kinds: Sequence[Kind], layer_bytes: Sequence[int], *, room_bytes: int, extra_layers_count: int = 6
) -> StandIns | None:
    """Choose the layers of each stand-in; None if even the smallest set has no room.

    The model's last layer is kept last in all of them: engines compute its feed-forward for fewer tokens.

    Args:
        kinds: from `layer_kinds`.
        layer_bytes: bytes of each layer of the model.
        room_bytes: what the layers of all stand-ins together may take.
        extra_layers_count: how many layers of a kind to add, if there are as many and there is room.
    """
    last = max(max(kind.indices) for kind in kinds)
    base = tuple(sorted({kind.indices[0] for kind in kinds} | {last}))
    for extra in range(extra_layers_count, 0, -1):
        added = [_added(kind, base, extra) for kind in kinds]
        longer = [tuple(sorted(base + more)) for more in added if more]
        needed = sum(layer_bytes[index] for layers in (base, *longer) for index in layers)
        if needed <= room_bytes:
            pairs = [(kind, more) for kind, more in zip(kinds, added, strict=True) if more]
            gains = tuple(_gain(kind, more, base, layer_bytes) for kind, more in pairs)
            return StandIns(layers=(base, *longer), gains=gains)
    return None


def _added(kind: Kind, base: Sequence[int], count: int) -> tuple[int, ...]:
    left = [index for index in kind.indices if index not in base]
    return _spread(left, min(count, len(left))) if left else ()


def _gain(kind: Kind, added: Sequence[int], base: Sequence[int], layer_bytes: Sequence[int]) -> float:
    missing = sum(layer_bytes[index] for index in kind.indices if index not in base)
    return missing / sum(layer_bytes[index] for index in added)
