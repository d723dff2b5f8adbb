"""``advisor validate``: load a model, time it, and set the measurement beside the prediction."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advisor.cli import _shared
from advisor.errors import AdvisorError, BadRequestError

if TYPE_CHECKING:
    from advisor.cli._subject import Subject
    from advisor.cli._validation import Request
    from advisor.machine import Machine
    from advisor.settings import LoadSettings
    from advisor.types import Recommendation, Validation, Workload
    from advisor.validation.weights_source import Candidate
    from catalog.load import Catalog
    from catalog.types import ArtifactSpec
    from probes.types import HardwareProfile

EXIT_FAILED, EXIT_OUTSIDE = 1, 3
_JUDGED = ("prefill_tokens_per_s", "decode_tokens_per_s", "first_token_s")


@click.command("validate")
@click.argument("model_texts", metavar="[MODEL[:QUANT]|FILE.gguf]...", nargs=-1)
@click.option("--from", "recommendation_file", metavar="FILE", help="Validate a saved recommendation's picks.")
@click.option("--top", "top_count", type=click.IntRange(1, 100), help="How many of them; 1 unless --budget chooses.")
@click.option("--twin", "force_twin", is_flag=True, help="Use a weightless twin even where the real file is here.")
@click.option("--config", "config_file", metavar="FILE", help="A model by its Hugging Face config.json.")
@click.option("--quant", "quant_text", help="Quantisation for --config.")
@click.option("--endpoint", "endpoint_url", metavar="URL", help="Time a model behind an OpenAI-compatible server.")
@click.option("--model", "served_name", metavar="NAME", help="What the server calls it.")
@click.option(
    "--budget",
    "budget_s",
    type=_shared.DURATION,
    help="Seconds per model (60s); with --from and no --top, for all the runs that settle the ranking.",
)
@click.option("--yes", "download", is_flag=True, help="Download real weights that are not here, without asking.")
@click.option("--quality", is_flag=True, help="Also score how well real weights foretell a text (perplexity).")
@click.option("--text", "text_file", metavar="FILE", help="Your own text for --quality.")
@click.option("--memory-limit", "memory_bytes", type=_shared.BYTES, help="Stop the engine beyond this.")
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_shared.workload_options
@_shared.setting_options
@_shared.machine_options
@_shared.output_option
@_shared.json_option
def command(
    model_texts: tuple[str, ...],
    recommendation_file: str | None,
    top_count: int | None,
    force_twin: bool,
    config_file: str | None,
    quant_text: str | None,
    endpoint_url: str | None,
    served_name: str | None,
    budget_s: float | None,
    download: bool,
    quality: bool,
    text_file: str | None,
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
    settings: "LoadSettings",
    output_path: str | None,
    as_json: bool,
) -> None:
    """Load a model here, time it, and compare with the prediction.

    Real weights are used where the file is on this machine or you agree to download it, else a weightless twin
    of the same shape; a model too large to load is timed by a few of its layers. With --from and --budget 2m
    the runs are chosen that settle the ranking soonest, and it is ranked again. With --endpoint a running
    server is timed instead; its key is read from ADVISOR_API_KEY or OPENAI_API_KEY. Exit code 3: a speed
    outside its interval.
    """
    from advisor.cli._machine import resolve_machine, this_profile
    from advisor.cli._validation import DEFAULT_BUDGET_S, read_request, run_endpoint, run_validations
    from advisor.workloads import make_workload, parse_task
    from catalog.load import load_catalog
    from reports.console import print_validation

    if bool(endpoint_url) != bool(served_name):
        raise BadRequestError("--endpoint and --model go together, e.g. --endpoint http://localhost:8080/v1 --model x")
    names = model_texts or ((served_name,) if served_name and not (recommendation_file or config_file) else ())
    _check(names, recommendation_file, config_file, quant_text, hardware, profile_file)
    if endpoint_url and (recommendation_file or len(names) > 1):
        raise BadRequestError("--endpoint times one model; name it instead of --from")
    if endpoint_url and (download or quality or force_twin):
        raise BadRequestError("--endpoint times what the server runs; leave out --yes, --quality and --twin")
    request = read_request(
        budget_s=budget_s or DEFAULT_BUDGET_S,
        force_twin=force_twin,
        download=download,
        quality=quality,
        text_file=text_file,
        memory_bytes=memory_bytes,
        quiet=as_json,
    )
    catalog = load_catalog()
    workload = make_workload(
        parse_task(task),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
        concurrency_count=concurrency_count,
    )
    machine = resolve_machine(catalog, backend=backend, engine_id=engine_id, no_calibrate=no_calibrate, quiet=as_json)
    profile = this_profile(quiet=as_json)
    if recommendation_file and budget_s and top_count is None:
        proven = _settle(catalog, machine, profile, recommendation_file, request)
        _deliver_settled(proven, as_json=as_json, output_path=output_path)
        raise SystemExit(exit_code(proven.validation))
    candidates = (
        _picks(catalog, recommendation_file, top_count or 1)
        if recommendation_file
        else [
            _candidate(catalog, machine, workload, name, config_file, quant_text, kv_quant_id, settings)
            for name in names or (None,)
        ]
    )
    if endpoint_url and served_name:
        document = run_endpoint(
            candidates[0].estimate,
            endpoint_url,
            served_name,
            machine=machine,
            profile=profile,
            budget_s=request.budget_s,
            quiet=as_json,
        )
    else:
        document = run_validations(candidates, machine=machine, profile=profile, request=request)
    _shared.deliver(document, as_json=as_json, output_path=output_path, show=partial(print_validation, document))
    raise SystemExit(exit_code(document))


def _check(
    names: Sequence[str],
    recommendation_file: str | None,
    config_file: str | None,
    quant_text: str | None,
    hardware: str | None,
    profile_file: str | None,
) -> None:
    if hardware or profile_file:
        raise BadRequestError("validate times models on this machine; leave out --hardware and --profile")
    if sum(bool(given) for given in (names, recommendation_file, config_file)) != 1:
        raise BadRequestError("name what to validate one way: MODEL[:QUANT], FILE.gguf, --from FILE or --config FILE")
    if bool(config_file) != bool(quant_text):
        raise BadRequestError("--config and --quant go together, e.g. --config config.json --quant Q4_K_M")


def _settle(
    catalog: "Catalog", machine: "Machine", profile: "HardwareProfile", path: str, request: "Request"
) -> "Recommendation":
    from advisor.cli._validation import settle_ranking

    return settle_ranking(catalog, _ranking(path), machine=machine, profile=profile, request=request)


def _deliver_settled(proven: "Recommendation", *, as_json: bool, output_path: str | None) -> None:
    from reports.console import print_recommendation

    _shared.deliver(proven, as_json=as_json, output_path=output_path, show=partial(print_recommendation, proven))


def _ranking(path: str) -> "Recommendation":
    from advisor import codec

    recommendation: Recommendation = codec.load(path, kind="recommendation")
    if not recommendation.ranked:
        raise AdvisorError(f"{path} ranks nothing to validate; run advisor recommend with looser limits")
    return recommendation


def _picks(catalog: "Catalog", path: str, count: int) -> "list[Candidate]":
    from advisor.cli._validation import candidate_of_choice

    return [candidate_of_choice(catalog, choice) for choice in _ranking(path).ranked[:count]]


def _candidate(
    catalog: "Catalog",
    machine: "Machine",
    workload: "Workload",
    model_text: str | None,
    config_file: str | None,
    quant_text: str | None,
    kv_quant_id: str | None,
    settings: "LoadSettings",
) -> "Candidate":
    from advisor.cli._subject import Subject, resolve_subject
    from advisor.predict import predict
    from advisor.validation.weights_source import Candidate
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
    estimate = predict(subject.model, choices, machine, workload, kv_quant_id=kv_quant_id, settings=settings)
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


def exit_code(document: "Validation | None") -> int:
    """0: all as predicted, or nothing to run; 1: something could not be measured; 3: a speed outside its interval."""
    from advisor.types import ValidationStatus

    if document is None:
        return 0
    if any(record.status is not ValidationStatus.OK for record in document.records):
        return EXIT_FAILED
    outside = any(record.within_interval.get(metric) is False for record in document.records for metric in _JUDGED)
    return EXIT_OUTSIDE if outside else 0
