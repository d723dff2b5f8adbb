"""Load-time settings: fixed as asked, else the best of those compared."""

from dataclasses import replace

import pytest

from advisor.errors import BadRequestError
from advisor.machines import from_hardware
from advisor.predict import predict
from advisor.recommendation.recommend import Request, recommend
from advisor.settings import LoadSettings
from advisor.types import Task, Workload
from advisor.workloads import make_workload
from catalog.weights import weigh

MOE, DENSE = "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-8B"
WORKLOAD = Workload(prompt_tokens=8192, output_tokens=512, context_tokens=16384)


def predicted(catalog, hardware, model_id, workload=WORKLOAD, **fixed):
    machine = from_hardware(catalog.hardware(hardware), catalog)
    model = catalog.model(model_id)
    return predict(model, [weigh(model, "Q4_K_M")], machine, workload, settings=LoadSettings(**fixed))


def turn_s(row, workload=WORKLOAD):
    return workload.prompt_tokens / row.prefill_tokens_per_s + workload.output_tokens / row.decode_tokens_per_s


def test_streamed_experts_are_swept_by_larger_micro_batches(catalog):
    found = predicted(catalog, "rtx 3060 12GiB", MOE)
    usual = predicted(catalog, "rtx 3060 12GiB", MOE, ubatch_tokens=512, mmap=True)
    assert found.deployment.ubatch_tokens > 512
    assert found.memory.fits
    assert found.prefill_tokens_per_s.mid > 1.5 * usual.prefill_tokens_per_s.mid
    (chosen,) = [row for row in found.settings if row.chosen]
    assert chosen.memory_total_bytes == found.memory.total_bytes
    assert turn_s(chosen) <= min(turn_s(row) for row in found.settings) * 1.04


def test_a_processor_that_rearranges_weights_reads_the_file_instead_of_mapping_it(catalog):
    found = predicted(catalog, "raspberry pi 5 16GiB", DENSE)
    assert not found.deployment.mmap
    assert found.memory.total_bytes < predicted(catalog, "raspberry pi 5 16GiB", DENSE, mmap=True).memory.total_bytes


def test_short_prompts_keep_the_usual_micro_batch(catalog):
    short = replace(WORKLOAD, prompt_tokens=256)
    assert predicted(catalog, "rtx 3060 12GiB", MOE, workload=short).deployment.ubatch_tokens == 512


#: Few tokens in and out: copying the CPU's weights to the card takes longer than working with them where they are.
SHORT = Workload(prompt_tokens=64, output_tokens=4, context_tokens=4096)


def test_the_cpus_weights_are_left_where_copying_them_takes_longer(catalog):
    found = predicted(catalog, "rx 6800 xt", MOE, SHORT, mmap=True)
    lent = predicted(catalog, "rx 6800 xt", MOE, SHORT, mmap=True, op_offload=True)
    assert (found.deployment.op_offload, lent.deployment.op_offload) == (False, True)
    assert found.first_token_s.mid < lent.first_token_s.mid
    assert [row.setting for row in found.settings if row.chosen] == ["micro-batch 512, mapped file, no op offload"]
    assert not any("no op offload" in row.setting for row in lent.settings)


def test_long_prompts_keep_to_the_card_and_its_larger_micro_batch(catalog):
    found = predicted(catalog, "rtx 3060 12GiB", MOE)
    assert found.deployment.op_offload
    left = [row.setting for row in found.settings if "no op offload" in row.setting]
    assert {setting.split(",")[0] for setting in left} == {"micro-batch 512", "micro-batch 2048"}


@pytest.mark.parametrize(("hardware", "model_id"), [("rtx 4090", DENSE), ("m4 max 64GiB", MOE), ("ryzen 9 7950x", MOE)])
def test_op_offload_is_compared_only_where_a_card_could_be_lent_weights(hardware, model_id, catalog):
    found = predicted(catalog, hardware, model_id, SHORT)
    assert not any("no op offload" in row.setting for row in found.settings)


def test_what_is_fixed_is_kept(catalog):
    fixed = {"threads_count": 3, "batch_tokens": 1024, "ubatch_tokens": 256, "flash_attention": False, "mmap": False}
    fixed |= {"op_offload": False}
    found = predicted(catalog, "rtx 4090", DENSE, **fixed)
    assert {name: getattr(found.deployment, name) for name in fixed} == fixed
    assert found.settings == ()


def test_picks_are_tuned_and_keep_to_what_is_fixed(catalog):
    machine = from_hardware(catalog.hardware("rtx 3060 12GiB"), catalog)
    workload = make_workload(Task.CODING)

    def picks(settings):
        request = Request(workload=workload, top_count=5, settings=settings)
        return recommend(catalog, machine, request, created_at="2026-01-01T00:00:00Z", tool_version="0").ranked

    assert any(pick.estimate.settings for pick in picks(LoadSettings()))
    fixed = picks(LoadSettings(ubatch_tokens=256))
    assert {pick.estimate.deployment.ubatch_tokens for pick in fixed} == {256}
    assert all("-ub 256" in pick.command for pick in fixed)


@pytest.mark.parametrize(
    ("fixed", "says"),
    [
        ({"threads_count": 0}, "--threads 0 is out of range"),
        ({"ubatch_tokens": -1}, "--ubatch -1 is out of range"),
        ({"batch_tokens": 512, "ubatch_tokens": 1024}, "give --batch 1024 or more"),
    ],
)
def test_absurd_settings_are_refused_in_one_line(fixed, says):
    with pytest.raises(BadRequestError, match=says):
        LoadSettings(**fixed).check()


def test_a_quantised_cache_without_flash_attention_is_refused(catalog):
    model = catalog.model(DENSE)
    machine = from_hardware(catalog.hardware("rtx 4090"), catalog)
    settings = LoadSettings(flash_attention=False)
    with pytest.raises(BadRequestError, match="needs flash attention"):
        predict(model, [weigh(model, "Q4_K_M")], machine, WORKLOAD, kv_quant_id="q8_0", settings=settings)
