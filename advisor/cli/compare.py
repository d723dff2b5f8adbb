"""``advisor compare``: machines side by side, this one included."""

from functools import partial

import click

from advisor import __version__
from advisor.cli import _shared


@click.command("compare")
@click.argument("chips", nargs=-1, required=True, metavar="CHIP...")
@click.option("--task", help="Compare the best picks for a task.")
@click.option("--model", "model_text", metavar="MODEL[:QUANT]", help="Compare the speed of one model.")
@_shared.workload_options
@_shared.limit_options
@click.option("--no-calibrate", is_flag=True, help="Do not measure the engine here; use what is known.")
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
    no_calibrate: bool,
    output_path: str | None,
    as_json: bool,
) -> None:
    """Compare CHIPs ("rtx 5090", "m4 max 64GiB", "rtx 3090*2") with each other and with this machine ("here")."""
    del kv_quant_id
    from dataclasses import replace

    from advisor.cli._machine import resolve_machine
    from advisor.cli._subject import resolve_subject
    from advisor.clock import utc_now
    from advisor.compare import compare_for_model, compare_for_task
    from advisor.types import Limits
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.shopping import print_machine_comparison

    catalog = load_catalog()
    limits = Limits(
        min_tokens_per_s=min_tokens_per_s,
        max_first_token_s=max_first_token_s,
        min_quality=min_quality,
        max_memory_bytes=max_memory_bytes,
        licenses=licenses,
    )
    workload = make_workload(
        parse_task(task or "general"),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
    )
    others = [resolve_machine(catalog, hardware=chip) for chip in chips if chip != "here"]
    here = resolve_machine(catalog, no_calibrate=no_calibrate, quiet=as_json)
    machines = [replace(here, name=f"here: {here.name}"), *others]
    stamp = {"created_at": utc_now(), "tool_version": __version__}
    if model_text is not None:
        subject = resolve_subject(catalog, model_text)
        result = compare_for_model(
            subject.model, subject.artifact_choices(), machines, workload, limits=limits, **stamp
        )
    else:
        result = compare_for_task(catalog, machines, workload, limits=limits, **stamp)
    _shared.deliver(result, as_json=as_json, output_path=output_path, show=partial(print_machine_comparison, result))
