"""Operations and values of a token: counted by hand beside the module's counts."""

from dataclasses import replace

from advisor.operations import fusible_operations_count, operations_count, values_count


def test_a_dense_layer_is_counted_node_by_node(catalog):
    """Qwen 3 8B: 12 around attention, 4 for the norms of queries and keys, 7 in the feed-forward."""
    geometry = catalog.models["Qwen/Qwen3-8B"].geometry
    assert operations_count(geometry) == 36 * (12 + 4 + 7)
    assert operations_count(replace(geometry, qk_norm=None)) == 36 * (12 + 7)
    assert operations_count(replace(geometry, mixers="A", ffns="d")) == 12 + 4 + 7


def test_choosing_among_a_power_of_two_of_experts_can_be_one_kernel(catalog):
    geometry = catalog.models["Qwen/Qwen3-30B-A3B-Instruct-2507"].geometry
    assert fusible_operations_count(geometry) == 48 * (7 + 1 + 8)  # route, weigh, and sum up the answers of eight
    assert operations_count(geometry) == 48 * (12 + 4 + 5 + 16)
    assert fusible_operations_count(replace(geometry, expert_count=96)) == 0
    assert fusible_operations_count(catalog.models["Qwen/Qwen3-8B"].geometry) == 0


def test_values_are_counted_each_time_an_operation_takes_them_in(catalog):
    """Llama 3.2 1B: per layer two norms, three products and an addition, two products and an addition of 2,048 values;
    32 heads of 64 rotated and projected; 8,192 activated and multiplied."""
    geometry = catalog.models["meta-llama/Llama-3.2-1B-Instruct"].geometry
    assert values_count(geometry) == 16 * (9 * 2048 + 2 * 32 * 64 + 2 * 8192)
    assert values_count(geometry, gelu=True) > values_count(geometry)
    assert values_count(replace(geometry, qk_norm="head")) == values_count(geometry) + 16 * 32 * 64


def test_values_of_routed_experts_are_left_to_their_own_prices(catalog):
    geometry = catalog.models["Qwen/Qwen3-30B-A3B-Instruct-2507"].geometry
    assert values_count(geometry) == values_count(replace(geometry, expert_used_count=64))
    shared = replace(geometry, shared_expert_count=1, shared_expert_ffn_dim=1024)
    assert values_count(shared) == values_count(geometry) + 48 * (geometry.hidden_dim + 2 * 1024)
