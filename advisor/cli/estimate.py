"""``advisor estimate``: one prediction with its working."""

from functools import partial

import click

from advisor.cli import _shared


@click.command("estimate")
@click.argument("model_text", metavar="MODEL[:QUANT]")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_shared.workload_options
@_shared.machine_options
@click.option("--explain", is_flag=True, help="Show every term: bytes, flop, seconds, bound and basis.")
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
    profile_file: str | None,
    hardware: str | None,
    backend: str | None,
    engine_id: str | None,
    no_calibrate: bool,
    explain: bool,
    output_path: str | None,
    as_json: bool,
) -> None:
    """Predict one model's speed and memory on this machine, or on --hardware CHIP.

    MODEL is a catalog name such as qwen3-8b, or a .gguf file; QUANT defaults to the best that fits.
    """
    from advisor.cli._machine import resolve_machine
    from advisor.cli._subject import resolve_subject
    from advisor.predict import predict
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.console import print_estimate

    catalog = load_catalog()
    workload = make_workload(
        parse_task(task),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
    )
    subject = resolve_subject(catalog, model_text)
    machine = resolve_machine(
        catalog,
        profile_file=profile_file,
        hardware=hardware,
        backend=backend,
        engine_id=engine_id,
        no_calibrate=no_calibrate,
        quiet=as_json,
    )
    result = predict(subject.model, subject.artifact_choices(), machine, workload, kv_quant_id=kv_quant_id)
    _shared.deliver(result, as_json=as_json, output_path=output_path, show=partial(print_estimate, result, explain))
