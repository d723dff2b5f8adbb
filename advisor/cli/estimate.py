"""``advisor estimate``: one prediction with its working."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor.cli import _questions, _shared

if TYPE_CHECKING:
    from advisor.cli._subject import Subject
    from advisor.machine import Machine
    from advisor.settings import LoadSettings
    from catalog.load import Catalog
    from catalog.types import ArtifactSpec


@click.command("estimate")
@click.argument("model_text", metavar="MODEL[:QUANT]")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_shared.workload_options
@_shared.setting_options
@_shared.machine_options
@_questions.extreme_options
@_questions.speed_limit_options
@click.option("--explain", is_flag=True, help="Show every term: bytes, flop, seconds, bound and basis.")
@_shared.output_option
@_shared.json_option
@_questions.csv_option
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
    settings: "LoadSettings",
    ask_context: bool,
    ask_users: bool,
    min_tokens_per_s: float | None,
    max_first_token_s: float | None,
    max_memory_bytes: int | None,
    explain: bool,
    output_path: str | None,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Predict one model's speed and memory on this machine, or on --hardware CHIP.

    MODEL is a catalog name such as qwen3-8b, or a .gguf file; QUANT defaults to the best that fits.
    Limits bound --max-context and --max-users; without those, a prediction beyond a limit exits with 3.
    """
    _questions.check_output(as_json=as_json, as_csv=as_csv)
    from advisor.cli._machine import resolve_machine
    from advisor.cli._subject import resolve_subject
    from advisor.predict import kv_quant_ids, predict
    from advisor.recommendation.limits import check_limits
    from advisor.types import Limits
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.console import print_estimate

    limits = Limits(
        min_tokens_per_s=min_tokens_per_s, max_first_token_s=max_first_token_s, max_memory_bytes=max_memory_bytes
    )
    check_limits(limits)
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
        engine_id=engine_id or _usual_engine(subject),
        no_calibrate=no_calibrate,
        quiet=as_json,
    )
    artifacts = _artifacts(catalog, subject, machine)
    if ask_context or ask_users:
        from advisor.recommendation.extremes import Asked, stretched

        result = stretched(
            subject.model,
            artifacts,
            machine,
            workload,
            limits,
            asked=Asked(context=ask_context, users=ask_users),
            kv_quant_ids=(kv_quant_id,) if kv_quant_id else kv_quant_ids(machine.engine_id),
        )
    else:
        result = predict(subject.model, artifacts, machine, workload, kv_quant_id=kv_quant_id, settings=settings)
    _questions.deliver(result, partial(print_estimate, result, explain), output_path, as_json=as_json, as_csv=as_csv)
    return _questions.verdict(result, limits, asked=ask_context or ask_users)


def _usual_engine(subject: "Subject") -> str | None:
    """The engine that the named weights are for, where it is not llama.cpp."""
    from advisor.engines.requirements import LLAMA_CPP, usual_engine

    if subject.artifact is None:
        return None
    found = usual_engine(subject.model, subject.artifact.quant_id, subject.artifact.file_format)
    return None if found == LLAMA_CPP else found


def _artifacts(catalog: "Catalog", subject: "Subject", machine: "Machine") -> "Sequence[ArtifactSpec]":
    """The weights that were named, or those that the machine's engine loads, finest first."""
    from advisor.engines.requirements import LLAMA_CPP, check_loadable, engine_artifacts

    named = subject.artifact
    if named is not None:
        check_loadable(subject.model, named.quant_id, named.file_format, machine.engine_id)
    if named is not None or machine.engine_id == LLAMA_CPP:
        return subject.artifact_choices()
    return engine_artifacts(subject.model, machine, catalog)
