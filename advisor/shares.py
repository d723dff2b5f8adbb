"""Which part of a model each device holds: whole layers, and routed experts moved to the CPU."""

from dataclasses import dataclass, replace

from advisor.machine import CPU_DEVICE_ID
from advisor.memory import plan as memory
from advisor.types import Deployment
from catalog.types import Ffn, ModelSpec

_NEGLIGIBLE_FRAC = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of a model that one device holds.

    ``side_by_side`` devices each hold a slice of every layer (tensor parallelism): a slice is launched as
    often as the whole layer.
    """

    layers_frac: float = 1.0
    experts_frac: float = 1.0
    output: bool = True
    side_by_side: bool = False

    @property
    def launched_frac(self) -> float:
        """Share of the model's layers that this device launches, whole or in slices."""
        return 1.0 if self.side_by_side else self.layers_frac


WHOLE = Share()
#: Device ids with their shares, in the order that layers pass them.
Shares = tuple[tuple[str, Share], ...]


def split(model: ModelSpec, deployment: Deployment, first_device_id: str = CPU_DEVICE_ID) -> Shares:
    """The part of the model each device holds.

    ``--n-cpu-moe N`` moves the experts of the first N layers, dense ones counted, so a model that begins
    with dense layers moves fewer. Without ``layers_by_device`` the first device holds everything.
    """
    placed = deployment.layers_by_device or {first_device_id: 1}
    geometry = model.geometry
    blocks_count = geometry.layers_count if geometry else sum(placed.values())
    has_experts = [ffn in (Ffn.MOE, Ffn.DENSE_AND_MOE) for ffn in geometry.ffns] if geometry else [True] * blocks_count
    experts_count = sum(has_experts)
    moved_count = deployment.experts_on_cpu_layers_count
    spans = memory.layer_spans(placed, blocks_count)
    output_device = spans[-1][0]
    shares: dict[str, Share] = {}
    for device_id, first, last in spans:
        layers_frac = (last - first) / blocks_count
        kept_from = first if device_id == CPU_DEVICE_ID else min(last, max(first, moved_count))
        shares[device_id] = Share(
            layers_frac=layers_frac,
            experts_frac=sum(has_experts[kept_from:last]) / experts_count if experts_count else layers_frac,
            output=device_id == output_device,
            side_by_side=deployment.split_mode == "row" and len(spans) > 1,
        )
    moved_frac = 1.0 - sum(share.experts_frac for share in shares.values())
    if moved_frac > _NEGLIGIBLE_FRAC:
        held = shares.pop(CPU_DEVICE_ID, Share(layers_frac=0.0, experts_frac=0.0, output=False))
        shares[CPU_DEVICE_ID] = replace(held, experts_frac=held.experts_frac + moved_frac)
    return tuple(shares.items())
