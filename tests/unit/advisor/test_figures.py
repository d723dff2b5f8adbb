"""What is made of the stopwatch's readings: medians, prompts filled in, depths carried on."""

from dataclasses import replace

import pytest
from timed_windows import window

from advisor.types import Workload
from advisor.validation import figures
from catalog.types import ArtifactSpec, FileFormat

ARTIFACT = ArtifactSpec(
    model_id="m", quant_id="Q4_0", file_format=FileFormat.GGUF, file_bytes=0, groups=(), exact=False
)
WORKLOAD = Workload(prompt_tokens=2048, output_tokens=128, context_tokens=4096)


def test_the_median_passes_over_disturbed_windows():
    windows = [window("decode", [0.1] * 4), window("decode", [0.3] * 4, polluted=True), window("decode", [0.1] * 4)]
    assert figures.median_s_per_token(windows) == pytest.approx(0.1)
    assert figures.best_s_per_token(windows) == pytest.approx(0.1)


def test_disturbed_windows_count_if_there_are_no_others():
    windows = [window("decode", [0.3], polluted=True)]
    assert figures.trusted(windows) == tuple(windows)
    assert figures.median_s_per_token(windows) == pytest.approx(0.3)


@pytest.mark.parametrize("sizes", [(512,), (512, 16), (16, 512)])
def test_one_part_or_a_few_tokens_tell_nothing_of_a_prompt(sizes):
    chunks = tuple(
        figures.Chunk(start=1024 * index, tokens_count=size, elapsed_s=1.0) for index, size in enumerate(sizes)
    )
    timed = figures.Figures(chunks=chunks, chunk_tokens=512)
    assert figures.prompt_s(timed, WORKLOAD, ARTIFACT, None) is None


def test_without_a_geometry_later_parts_cost_as_much_as_the_first():
    chunks = tuple(figures.Chunk(start=start, tokens_count=512, elapsed_s=1.0) for start in (0, 512))
    timed = figures.Figures(chunks=chunks, chunk_tokens=512)
    assert figures.prompt_s(timed, WORKLOAD, ARTIFACT, None) == pytest.approx(4.0)


def test_decoding_is_carried_to_the_middle_of_the_answer(catalog):
    geometry = catalog.model("Llama-3.1-8B-Instruct").geometry
    timed = figures.Figures(
        chunks=(),
        chunk_tokens=512,
        shallow=figures.Decoding(depth_tokens=0.0, s_per_token=0.10),
        deep=figures.Decoding(depth_tokens=512.0, s_per_token=0.11),
    )
    workload = replace(WORKLOAD, prompt_tokens=2048 - 64, output_tokens=128)
    assert figures.decode_s(timed, workload, geometry) == pytest.approx(0.10 + 0.01 * 4)


def test_a_sliding_window_stops_the_growth(catalog):
    geometry = replace(
        catalog.model("Llama-3.1-8B-Instruct").geometry,
        kv_full_elements_count=0,
        kv_sliding_elements_count=1000,
        sliding_window_tokens=512,
    )
    timed = figures.Figures(
        chunks=(),
        chunk_tokens=512,
        shallow=figures.Decoding(depth_tokens=0.0, s_per_token=0.10),
        deep=figures.Decoding(depth_tokens=512.0, s_per_token=0.11),
    )
    assert figures.decode_s(timed, WORKLOAD, geometry) == pytest.approx(0.11)


def test_noise_never_makes_depth_a_gain(catalog):
    timed = figures.Figures(
        chunks=(),
        chunk_tokens=512,
        shallow=figures.Decoding(depth_tokens=0.0, s_per_token=0.12),
        deep=figures.Decoding(depth_tokens=512.0, s_per_token=0.11),
    )
    assert figures.decode_s(timed, WORKLOAD, None) == pytest.approx(0.11)
