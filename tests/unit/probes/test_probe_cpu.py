"""Bandwidth and products on the CPU: kernels that do what they say, buffers that respect memory."""

from functools import partial

import numpy as np
import pytest
from probe_fakes import fake_bench, real_bench

from probes.base import run_probe
from probes.cpu import ADD, COPY, READ, SCALE, STREAM_PROBES, TRIAD, StreamKernel, buffer_bytes, prepare, verify
from probes.curves import CURVE_PROBES, curve_sizes, thread_counts
from probes.errors import NotSupportedError, ProbeError
from probes.matmul import Growth, MatmulProbe, NumpyProduct, grow, largest_dim
from probes.products import TOLERANCE, TORCH_BYTES, TorchProduct, has_torch, working_set_bytes
from probes.team import Team
from probes.types import Device, ProbeStatus, ScanWarning

CPU = Device(device_id="cpu", kind="cpu", properties={"last_level_cache_bytes": str(1 << 20)})
needs_torch = pytest.mark.skipif(not has_torch(), reason="PyTorch is an extra")


@pytest.mark.parametrize("kernel", [READ, COPY, SCALE, ADD, TRIAD], ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("size_bytes", [1 << 20, (3 << 20) + 4 * 12345])
@pytest.mark.parametrize("threads_count", [1, 3])
def test_a_kernel_writes_what_its_formula_says(kernel: StreamKernel, size_bytes: int, threads_count: int) -> None:
    with Team(threads_count) as team:
        parts = prepare(team, kernel, size_bytes)
        assert sum(len(part[0]) for part in parts) == size_bytes // 4
        for run in {kernel.run, kernel.on(threads_count), kernel.on(64)}:
            team.run(run, parts, passes=2)
            verify(kernel, parts)


@pytest.mark.parametrize("kernel", [COPY, SCALE, ADD, TRIAD], ids=lambda kernel: kernel.name)
def test_a_wrong_value_anywhere_is_found(kernel: StreamKernel) -> None:
    with Team(2) as team:
        parts = prepare(team, kernel, 8 << 20)
        team.run(kernel.run, parts)
        parts[1][0][-1] += 1
        with pytest.raises(ProbeError, match=f"the {kernel.name} kernel left wrong values"):
            verify(kernel, parts)


def test_a_read_that_misses_the_planted_value_is_an_error() -> None:
    with Team(2) as team:
        parts = prepare(team, READ, 1 << 20)
        parts[1][0].fill(1.0)
        with pytest.raises(ProbeError, match="missed the value"):
            team.run(READ.run, parts)


def test_bytes_are_counted_as_stream_counts_them() -> None:
    assert [kernel.bytes_per_element for kernel in (READ, COPY, SCALE, ADD, TRIAD)] == [4, 8, 8, 12, 12]
    assert [kernel.flop_per_element for kernel in (READ, COPY, SCALE, ADD, TRIAD)] == [0, 0, 1, 1, 2]


def test_a_buffer_is_four_caches_unless_memory_forbids() -> None:
    mib = 1 << 20
    assert buffer_bytes(32 * mib, 3, 8192 * mib) == (128 * mib, False)
    assert buffer_bytes(None, 1, 8192 * mib) == (256 * mib, False)
    assert buffer_bytes(1 * mib, 1, 8192 * mib) == (64 * mib, False)
    assert buffer_bytes(32 * mib, 3, 96 * mib) == (32 * mib, True)


@pytest.mark.parametrize("probe", STREAM_PROBES, ids=lambda probe: probe.probe_id)
def test_a_bandwidth_probe_reports_raw_repeats_and_its_work(probe) -> None:
    with real_bench() as bench:
        outcome = run_probe(probe, CPU, bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    measured = outcome.measurement
    assert measured is not None
    assert measured.unit == "bytes_per_s"
    assert measured.value >= measured.median_value > 0
    assert measured.value == pytest.approx(measured.work_bytes / min(measured.elapsed_s))
    assert measured.threads_count == 2
    assert ScanWarning.SMALL_BUFFER in measured.warnings  # the test's bench has little memory
    assert measured.conditions is not None


def test_no_memory_for_buffers_is_one_outcome_with_a_reason() -> None:
    with fake_bench(memory_bytes=100_000) as bench:
        outcome = run_probe(STREAM_PROBES[0], CPU, bench)
    assert outcome.status == ProbeStatus.FAILED
    assert "too little free memory" in (outcome.reason or "")


def test_thread_counts_are_few_and_end_with_all() -> None:
    assert thread_counts(1) == (1,)
    assert thread_counts(2) == (1, 2)
    assert thread_counts(6) == (1, 2, 3, 4, 6)
    assert thread_counts(128)[-1] == 128
    assert len(thread_counts(128)) <= 16


def test_curve_sizes_double_up_to_main_memory() -> None:
    assert curve_sizes(100_000) == (16384, 32768, 65536, 100_000)
    assert curve_sizes(8) == (8,)


@pytest.mark.parametrize("probe", CURVE_PROBES, ids=lambda probe: probe.probe_id)
def test_a_curve_has_a_rate_for_every_point(probe) -> None:
    with real_bench(budget_s=0.2) as bench:
        outcome = run_probe(probe, CPU, bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    measured = outcome.measurement
    assert measured is not None
    points = measured.details["threads" if "thread" in probe.probe_id else "buffer_bytes"]
    rates = measured.details["bytes_per_s"]
    assert len(points) == len(rates) > 1
    assert measured.value == pytest.approx(max(rates))
    assert all(rate > 0 for rate in rates)


class SlowProduct:
    """Operands whose product takes a time that grows with the cube of the side, on a clock wound by hand."""

    def __init__(self, dim: int, clock, seconds_at_64: float) -> None:
        self.dim = dim
        self._clock = clock
        self._s = seconds_at_64 * (dim / 64) ** 3
        self.multiply()

    def multiply(self) -> None:
        self._clock.sleep(self._s)

    def error_frac(self) -> float:
        return 0.0


def test_a_problem_grows_until_it_is_long_enough_to_time() -> None:
    with fake_bench(budget_s=10.0) as bench:
        make = partial(SlowProduct, clock=bench.clock, seconds_at_64=1e-5)
        operands, product_s = grow(make, lambda: None, bench, Growth(last_dim=8192))
    assert product_s >= 0.05
    assert operands.dim == 2048


def test_a_hopelessly_slow_format_stays_tiny_and_within_its_budget() -> None:
    with fake_bench(budget_s=1.0) as bench:
        start_s = bench.clock.now()
        make = partial(SlowProduct, clock=bench.clock, seconds_at_64=0.04)
        operands, _ = grow(make, lambda: None, bench, Growth(last_dim=8192))
        assert operands.dim == 64
        assert bench.clock.now() - start_s < 1.0


def test_memory_bounds_the_problem() -> None:
    dim = largest_dim("fp32", 64 << 20)
    assert 2 * working_set_bytes("fp32", dim) <= 64 << 20 < 2 * working_set_bytes("fp32", 2 * dim)


def test_numpy_multiplies_and_notices_a_wrong_result() -> None:
    product = NumpyProduct(96)
    product.multiply()
    assert product.error_frac() < 1e-4
    product.result[0, 3] += 100
    assert product.error_frac() > 0.5


@needs_torch
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16", "int8"])
def test_torch_multiplies_in_every_format_of_the_cpu(dtype: str) -> None:
    with real_bench(memory_bytes=TORCH_BYTES) as bench:
        outcome = run_probe(MatmulProbe(dtype=dtype), CPU, bench)
    assert outcome.status == ProbeStatus.OK, outcome.reason
    measured = outcome.measurement
    assert measured is not None
    assert measured.dtype == outcome.dtype == dtype
    assert measured.work_flop % (2 * measured.shape[0] ** 3) == 0
    assert measured.unit == "flop_per_s"


@needs_torch
def test_a_product_off_by_more_than_rounding_fails_the_probe(monkeypatch) -> None:
    monkeypatch.setattr(TorchProduct, "error_frac", lambda self: float("nan"))
    with real_bench(memory_bytes=TORCH_BYTES, budget_s=0.05) as bench:
        outcome = run_probe(MatmulProbe(dtype="fp32"), CPU, bench)
    assert outcome.status == ProbeStatus.FAILED
    assert "is off by" in (outcome.reason or "")


def test_without_torch_fp32_is_measured_and_the_rest_waived_with_a_command(monkeypatch) -> None:
    monkeypatch.setattr("probes.matmul.has_torch", lambda: False)
    with real_bench() as bench:
        measured = run_probe(MatmulProbe(dtype="fp32"), CPU, bench)
        waived = run_probe(MatmulProbe(dtype="bf16"), CPU, bench)
    assert measured.status == ProbeStatus.OK
    assert waived.status == ProbeStatus.WAIVED
    assert waived.measurement is None
    assert waived.fix == "pip install 'model-fit-advisor[torch]'"


def test_a_machine_too_small_for_torch_still_measures_fp32() -> None:
    with real_bench(memory_bytes=32 << 20) as bench:
        assert run_probe(MatmulProbe(dtype="fp32"), CPU, bench).status == ProbeStatus.OK
        waived = run_probe(MatmulProbe(dtype="int8"), CPU, bench)
    assert waived.status == ProbeStatus.WAIVED
    assert "memory" in (waived.reason or "")


@needs_torch
def test_a_format_the_device_lacks_is_not_supported_rather_than_failed() -> None:
    with pytest.raises(NotSupportedError, match="not supported here"):
        TorchProduct("fp16_sparse", 64, "cpu")


@needs_torch
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16", "int8"])
def test_large_operands_repeat_a_random_block_and_a_wrong_tile_is_found(dtype: str) -> None:
    product = TorchProduct(dtype, 1024)
    assert product.left.shape == product.right.shape == (1024, 1024)
    assert (product.left[:512, :512] == product.left[512:, 512:]).all()
    assert len(product.left[:512, :512].unique()) > 100
    assert (product.left != product.right).any()
    assert product.error_frac() <= TOLERANCE[dtype]
    product.result[-1, 640:656] = 0  # the last row is checked, and every sixteenth column
    assert product.error_frac() > TOLERANCE[dtype]


@needs_torch
def test_a_side_that_is_no_multiple_of_the_block_is_filled() -> None:
    product = TorchProduct("fp32", 700)
    assert product.left.shape == (700, 700)
    assert product.error_frac() <= TOLERANCE["fp32"]


def test_growth_begins_where_it_is_told_within_what_memory_allows() -> None:
    with fake_bench(budget_s=10.0) as bench:
        make = partial(SlowProduct, clock=bench.clock, seconds_at_64=1e-7)
        assert grow(make, lambda: None, bench, Growth(first_dim=1024, last_dim=1024))[0].dim == 1024
        assert grow(make, lambda: None, bench, Growth(first_dim=1024, last_dim=256))[0].dim == 256
        assert (
            grow(make, lambda: None, bench, Growth(first_dim=1024, last_dim=8192, long_enough_s=0.003))[0].dim == 2048
        )


def test_a_team_keeps_its_pages_between_probes() -> None:
    with Team(2) as team:
        first = team.slices(1 << 20, (1.0,))[0][0]
        second = team.slices(1 << 20, (5.0, 6.0))[0][0]
        assert np.shares_memory(first, second)
        assert float(second[0]) == 5.0
