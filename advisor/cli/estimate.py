"""``advisor estimate``: one prediction with its working."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor.cli import _options, _questions

if TYPE_CHECKING:
    from advisor.cli._options import Demand, Output, Where
    from advisor.cli._subject import Subject
    from advisor.machine import Machine
    from advisor.recommendation.extremes import Asked
    from advisor.settings import LoadSettings
    from advisor.types import Estimate, Limits
    from catalog.load import Catalog
    from catalog.types import ArtifactSpec


@click.command("estimate")
@click.argument("model_text", metavar="MODEL[:QUANT]")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_options.workload_options
@_options.setting_options
@_options.machine_options
@_questions.extreme_options
@_options.speed_limit_options
@click.option("--explain", is_flag=True, help="Show every term: bytes, flop, seconds, bound and basis.")
@_options.table_options
def command(
    model_text: str,
    task: str,
    demand: "Demand",
    settings: "LoadSettings",
    where: "Where",
    extremes: "Asked",
    limits: "Limits",
    explain: bool,
    output: "Output",
) -> int:
    """Predict one model's speed and memory on this machine, or on --hardware CHIP.

    MODEL is a catalog name such as qwen3-8b, or a .gguf file; QUANT defaults to the best that fits.
    Limits bound --max-context and --max-users; without those, a prediction beyond a limit exits with 3.
    """
    from advisor.candidates import kv_quant_ids
    from advisor.cli._subject import resolve_subject
    from advisor.predict import predict
    from catalog.load import load_catalog
    from reports.console import print_estimate

    catalog = load_catalog()
    workload = demand.workload(task)
    subject = resolve_subject(catalog, model_text, where.engine_id)
    where = replace(where, engine_id=where.engine_id or _usual_engine(subject))
    _options.check_settings(settings, where.engine_id)
    machine = where.machine(catalog, quiet=output.quiet)
    artifacts = _artifacts(catalog, subject, machine)
    kv_quant_id = demand.kv_quant_id
    if extremes.anything:
        from advisor.recommendation.extremes import stretched

        result = stretched(
            subject.model,
            artifacts,
            machine,
            workload,
            limits,
            asked=extremes,
            kv_quant_ids=(kv_quant_id,) if kv_quant_id else kv_quant_ids(machine.engine_id),
            settings=settings,
        )
    else:
        result = predict(subject.model, artifacts, machine, workload, kv_quant_id=kv_quant_id, settings=settings)
    result = _with_users(result, subject, artifacts, machine, limits)
    output.deliver(result, partial(print_estimate, result, explain))
    return _questions.verdict(result, limits, asked=extremes.anything)


def _with_users(
    made: "Estimate", subject: "Subject", artifacts: "Sequence[ArtifactSpec]", machine: "Machine", limits: "Limits"
) -> "Estimate":
    """The prediction with what several users get, where they were asked about."""
    from advisor.concurrency import with_concurrency
    from advisor.recommendation.shortage import limited_memory

    artifact = next(each for each in artifacts if each.quant_id == made.quant_id)
    return with_concurrency(made, subject.model, artifact, machine, limited_memory(machine, limits))


def _usual_engine(subject: "Subject") -> str | None:
    """The engine that the named weights are for, where it is not llama.cpp."""
    from advisor.engines.requirements import LLAMA_CPP, usual_engine

    if subject.artifact is None:
        return None
    found = usual_engine(subject.artifact.quant_id, subject.artifact.file_format)
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
