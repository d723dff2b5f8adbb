"""Reading llama.cpp's log."""

import pytest

from advisor.engines.buffer_log import failed_allocation_bytes, failure_reason, parse_buffers, parse_dry_run

MIB = 1024**2
LOG = """
load_tensors:   CPU_Mapped model buffer size =   238.85 MiB
load_tensors:   CPU_REPACK model buffer size =   271.41 MiB
load_tensors:        CUDA0 model buffer size =  1024.00 MiB
llama_context:        CPU  output buffer size =     0.58 MiB
llama_kv_cache:        CPU KV buffer size =    64.00 MiB
llama_kv_cache:        CPU KV buffer size =    16.00 MiB
llama_memory_recurrent:        CPU RS buffer size =     1.50 MiB
llama_kv_cache_dsv4:        CPU DSV4 csa compressed state buffer size =     2.00 MiB
sched_reserve:        CPU compute buffer size =    98.25 MiB
sched_reserve: graph: nodes = 936, splits = 1, input objects = 4, input tensors = 6
""".splitlines()


def test_buffers_by_device_and_purpose():
    assert parse_buffers(LOG) == {
        "cpu_mapped.weights": round(238.85 * MIB),
        "cpu_repack.weights": round(271.41 * MIB),
        "cuda0.weights": 1024 * MIB,
        "cpu.output": round(0.58 * MIB),
        "cpu.kv": 80 * MIB,  # full and sliding caches add up
        "cpu.state": round(1.5 * MIB) + 2 * MIB,
        "cpu.compute": round(98.25 * MIB),
    }


def test_a_dry_run_states_caches_as_totals():
    lines = [
        "load_tensors:          CPU model buffer size =     0.00 MiB",
        "llama_kv_cache:        CPU KV buffer size =     0.00 MiB",
        "llama_kv_cache: size =   90.00 MiB (  4096 cells,  30 layers,  1/1 seqs), K (f16):   45.00 MiB, V (f16): 45",
        "llama_memory_recurrent: size =    3.00 MiB (     1 cells,  24 layers,  1 seqs  0 rs_seq), R (f32): 1 MiB",
        "sched_reserve:        CPU compute buffer size =    98.25 MiB",
    ]
    assert parse_dry_run(lines) == {
        "all.kv": 90 * MIB,
        "all.state": 3 * MIB,
        "cpu.compute": round(98.25 * MIB),
    }


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            ["print_info: rope_finetuned = unknown", "llama_model_load: error loading model: key not found: a.b"],
            "key not found: a.b",
        ),
        (
            ["llama_model_load: error loading model: error loading model vocabulary: cannot find tokenizer"],
            "cannot find tokenizer",
        ),
        (["gguf_init: failed to read magic"], "gguf_init: failed to read magic"),
        (["something odd"], "something odd"),
        ([], "the engine gave no reason"),
    ],
)
def test_the_stated_cause_of_a_failure(lines, reason):
    assert failure_reason(lines) == reason


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("alloc_tensor_range: failed to allocate CPU buffer of size 1073741824", 1073741824),
        ("ggml_gallocr_reserve_n_impl: failed to allocate CUDA0 buffer of size 268435456", 268435456),
        ("output_reserve: failed to allocate output buffer of size 12.50 MiB", round(12.5 * MIB)),
        ("cudaMalloc failed: out of memory, allocating 512.00 MiB on device 0: error", 512 * MIB),
        ("error loading model: unable to allocate CPU_REPACK buffer", 0),
        ("error loading model: key not found in model: llama.block_count", None),
        ("load_tensors: CPU model buffer size = 1.00 MiB", None),
    ],
)
def test_how_much_memory_was_missing(line, size):
    assert failed_allocation_bytes([line]) == size
