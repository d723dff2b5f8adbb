"""Feed-forward parts: dense, routed experts and shared experts."""

from catalog.architectures.layout import Architecture, Site, Tensor, matrix, vector
from catalog.types import Ffn, Geometry, Role

_PARTS = {"gated": ("gate", "up"), "joined": ("up",), "plain": ("up",)}


def feed_forward(site: Site) -> list[Tensor]:
    """All feed-forward tensors of a layer."""
    tensors: list[Tensor] = []
    if site.layer.ffn in (Ffn.DENSE, Ffn.DENSE_AND_MOE) and site.layer.ffn_dim:
        tensors += _dense(site.geometry.hidden_dim, site.layer.ffn_dim, site.arch)
    if site.layer.ffn in (Ffn.MOE, Ffn.DENSE_AND_MOE):
        tensors += _experts(site)
        tensors += _shared_expert(site)
    return tensors


def _dense(hidden: int, width: int, arch: Architecture) -> list[Tensor]:
    wide = width * 2 if arch.ffn == "joined" else width
    parts = _PARTS[arch.ffn]
    tensors = [matrix(f"ffn_{part}", hidden, wide, Role.FFN) for part in parts]
    tensors.append(matrix("ffn_down", width, hidden, Role.FFN))
    if arch.ffn_bias:
        tensors += [vector(f"ffn_{part}", wide, ".bias") for part in parts]
        tensors.append(vector("ffn_down", hidden, ".bias"))
    return tensors


def _experts(site: Site) -> list[Tensor]:
    hidden, count, width = site.geometry.hidden_dim, site.geometry.expert_count, site.geometry.expert_ffn_dim or 0
    latent = site.geometry.moe_latent_dim or hidden
    tensors = [Tensor("ffn_gate_inp.weight", (hidden, count), Role.NORM)]
    if site.arch.score_bias and not site.layer.hashed_router:
        tensors.append(Tensor(site.arch.score_bias, (count,), Role.NORM))
    names = ("ffn_gate_up_exps",) if site.arch.expert_ffn == "joined" else _expert_names(site.arch)
    wide = width * 2 if site.arch.expert_ffn == "joined" else width
    tensors += [Tensor(f"{name}.weight", (latent, wide, count), Role.EXPERT) for name in names]
    tensors.append(Tensor("ffn_down_exps.weight", (width, latent, count), Role.EXPERT))
    if site.arch.expert_bias:
        tensors += [Tensor(f"{name}.bias", (wide, count), Role.NORM) for name in names]
        tensors.append(Tensor("ffn_down_exps.bias", (latent, count), Role.NORM))
        tensors.append(vector("ffn_gate_inp", count, ".bias"))
    return tensors


def _expert_names(arch: Architecture) -> tuple[str, ...]:
    return tuple(f"ffn_{part}_exps" for part in _PARTS[arch.expert_ffn])


def _shared_expert(site: Site) -> list[Tensor]:
    hidden, width = site.geometry.hidden_dim, shared_expert_width(site.geometry)
    if not width:
        return []
    wide = width * 2 if site.arch.shared_ffn == "joined" else width
    tensors = [matrix(f"ffn_{part}_shexp", hidden, wide, Role.FFN) for part in _PARTS[site.arch.shared_ffn]]
    tensors.append(matrix("ffn_down_shexp", width, hidden, Role.FFN))
    if site.arch.shared_gate:
        tensors.append(vector("ffn_gate_inp_shexp", hidden))
    return tensors


def shared_expert_width(geometry: Geometry) -> int:
    """Width of all shared experts of a layer together."""
    return geometry.shared_expert_ffn_dim or geometry.shared_expert_count * (geometry.expert_ffn_dim or 0)
