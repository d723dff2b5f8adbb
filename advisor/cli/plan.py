"""``advisor plan``: the machines that run a model, how well, and at what price; and what to add to one's own."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor import __version__
from advisor.cli import _shared

if TYPE_CHECKING:
    from advisor.purchase.plan import Question
    from advisor.purchase.upgrades import Base
    from advisor.types import Limits, Plan, Workload
    from catalog.load import Catalog

#: Asked for where no limit is given: as fast as people read.
_DEFAULT_MIN_TOKENS_PER_S = 8.0


@click.command("plan")
@click.argument("model_text", metavar="MODEL[:QUANT]")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_shared.workload_options
@_shared.limit_options
@_shared.machine_options
@_shared.cost_options
@_shared.output_option
@_shared.json_option
def command(
    model_text: str,
    task: str,
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
    profile_file: str | None,
    hardware: str | None,
    backend: str | None,
    engine_id: str | None,
    no_calibrate: bool,
    electricity_usd_per_kwh: float,
    busy_frac: float,
    pc_usd: float,
    output_path: str | None,
    as_json: bool,
) -> None:
    """List the chips that run MODEL within the limits, cheapest first, with speed and running cost.

    Gaming cards, unified-memory computers, Macs and rented chips are always among them. Speeds are from data
    sheets and carry their intervals. Without a limit, 8 tokens per second are asked for. Upgrades are worked
    out for this machine once it was scanned, or for --hardware CHIP.
    """
    from advisor.clock import utc_now
    from advisor.purchase.costs import Costs, check_costs
    from advisor.purchase.plan import plan
    from advisor.recommendation.limits import check_limits
    from advisor.types import Limits
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.shopping import print_plan

    costs = Costs(electricity_usd_per_kwh=electricity_usd_per_kwh, busy_frac=busy_frac, pc_usd=pc_usd)
    check_costs(costs)
    limits = Limits(
        min_tokens_per_s=_DEFAULT_MIN_TOKENS_PER_S if min_tokens_per_s is None else min_tokens_per_s,
        max_first_token_s=max_first_token_s,
        min_quality=min_quality,
        max_memory_bytes=max_memory_bytes,
        licenses=licenses,
    )
    check_limits(limits)
    workload = make_workload(
        parse_task(task),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
    )
    catalog = load_catalog()
    question = make_question(catalog, model_text, workload, limits, kv_quant_id=kv_quant_id, engine_id=engine_id)
    base = _base(catalog, profile_file, hardware, backend, engine_id, no_calibrate=no_calibrate, quiet=as_json)
    with _shared.Progress("trying every chip", quiet=as_json) as progress:
        made = plan(
            catalog,
            question,
            costs=costs,
            created_at=utc_now(),
            tool_version=__version__,
            on_progress=progress.update,
        )
    result = made if base is None else _with_upgrades(catalog, question, made, base)
    _shared.deliver(result, as_json=as_json, output_path=output_path, show=partial(print_plan, result))


def make_question(
    catalog: "Catalog",
    model_text: str,
    workload: "Workload",
    limits: "Limits",
    *,
    kv_quant_id: str | None,
    engine_id: str | None,
) -> "Question":
    """The model, or its named weights, with the engine that loads them."""
    from advisor.cli._subject import resolve_subject
    from advisor.engines.requirements import LLAMA_CPP, check_engine, check_loadable, usual_engine
    from advisor.purchase.plan import Question

    subject = resolve_subject(catalog, model_text)
    named = subject.artifact
    engine = engine_id or (usual_engine(subject.model, named.quant_id, named.file_format) if named else LLAMA_CPP)
    check_engine(engine)
    if named is not None:
        check_loadable(subject.model, named.quant_id, named.file_format, engine)
    return Question(
        model=subject.model,
        artifact=named,
        limits=limits,
        kv_quant_id=kv_quant_id,
        engine_id=engine,
        workload=workload,
    )


def _base(
    catalog: "Catalog",
    profile_file: str | None,
    hardware: str | None,
    backend: str | None,
    engine_id: str | None,
    *,
    no_calibrate: bool,
    quiet: bool,
) -> "Base | None":
    """The machine to upgrade: the one that is named, or this one if it was ever scanned."""
    from advisor import codec, store
    from advisor.cli._machine import resolve_machine
    from advisor.purchase.upgrades import Base

    profile = codec.load(profile_file, kind="profile") if profile_file else None
    if not (profile_file or hardware):
        profile = store.load_profile()
        if profile is None:
            return None
        no_calibrate = True  # a plan is about other machines: it does not start to measure this one
    machine = resolve_machine(
        catalog,
        profile_file=profile_file,
        hardware=hardware,
        backend=backend,
        engine_id=engine_id,
        no_calibrate=no_calibrate,
        quiet=quiet,
    )
    return Base(
        machine=machine,
        spec=catalog.hardware(hardware) if hardware else None,
        channels_count=profile.host.memory_channels_count if profile else None,
    )


def _with_upgrades(catalog: "Catalog", question: "Question", made: "Plan", base: "Base") -> "Plan":
    from advisor.purchase.plan import best_setting
    from advisor.purchase.upgrades import top_pick, upgrades
    from advisor.types import Estimate

    found = best_setting(catalog, question, base.machine)
    here = found if isinstance(found, Estimate) else None
    return replace(
        made,
        here=here,
        base=base.machine.name,
        base_reason=None if isinstance(found, Estimate) else found.reason,
        base_top=top_pick(catalog, question, base.machine),
        upgrades=upgrades(catalog, question, base, here),
    )
