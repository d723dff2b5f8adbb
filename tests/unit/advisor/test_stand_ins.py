"""Stand-ins of a few layers: which, and how their times make up the whole model's."""

from itertools import pairwise

import pytest

from advisor.twins.truncate import Kind, StandIns, layer_kinds, plan_stand_ins
from advisor.types import Workload
from advisor.validation import figures

WORKLOAD = Workload(prompt_tokens=2048, output_tokens=128, context_tokens=4096)


def test_layers_are_told_apart_by_what_they_do(catalog):
    def sizes(name):
        return [len(kind.indices) for kind in layer_kinds(catalog.model(name))]

    assert sizes("Llama-3.1-8B-Instruct") == [32]
    assert sizes("Qwen3-30B-A3B") == [48]
    assert sorted(sizes("DeepSeek-R1")) == [3, 58]  # dense first, then routed
    assert sorted(sizes("gpt-oss-20b")) == [12, 12]  # sliding and full
    assert sorted(sizes("gemma-3-12b-it")) == [8, 40]


@pytest.mark.parametrize("name", ["Llama-3.1-8B-Instruct", "DeepSeek-R1", "gpt-oss-20b", "Qwen3-Coder-Next"])
def test_what_adds_up_by_layer_is_recovered_exactly(catalog, name):
    kinds = layer_kinds(catalog.model(name))
    count = sum(len(kind.indices) for kind in kinds)
    costs = {index: 1.0 + number for number, kind in enumerate(kinds) for index in kind.indices}
    plan = plan_stand_ins(kinds, [100] * count, room_bytes=10**9)
    assert plan is not None
    assert all(layers[-1] == count - 1 for layers in plan.layers)
    times = [7.0 + sum(costs[index] for index in layers) for layers in plan.layers]
    assert plan.total(times) == pytest.approx(7.0 + sum(costs.values()))


def test_less_room_means_fewer_layers_then_none():
    kinds = (Kind(indices=tuple(range(40))),)
    wide = plan_stand_ins(kinds, [10] * 40, room_bytes=10_000)
    narrow = plan_stand_ins(kinds, [10] * 40, room_bytes=60)
    assert len(wide.layers[1]) > len(narrow.layers[1]) > len(narrow.layers[0])
    assert plan_stand_ins(kinds, [10] * 40, room_bytes=40) is None


def test_added_layers_are_spread_so_that_their_types_mix():
    plan = plan_stand_ins((Kind(indices=tuple(range(40))),), [10] * 40, room_bytes=10_000, extra_layers_count=4)
    added = sorted(set(plan.layers[1]) - set(plan.layers[0]))
    gaps = [b - a for a, b in pairwise(added)]
    assert min(gaps) >= 8


def test_heavier_layers_left_out_weigh_more():
    plan = plan_stand_ins((Kind(indices=(0, 1, 2, 3)),), [10, 10, 30, 10], room_bytes=1000, extra_layers_count=1)
    (gain,) = plan.gains  # base 0 and 3, one of 1 and 2 added
    assert gain in (pytest.approx(40 / 10), pytest.approx(40 / 30))


def two_chunks(first_s, second_s):
    return (
        figures.Chunk(start=0, tokens_count=512, elapsed_s=first_s),
        figures.Chunk(start=4096, tokens_count=512, elapsed_s=second_s),
    )


def test_stand_ins_combine_chunk_by_chunk_and_depth_by_depth():
    plan = StandIns(layers=((0,), (0, 1)), gains=(3.0,))
    parts = [
        figures.Figures(
            chunks=two_chunks(1.0, 2.0),
            chunk_tokens=512,
            shallow=figures.Decoding(depth_tokens=4.0, s_per_token=1.0),
            deep=figures.Decoding(depth_tokens=1028.0, s_per_token=2.0),
        ),
        figures.Figures(
            chunks=two_chunks(1.5, 3.0),
            chunk_tokens=512,
            shallow=figures.Decoding(depth_tokens=4.0, s_per_token=1.1),
            deep=figures.Decoding(depth_tokens=1028.0, s_per_token=2.2),
        ),
    ]
    whole = figures.combine(plan, parts)
    assert whole.chunks == two_chunks(2.5, 5.0)
    assert whole.shallow.s_per_token == pytest.approx(1.3)
    assert whole.deep.s_per_token == pytest.approx(2.6)


def test_an_encoders_stand_ins_combine_without_decoding():
    part = figures.Figures(chunks=two_chunks(1.0, 2.0), chunk_tokens=512)
    whole = figures.combine(StandIns(layers=((0,), (0, 1)), gains=(1.0,)), [part, part])
    assert whole.shallow is whole.deep is None
    assert figures.decode_s(whole, WORKLOAD, None) is None
