"""``advisor plan``: the machines that run a model, how well, and at what price; and what to add to one's own."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor import __version__
from advisor.cli import _options, _shared
from advisor.errors import NothingFitsError

if TYPE_CHECKING:
    from advisor.cli._options import Demand, Output, Where
    from advisor.purchase.costs import Costs
    from advisor.purchase.plan import Question
    from advisor.purchase.upgrades import Base
    from advisor.settings import LoadSettings
    from advisor.types import Limits, Plan, Workload
    from catalog.load import Catalog

#: Asked for where no limit is given: as fast as people read.
_DEFAULT_MIN_TOKENS_PER_S = 8.0


@click.command("plan")
@click.argument("model_text", metavar="MODEL[:QUANT]")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_options.workload_options
@_options.setting_options
@_options.limit_options
@_options.machine_options
@_options.cost_options
@_options.document_options
def command(
    model_text: str,
    task: str,
    demand: "Demand",
    settings: "LoadSettings",
    limits: "Limits",
    where: "Where",
    costs: "Costs",
    output: "Output",
) -> None:
    """List the chips that run MODEL within the limits, cheapest first, with speed and running cost.

    Gaming cards, unified-memory computers, Macs and rented chips are always among them. Speeds are from data
    sheets and carry their intervals. Without a limit, 8 tokens per second are asked for. Upgrades are worked
    out for this machine once it was scanned, or for --hardware CHIP.
    """
    from catalog.load import load_catalog
    from reports.shopping import print_plan

    _options.check_many_machines(settings)
    if limits.min_tokens_per_s is None:
        limits = replace(limits, min_tokens_per_s=_DEFAULT_MIN_TOKENS_PER_S)
    workload = demand.workload(task)
    catalog = load_catalog()
    question = make_question(
        catalog,
        model_text,
        workload,
        limits,
        kv_quant_id=demand.kv_quant_id,
        engine_id=where.engine_id,
        settings=settings,
    )
    unsuited = _unsuited(catalog, where)
    base = None if unsuited else _base(catalog, where, quiet=output.quiet)
    made = _planned(catalog, question, costs, output)
    if unsuited is not None:
        made = replace(made, base=unsuited[0], base_reason=unsuited[1])
    result = made if base is None else _with_upgrades(catalog, question, made, base)
    output.deliver(result, partial(print_plan, result))


def _planned(catalog: "Catalog", question: "Question", costs: "Costs", output: "Output") -> "Plan":
    """The machines; where there is none, what each lacks goes to whoever asked for the document."""
    from advisor.clock import utc_now
    from advisor.purchase.plan import plan
    from advisor.types import Plan
    from reports.shopping import print_plan

    stamp = {"created_at": utc_now(), "tool_version": __version__}
    try:
        with _shared.Progress("trying every chip", quiet=output.quiet) as progress:
            return plan(catalog, question, costs=costs, on_progress=progress.update, **stamp)
    except NothingFitsError as error:
        if isinstance(error.document, Plan) and output.wants_document:
            output.deliver(error.document, partial(print_plan, error.document))
        raise


def make_question(
    catalog: "Catalog",
    model_text: str,
    workload: "Workload",
    limits: "Limits",
    *,
    kv_quant_id: str | None,
    engine_id: str | None,
    settings: "LoadSettings",
) -> "Question":
    """The model, or its named weights, with the engine that loads them."""
    from advisor.cli._subject import resolve_subject
    from advisor.engines.requirements import LLAMA_CPP, check_engine, check_loadable, usual_engine
    from advisor.purchase.plan import Question

    subject = resolve_subject(catalog, model_text, engine_id)
    named = subject.artifact
    engine = engine_id or (usual_engine(named.quant_id, named.file_format) if named else LLAMA_CPP)
    check_engine(engine)
    _options.check_settings(settings, engine)
    if named is not None:
        check_loadable(subject.model, named.quant_id, named.file_format, engine)
    return Question(
        model=subject.model,
        artifact=named,
        limits=limits,
        kv_quant_id=kv_quant_id,
        engine_id=engine,
        workload=workload,
        settings=settings,
    )


def _unsuited(catalog: "Catalog", where: "Where") -> tuple[str, str] | None:
    """This machine and why the engine that is asked for cannot run on it; a plan is about others all the same."""
    from advisor import store
    from advisor.engines.requirements import NAMES, check_engine, platform_of, waiver
    from advisor.machines import from_profile

    if where.engine_id is None or where.elsewhere:
        return None
    check_engine(where.engine_id)
    profile = store.load_profile()
    if profile is None:
        return None
    machine = from_profile(profile, None, catalog, backend=where.backend)
    reason = waiver(where.engine_id, platform_of(machine, catalog, os_name=profile.host.os))
    return None if reason is None else (machine.name, f"{NAMES[where.engine_id]} cannot run on it: {reason}")


def _base(catalog: "Catalog", where: "Where", *, quiet: bool) -> "Base | None":
    """The machine to upgrade: the one that is named, or this one if it was ever scanned."""
    from advisor import codec, store
    from advisor.purchase.upgrades import Base

    profile = codec.load(where.profile_file, kind="profile") if where.profile_file else None
    if not where.elsewhere:
        profile = store.load_profile()
        if profile is None:
            return None
        where = replace(
            where, no_calibrate=True
        )  # a plan is about other machines: it does not start to measure this one
    machine = where.machine(catalog, quiet=quiet)
    return Base(
        machine=machine,
        spec=catalog.hardware(where.hardware) if where.hardware else None,
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
