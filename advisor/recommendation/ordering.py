"""Ranked models in the best of their load-time settings, in the order that they then have.

A search places every model with the engine's usual settings. Those suit models that lie on one device; one whose
experts stay on the CPU may read prompts five times as fast with a larger micro-batch or without copying weights to the
card. So what may enter the list is tuned before the list is cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from advisor.machine import Machine
from advisor.recommendation.request import Candidate, Request, preference
from advisor.recommendation.score import parts
from advisor.recommendation.search import in_best_setting
from catalog.load import Catalog

#: Picks whose load-time settings are compared; those after them keep the engine's usual ones, unless others could lift
#: them into the list.
TUNED_COUNT = 10


def in_best_order(ranked: Sequence[Candidate], catalog: Catalog, machine: Machine, request: Request) -> list[Candidate]:
    """Candidates, best first; those that are in the list, or could come into it, in the best of their settings.

    Args:
        ranked: candidates, best first in the usual settings.
        catalog: the catalog.
        machine: the machine.
        request: what is asked; its ``top_count`` is the length of the list.
    """
    chosen = set(_worth_tuning(ranked, min(request.top_count, TUNED_COUNT)))
    tuned = [
        replace(each, best=in_best_setting(catalog, machine, each.model, request, each.best))
        if index in chosen
        else each
        for index, each in enumerate(ranked)
    ]
    return sorted(tuned, key=lambda each: (*preference(each.best), each.model.model_id), reverse=True)


def _worth_tuning(ranked: Sequence[Candidate], count: int) -> Iterator[int]:
    """Places of the first so many, and of those after them that would be among them if nobody had to wait."""
    yield from range(min(count, len(ranked)))
    if count >= len(ranked):
        return
    least = preference(ranked[count - 1].best)
    for index, candidate in enumerate(ranked[count:], count):
        factors = parts(candidate.best)
        unhindered = factors["quality"] * factors["decode"] * factors["place"]
        if (True, unhindered) > least:
            yield index
