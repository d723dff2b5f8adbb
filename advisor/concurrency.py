"""Several users at once: what a batch gives each and all of them, and how many sessions a cache holds.

Speed goes through the same cost model as one user's: weights move once per step, arithmetic grows with the
users, tokens wake more experts the more there are, and everyone reads their own cache
(``advisor.work.decode_work`` with a batch, ``advisor.roofline``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from advisor import roofline
from advisor.errors import BadRequestError
from advisor.memory.kv_cache import LLAMA_CPP, SERVING_ENGINES, kv_cache_bytes
from advisor.types import Rates
from advisor.work import decode_work
from catalog.types import ArtifactSpec, Geometry

#: Engines that hand out cache in blocks as a session grows; the others reserve its whole context.
PAGED_ENGINES = SERVING_ENGINES
_PREFIX_SHARING_ENGINES = SERVING_ENGINES


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpeed:
    """Decoding for some users at once."""

    users_count: int
    token_s: float  # until every user has one more token
    tokens_per_s: float  # each user's

    @property
    def total_tokens_per_s(self) -> float:
        """All users' tokens together."""
        return self.tokens_per_s * self.users_count


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRoom:
    """How many sessions a cache of a given size holds."""

    sessions_count: int
    session_bytes: int
    shared_bytes: int = 0  # a prefix that all sessions begin with, kept once


def batch_speeds(
    artifact: ArtifactSpec,
    geometry: Geometry,
    rates: Rates,
    users: Sequence[int],
    *,
    depth_tokens: float,
    kv_bytes_per_element: float = 2.0,
) -> tuple[BatchSpeed, ...]:
    """Speed of decoding on one device for several numbers of users, each at the same depth."""
    speeds = []
    for users_count in users:
        work = decode_work(
            artifact,
            geometry,
            depth_tokens=depth_tokens,
            kv_bytes_per_element=kv_bytes_per_element,
            batch_count=users_count,
        )
        token_s = roofline.total_s(roofline.price_decode(work, rates))
        speeds.append(BatchSpeed(users_count=users_count, token_s=token_s, tokens_per_s=1.0 / token_s))
    return tuple(speeds)


def session_room(
    geometry: Geometry,
    architecture: str | None,
    available_bytes: int,
    *,
    context_tokens: int,
    used_tokens: int | None = None,
    shared_prefix_tokens: int = 0,
    kv_quant_id: str = "f16",
    engine_id: str = LLAMA_CPP,
) -> SessionRoom:
    """Sessions that fit into a cache of ``available_bytes``.

    Args:
        geometry: the model's shape.
        architecture: llama.cpp's name for it.
        available_bytes: what is left for the cache beside weights and buffers.
        context_tokens: the context a session may grow to.
        used_tokens: what a session holds on average; the whole context if None. Counts where cache is paged.
        shared_prefix_tokens: tokens all sessions begin with; kept once by engines that share prefixes.
        kv_quant_id: the cache's type.
        engine_id: which engine's allocation rules apply.

    Raises:
        BadRequestError: if the numbers contradict each other or the KV type is unknown.
    """
    used = context_tokens if used_tokens is None else used_tokens
    if not 0 < used <= context_tokens or not 0 <= shared_prefix_tokens <= used:
        raise BadRequestError(
            f"a session uses {used} of {context_tokens} tokens, {shared_prefix_tokens} of them shared: "
            "give 0 <= shared <= used <= context"
        )

    def cache(tokens: int) -> int:
        return kv_cache_bytes(
            geometry, architecture, context_tokens=tokens, kv_quant_id=kv_quant_id, engine_id=engine_id
        )

    reserved = used if engine_id in PAGED_ENGINES else context_tokens
    whole = cache(reserved)
    shared = 0
    if shared_prefix_tokens and engine_id in _PREFIX_SHARING_ENGINES:
        shared = cache(shared_prefix_tokens)
    own = max(whole - shared, 1)
    count = max(0, available_bytes - shared) // own
    return SessionRoom(sessions_count=count, session_bytes=own, shared_bytes=shared)
