"""``advisor plan``: the machines that run a model, how well, and at what price."""

from functools import partial

import click

from advisor import __version__
from advisor.cli import _shared


@click.command("plan")
@click.argument("model_text", metavar="MODEL[:QUANT]")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_shared.workload_options
@_shared.limit_options
@click.option(
    "--electricity", "electricity_usd_per_kwh", type=float, default=0.30, show_default=True, help="USD per kWh."
)
@click.option("--busy", "busy_frac", type=click.FloatRange(0.001, 1.0), default=0.10, show_default=True,
              help="Share of the time it works, for the cost per token.")  # fmt: skip
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
    electricity_usd_per_kwh: float,
    busy_frac: float,
    output_path: str | None,
    as_json: bool,
) -> None:
    """List the chips that run MODEL within the limits, cheapest first, with speed and running cost.

    Speeds are from data sheets and carry their intervals. Without a limit, 8 tokens per second are asked for.
    """
    del kv_quant_id, min_quality, licenses  # they do not depend on the machine
    from advisor.cli._subject import resolve_subject
    from advisor.clock import utc_now
    from advisor.plan import Costs, plan
    from advisor.types import Limits
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.shopping import print_plan

    catalog = load_catalog()
    subject = resolve_subject(catalog, model_text)
    limits = Limits(
        min_tokens_per_s=8.0 if min_tokens_per_s is None else min_tokens_per_s,
        max_first_token_s=max_first_token_s,
        max_memory_bytes=max_memory_bytes,
    )
    workload = make_workload(
        parse_task(task),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
    )
    result = plan(
        catalog,
        subject.model,
        subject.artifact_choices(),
        workload,
        limits=limits,
        costs=Costs(electricity_usd_per_kwh=electricity_usd_per_kwh, busy_frac=busy_frac),
        created_at=utc_now(),
        tool_version=__version__,
    )
    _shared.deliver(result, as_json=as_json, output_path=output_path, show=partial(print_plan, result))
