"""``advisor compare``: machines side by side, this one included."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor import __version__
from advisor.cli import _options
from advisor.errors import NothingFitsError

if TYPE_CHECKING:
    from advisor.cli._options import Demand, Output
    from advisor.machine import Machine
    from advisor.purchase.compare import Candidate
    from advisor.purchase.costs import Costs
    from advisor.settings import LoadSettings
    from advisor.types import Limits
    from catalog.chips import HardwareSpec
    from catalog.load import Catalog


@click.command("compare")
@click.argument("chips", nargs=-1, required=True, metavar="CHIP...")
@click.option("--task", help="Compare the best picks for a task.")
@click.option("--model", "model_text", metavar="MODEL[:QUANT]", help="Compare the speed of one model.")
@_options.workload_options
@_options.setting_options
@_options.limit_options
@click.option("--engine", "engine_id", help="llama.cpp, vllm, mlx, tensorrt-llm or ollama, on every machine.")
@click.option("--no-calibrate", is_flag=True, help="Do not measure the engine here; use what is known.")
@_options.cost_options
@_options.document_options
def command(
    chips: tuple[str, ...],
    task: str | None,
    model_text: str | None,
    demand: "Demand",
    settings: "LoadSettings",
    limits: "Limits",
    engine_id: str | None,
    no_calibrate: bool,
    costs: "Costs",
    output: "Output",
) -> None:
    """Compare CHIPs ("rtx 5090", "m4 max 64GiB", "rtx 3090*2") with each other and with this machine ("here").

    Each machine with its best picks for --task, or with the speed of one --model; prices and running costs beside.
    """
    from advisor.clock import utc_now
    from advisor.purchase.compare import compare_for_model, compare_for_task
    from catalog.load import load_catalog
    from reports.shopping import print_machine_comparison

    _options.check_many_machines(settings)
    _options.check_settings(settings, engine_id)
    workload = demand.workload(task or "general")
    kv_quant_id = demand.kv_quant_id
    catalog = load_catalog()
    for chip in chips:
        if chip != "here":
            catalog.hardware(chip)  # a name that is wrong is found before anything is measured
    question = None
    if model_text is not None:
        from advisor.cli.plan import make_question

        question = make_question(
            catalog, model_text, workload, limits, kv_quant_id=kv_quant_id, engine_id=engine_id, settings=settings
        )
    machines = _machines(
        catalog, chips, question.engine_id if question else engine_id, no_calibrate=no_calibrate, quiet=output.quiet
    )
    stamp = {"created_at": utc_now(), "tool_version": __version__}
    if question is not None:
        result = compare_for_model(catalog, question, machines, costs=costs, **stamp)
    else:
        result = compare_for_task(
            catalog,
            machines,
            workload,
            limits=limits,
            costs=costs,
            kv_quant_id=kv_quant_id,
            settings=settings,
            **stamp,
        )
    output.deliver(result, partial(print_machine_comparison, result))
    if not any(column.picks or column.estimate for column in result.machines):
        raise NothingFitsError("no machine of these has an answer; the reason of each stands beside it")


def _machines(
    catalog: "Catalog", chips: tuple[str, ...], engine_id: str | None, *, no_calibrate: bool, quiet: bool
) -> "list[Candidate]":
    """This machine, and each that was named."""
    from advisor.cli._machine import resolve_machine

    here = resolve_machine(catalog, no_calibrate=no_calibrate, quiet=quiet)
    there = [
        _candidate(catalog, resolve_machine(catalog, hardware=chip), catalog.hardware(chip), engine_id)
        for chip in chips
        if chip != "here"
    ]
    return [_candidate(catalog, replace(here, name=f"here: {here.name}"), None, engine_id), *there]


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
