"""``advisor validate``: load a model, time it, and set the measurement beside the prediction."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError, BadRequestError

if TYPE_CHECKING:
    from advisor.cli._subject import Subject
    from advisor.machine import Machine
    from advisor.types import Validation, Workload
    from advisor.weights_source import Candidate
    from catalog.load import Catalog
    from catalog.types import ArtifactSpec

EXIT_FAILED, EXIT_OUTSIDE = 1, 3
_JUDGED = ("prefill_tokens_per_s", "decode_tokens_per_s", "first_token_s")


@click.command("validate")
@click.argument("model_text", metavar="[MODEL[:QUANT]|FILE.gguf]", required=False)
@click.option("--from", "recommendation_file", metavar="FILE", help="Validate a saved recommendation's picks.")
@click.option("--top", "top_count", type=click.IntRange(1, 100), default=1, show_default=True, help="How many of them.")
@click.option("--twin", "force_twin", is_flag=True, help="Use a weightless twin even where the real file is here.")
@click.option("--config", "config_file", metavar="FILE", help="A model by its Hugging Face config.json.")
@click.option("--quant", "quant_text", help="Quantisation for --config.")
@click.option("--endpoint", "endpoint_url", metavar="URL", help="Time a model behind an OpenAI-compatible server.")
@click.option("--model", "served_name", metavar="NAME", help="What the server calls it.")
@click.option("--budget", "budget_s", type=_shared.DURATION, default="60s", show_default=True, help="Per model.")
@click.option("--memory-limit", "memory_bytes", type=_shared.BYTES, help="Stop the engine beyond this.")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_shared.workload_options
@_shared.machine_options
@_shared.output_option
@_shared.json_option
def command(
    model_text: str | None,
    recommendation_file: str | None,
    top_count: int,
    force_twin: bool,
    config_file: str | None,
    quant_text: str | None,
    endpoint_url: str | None,
    served_name: str | None,
    budget_s: float,
    memory_bytes: int | None,
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
    output_path: str | None,
    as_json: bool,
) -> None:
    """Load a model here, time it, and compare with the prediction.

    Real weights are used where the file is on this machine, else a weightless twin of the same shape; a
    model too large to load is timed by a few of its layers. With --endpoint a running server is timed
    instead; its key is read from ADVISOR_API_KEY or OPENAI_API_KEY. Exit code 3: a speed outside its interval.
    """
    from advisor.cli._machine import resolve_machine, this_profile
    from advisor.cli._validation import run_endpoint, run_validations
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.console import print_validation

    if bool(endpoint_url) != bool(served_name):
        raise BadRequestError("--endpoint and --model go together, e.g. --endpoint http://localhost:8080/v1 --model x")
    model_text = model_text or (served_name if not (recommendation_file or config_file) else None)
    _check(model_text, recommendation_file, config_file, quant_text, hardware, profile_file)
    if endpoint_url and recommendation_file:
        raise BadRequestError("--endpoint times one model; name it instead of --from")
    catalog = load_catalog()
    workload = make_workload(
        parse_task(task),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
    )
    machine = resolve_machine(catalog, backend=backend, engine_id=engine_id, no_calibrate=no_calibrate, quiet=as_json)
    candidates = (
        _picks(catalog, recommendation_file, top_count)
        if recommendation_file
        else [_candidate(catalog, machine, workload, model_text, config_file, quant_text, kv_quant_id)]
    )
    profile = this_profile(quiet=as_json)
    if endpoint_url and served_name:
        document = run_endpoint(
            candidates[0].estimate,
            endpoint_url,
            served_name,
            machine=machine,
            profile=profile,
            budget_s=budget_s,
            quiet=as_json,
        )
    else:
        document = run_validations(
            candidates,
            machine=machine,
            profile=profile,
            budget_s=budget_s,
            force_twin=force_twin,
            memory_bytes=memory_bytes,
            quiet=as_json,
        )
    _shared.deliver(document, as_json=as_json, output_path=output_path, show=partial(print_validation, document))
    raise SystemExit(exit_code(document))


def _check(
    model_text: str | None,
    recommendation_file: str | None,
    config_file: str | None,
    quant_text: str | None,
    hardware: str | None,
    profile_file: str | None,
) -> None:
    if hardware or profile_file:
        raise BadRequestError("validate times models on this machine; leave out --hardware and --profile")
    if sum(bool(given) for given in (model_text, recommendation_file, config_file)) != 1:
        raise BadRequestError("name one thing to validate: MODEL[:QUANT], FILE.gguf, --from FILE or --config FILE")
    if bool(config_file) != bool(quant_text):
        raise BadRequestError("--config and --quant go together, e.g. --config config.json --quant Q4_K_M")


def _picks(catalog: "Catalog", path: str, count: int) -> "list[Candidate]":
    from advisor import codec
    from advisor.cli._validation import candidate_of_choice
    from advisor.types import Recommendation

    recommendation: Recommendation = codec.load(path, kind="recommendation")
    if not recommendation.ranked:
        raise AdvisorError(f"{path} ranks nothing to validate; run advisor recommend with looser limits")
    return [candidate_of_choice(catalog, choice) for choice in recommendation.ranked[:count]]


def _candidate(
    catalog: "Catalog",
    machine: "Machine",
    workload: "Workload",
    model_text: str | None,
    config_file: str | None,
    quant_text: str | None,
    kv_quant_id: str | None,
) -> "Candidate":
    from advisor.cli._subject import Subject, resolve_subject
    from advisor.predict import predict
    from advisor.weights_source import Candidate
    from catalog.hf import read_config
    from catalog.weights import weigh

    if config_file is not None:
        if not Path(config_file).exists():
            raise AdvisorError(f"{config_file}: no such file; give the path of a config.json")
        model = read_config(config_file)
        subject = Subject(model=model, artifact=weigh(model, catalog.quant(quant_text or "").quant_id))
    else:
        subject = resolve_subject(catalog, model_text or "")
    here = () if subject.path else _local_artifacts(catalog, subject)
    wanted = {artifact.quant_id for artifact in subject.artifact_choices()}
    choices = tuple(artifact for artifact in here if artifact.quant_id in wanted) or subject.artifact_choices()
    estimate = predict(subject.model, choices, machine, workload, kv_quant_id=kv_quant_id)
    artifact = next(artifact for artifact in choices if artifact.quant_id == estimate.quant_id)
    path = subject.path or artifact.local_path
    return Candidate(estimate=estimate, model=subject.model, artifact=artifact, local_path=path)


def _local_artifacts(catalog: "Catalog", subject: "Subject") -> "tuple[ArtifactSpec, ...]":
    """The model's GGUF files that are on this machine."""
    from catalog.local import find_local_models

    return tuple(
        replace(found.artifact, local_path=found.path)
        for found in find_local_models(catalog)
        if found.model_id == subject.model.model_id and found.path.lower().endswith(".gguf")
    )


def exit_code(document: "Validation") -> int:
    """0: all as predicted; 1: something could not be measured; 3: a speed outside its interval."""
    from advisor.types import ValidationStatus

    if any(record.status is not ValidationStatus.OK for record in document.records):
        return EXIT_FAILED
    outside = any(record.within_interval.get(metric) is False for record in document.records for metric in _JUDGED)
    return EXIT_OUTSIDE if outside else 0
