"""``advisor compare``: machines side by side, this one included."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor import __version__
from advisor.cli import _shared

if TYPE_CHECKING:
    from advisor.machine import Machine
    from advisor.purchase.compare import Candidate
    from catalog.chips import HardwareSpec
    from catalog.load import Catalog


@click.command("compare")
@click.argument("chips", nargs=-1, required=True, metavar="CHIP...")
@click.option("--task", help="Compare the best picks for a task.")
@click.option("--model", "model_text", metavar="MODEL[:QUANT]", help="Compare the speed of one model.")
@_shared.workload_options
@_shared.limit_options
@click.option("--engine", "engine_id", help="llama.cpp, vllm, mlx, tensorrt-llm or ollama, on every machine.")
@click.option("--no-calibrate", is_flag=True, help="Do not measure the engine here; use what is known.")
@_shared.cost_options
@_shared.output_option
@_shared.json_option
def command(
    chips: tuple[str, ...],
    task: str | None,
    model_text: str | None,
    prompt_tokens: int | None,
    output_tokens: int | None,
    context_tokens: int | None,
    concurrency_count: int | None,
    kv_quant_id: str | None,
    min_tokens_per_s: float | None,
    max_first_token_s: float | None,
    min_quality: float | None,
    max_memory_bytes: int | None,
    licenses: tuple[str, ...],
    engine_id: str | None,
    no_calibrate: bool,
    electricity_usd_per_kwh: float,
    busy_frac: float,
    pc_usd: float,
    output_path: str | None,
    as_json: bool,
) -> None:
    """Compare CHIPs ("rtx 5090", "m4 max 64GiB", "rtx 3090*2") with each other and with this machine ("here").

    Each machine with its best picks for --task, or with the speed of one --model; prices and running costs beside.
    """
    from advisor.cli._machine import resolve_machine
    from advisor.clock import utc_now
    from advisor.purchase.compare import compare_for_model, compare_for_task
    from advisor.purchase.costs import Costs, check_costs
    from advisor.recommendation.limits import check_limits
    from advisor.types import Limits
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.shopping import print_machine_comparison

    costs = Costs(electricity_usd_per_kwh=electricity_usd_per_kwh, busy_frac=busy_frac, pc_usd=pc_usd)
    check_costs(costs)
    limits = Limits(
        min_tokens_per_s=min_tokens_per_s,
        max_first_token_s=max_first_token_s,
        min_quality=min_quality,
        max_memory_bytes=max_memory_bytes,
        licenses=licenses,
    )
    check_limits(limits)
    workload = make_workload(
        parse_task(task or "general"),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
    )
    catalog = load_catalog()
    for chip in chips:
        if chip != "here":
            catalog.hardware(chip)  # a name that is wrong is found before anything is measured
    question = None
    if model_text is not None:
        from advisor.cli.plan import make_question

        question = make_question(catalog, model_text, workload, limits, kv_quant_id=kv_quant_id, engine_id=engine_id)
    engine = question.engine_id if question else engine_id
    here = resolve_machine(catalog, no_calibrate=no_calibrate, quiet=as_json)
    machines = [
        _candidate(catalog, replace(here, name=f"here: {here.name}"), None, engine),
        *(
            _candidate(catalog, resolve_machine(catalog, hardware=chip), catalog.hardware(chip), engine)
            for chip in chips
            if chip != "here"
        ),
    ]
    stamp = {"created_at": utc_now(), "tool_version": __version__}
    if question is not None:
        result = compare_for_model(catalog, question, machines, costs=costs, **stamp)
    else:
        result = compare_for_task(
            catalog, machines, workload, limits=limits, costs=costs, kv_quant_id=kv_quant_id, **stamp
        )
    _shared.deliver(result, as_json=as_json, output_path=output_path, show=partial(print_machine_comparison, result))


def _candidate(
    catalog: "Catalog", machine: "Machine", spec: "HardwareSpec | None", engine_id: str | None
) -> "Candidate":
    """A machine as the engine would use it, or with the reason why it cannot."""
    from advisor.engines.requirements import NAMES, check_engine, platform_of, waiver, with_engine
    from advisor.purchase.compare import Candidate
    from advisor.purchase.machine_classes import sized_name

    if spec is not None:
        machine = replace(machine, name=sized_name(machine.name, spec.chip))
    if engine_id is None:
        return Candidate(machine=machine, spec=spec)
    check_engine(engine_id)
    platform = platform_of(machine, catalog)
    reason = waiver(engine_id, platform)
    if reason is not None:
        return Candidate(machine=machine, spec=spec, waiver=f"{NAMES[engine_id]} cannot run there: {reason}")
    return Candidate(machine=with_engine(machine, engine_id, platform), spec=spec)
