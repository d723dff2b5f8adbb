"""``advisor validate``: load a model, time it, and set the measurement beside the prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from advisor.cli import _options, _shared
from advisor.errors import AdvisorError, BadRequestError

if TYPE_CHECKING:
    from advisor.cli._options import Demand, Output, Where
    from advisor.cli._subject import Subject
    from advisor.cli._validation import Request
    from advisor.machine import Machine
    from advisor.settings import LoadSettings
    from advisor.types import Recommendation, Validation, Workload
    from advisor.validation.weights_source import Candidate
    from catalog.load import Catalog
    from catalog.types import ArtifactSpec, ModelSpec
    from probes.types import HardwareProfile

EXIT_FAILED, EXIT_OUTSIDE = 1, 3
_JUDGED = ("prefill_tokens_per_s", "decode_tokens_per_s", "first_token_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """What is to be timed: models by name, a recommendation's picks, a configuration, or a server."""

    recommendation_file: str | None
    top_count: int | None
    config_file: str | None
    quant_text: str | None
    endpoint_url: str | None
    served_name: str | None

    def names(self, model_texts: tuple[str, ...]) -> tuple[str, ...]:
        """The models that were named; a server's is called what the server calls it."""
        if model_texts or self.served_name is None or self.recommendation_file or self.config_file:
            return model_texts
        return (self.served_name,)

    def check(self, names: Sequence[str]) -> None:
        """Refuse what names nothing, or two things.

        Raises:
            BadRequestError: naming the option to add or leave out.
        """
        if bool(self.endpoint_url) != bool(self.served_name):
            raise BadRequestError(
                "--endpoint and --model go together, e.g. --endpoint http://localhost:8080/v1 --model x"
            )
        if sum(bool(given) for given in (names, self.recommendation_file, self.config_file)) != 1:
            raise BadRequestError(
                "name what to validate one way: MODEL[:QUANT], FILE.gguf, --from FILE or --config FILE"
            )
        if bool(self.config_file) != bool(self.quant_text):
            raise BadRequestError("--config and --quant go together, e.g. --config config.json --quant Q4_K_M")
        if self.endpoint_url and (self.recommendation_file or len(names) > 1):
            raise BadRequestError("--endpoint times one model; name it instead of --from")
        if self.top_count is not None and not self.recommendation_file:
            raise BadRequestError("--top counts the picks of a recommendation; give it with --from FILE")

    def look(self, catalog: "Catalog", names: Sequence[str]) -> None:
        """Find out before anything is measured that a name, a configuration or an address is wrong.

        Raises:
            CatalogError: for an unknown name, or a file that describes no model.
            AdvisorError: for a file that is not there, or an address that is none.
        """
        from advisor.cli._subject import resolve_subject

        for name in names:
            resolve_subject(catalog, name)
        if self.config_file is not None:
            _read_config(self.config_file)
            catalog.quant(self.quant_text or "")
        if self.endpoint_url is not None:
            from advisor.engines.openai_http import Endpoint

            Endpoint(url=self.endpoint_url, model=self.served_name or "")


_target_options = _options.group(
    "target",
    _Target,
    {
        "recommendation_file": click.option(
            "--from", "recommendation_file", metavar="FILE", help="Validate a saved recommendation's picks."
        ),
        "top_count": click.option(
            "--top", "top_count", type=click.IntRange(1, 100), help="How many of them; 1 unless --budget chooses."
        ),
        "config_file": click.option(
            "--config", "config_file", metavar="FILE", help="A model by its Hugging Face config.json."
        ),
        "quant_text": click.option("--quant", "quant_text", help="Quantisation for --config."),
        "endpoint_url": click.option(
            "--endpoint", "endpoint_url", metavar="URL", help="Time a model behind an OpenAI-compatible server."
        ),
        "served_name": click.option("--model", "served_name", metavar="NAME", help="What the server calls it."),
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How it is to be timed."""

    force_twin: bool
    budget_s: float | None
    download: bool
    quality: bool
    text_file: str | None
    memory_bytes: int | None

    def request(self, *, quiet: bool) -> "Request":
        from advisor.cli._validation import read_request

        return read_request(
            budget_s=self.budget_s,
            force_twin=self.force_twin,
            download=self.download,
            quality=self.quality,
            text_file=self.text_file,
            memory_bytes=self.memory_bytes,
            quiet=quiet,
        )


_how_options = _options.group(
    "how",
    _How,
    {
        "force_twin": click.option(
            "--twin", "force_twin", is_flag=True, help="Use a weightless twin even where the real file is here."
        ),
        "budget_s": click.option(
            "--budget",
            "budget_s",
            type=_shared.DURATION,
            help="Seconds per model (60s); with --from and no --top, for all the runs that settle the ranking.",
        ),
        "download": click.option(
            "--yes", "download", is_flag=True, help="Download real weights that are not here, without asking."
        ),
        "quality": click.option(
            "--quality", is_flag=True, help="Also score how well real weights foretell a text (perplexity)."
        ),
        "text_file": click.option("--text", "text_file", metavar="FILE", help="Your own text for --quality."),
        "memory_bytes": click.option(
            "--memory-limit", "memory_bytes", type=_shared.BYTES, help="Stop the engine beyond this."
        ),
    },
)


@click.command("validate")
@click.argument("model_texts", metavar="[MODEL[:QUANT]|FILE.gguf]...", nargs=-1)
@_target_options
@_how_options
@click.option("--task", default="general", show_default=True, help="Sets the default workload.")
@_options.workload_options
@_options.setting_options
@_options.machine_options
@_options.document_options
def command(
    model_texts: tuple[str, ...],
    target: _Target,
    how: _How,
    task: str,
    demand: "Demand",
    settings: "LoadSettings",
    where: "Where",
    output: "Output",
) -> None:
    """Load a model here, time it, and compare with the prediction.

    Real weights are used where the file is on this machine or you agree to download it, else a weightless twin
    of the same shape; a model too large to load is timed by a few of its layers. With --from and --budget 2m
    the runs are chosen that settle the ranking soonest, and it is ranked again. With --endpoint a running
    server is timed instead; its key is read from ADVISOR_API_KEY or OPENAI_API_KEY. Exit code 3: a speed
    outside its interval.
    """
    from advisor.cli._machine import this_profile
    from catalog.load import load_catalog
    from reports.console import print_validation

    if where.elsewhere:
        raise BadRequestError("validate times models on this machine; leave out --hardware and --profile")
    names = target.names(model_texts)
    target.check(names)
    _check_applies(target, how, demand, settings)
    _options.check_settings(settings, where.engine_id)
    request = how.request(quiet=output.quiet)
    catalog = load_catalog()
    workload = demand.workload(task)
    target.look(catalog, names)
    ranking = _ranking(target.recommendation_file) if target.recommendation_file else None  # and so is a wrong file
    machine = where.machine(catalog, quiet=output.quiet)
    profile = this_profile(quiet=output.quiet)
    if ranking and how.budget_s and target.top_count is None:
        proven = _settle(catalog, machine, profile, ranking, request)
        _deliver_settled(proven, output)
        raise SystemExit(exit_code(proven.validation))
    if ranking:
        candidates = _picks(catalog, ranking, target.top_count or 1)
    else:
        candidates = [
            _candidate(catalog, machine, workload, name, target, demand.kv_quant_id, settings)
            for name in names or (None,)
        ]
    document = _timed(candidates, machine, profile, target, request)
    output.deliver(document, partial(print_validation, document))
    code = exit_code(document)
    if code == EXIT_FAILED:
        _say_why(document)
    raise SystemExit(code)


def _say_why(document: "Validation") -> None:
    """One line for the first that failed, whatever form the document took."""
    failed = next((record for record in document.records if record.reason), None)
    if failed is not None:
        name = f"{failed.estimate.model_id}: "
        subject = "" if failed.reason and failed.reason.startswith(failed.estimate.model_id) else name
        line = " ".join(f"advisor: {subject}{failed.reason}".split())
        _shared.say("".join(character if character.isprintable() else "?" for character in line))


def _check_applies(target: _Target, how: _How, demand: "Demand", settings: "LoadSettings") -> None:
    """Refuse what the thing to be timed has already, or cannot have."""
    if target.endpoint_url and (how.download or how.quality or how.force_twin):
        raise BadRequestError("--endpoint times what the server runs; leave out --yes, --quality and --twin")
    given = settings.options() or demand.options()
    if target.recommendation_file and given:
        raise BadRequestError(f"the picks of --from were recommended with their settings; leave out {given[0]}")


def _timed(
    candidates: "Sequence[Candidate]",
    machine: "Machine",
    profile: "HardwareProfile",
    target: _Target,
    request: "Request",
) -> "Validation":
    """The candidates as they run here, or the first of them as a server runs it."""
    from advisor.cli._validation import run_endpoint, run_validations

    if target.endpoint_url is None or target.served_name is None:
        return run_validations(candidates, machine=machine, profile=profile, request=request)
    return run_endpoint(
        candidates[0].estimate,
        target.endpoint_url,
        target.served_name,
        machine=machine,
        profile=profile,
        budget_s=request.budget_s,
        quiet=request.quiet,
    )


def _settle(
    catalog: "Catalog", machine: "Machine", profile: "HardwareProfile", ranking: "Recommendation", request: "Request"
) -> "Recommendation":
    from advisor.cli._validation import settle_ranking

    return settle_ranking(catalog, ranking, machine=machine, profile=profile, request=request)


def _deliver_settled(proven: "Recommendation", output: "Output") -> None:
    from reports.console import print_recommendation

    output.deliver(proven, partial(print_recommendation, proven))


def _ranking(path: str) -> "Recommendation":
    from advisor import codec

    recommendation: Recommendation = codec.load(path, kind="recommendation")
    if not recommendation.ranked:
        raise AdvisorError(f"{path} ranks nothing to validate; run advisor recommend with looser limits")
    return recommendation


def _picks(catalog: "Catalog", ranking: "Recommendation", count: int) -> "list[Candidate]":
    from advisor.cli._validation import candidate_of_choice

    return [candidate_of_choice(catalog, choice) for choice in ranking.ranked[:count]]


def _candidate(
    catalog: "Catalog",
    machine: "Machine",
    workload: "Workload",
    model_text: str | None,
    target: _Target,
    kv_quant_id: str | None,
    settings: "LoadSettings",
) -> "Candidate":
    from advisor.cli._subject import Subject, resolve_subject
    from advisor.predict import predict
    from advisor.validation.weights_source import Candidate
    from catalog.weights import weigh

    if target.config_file is not None:
        model = _read_config(target.config_file)
        subject = Subject(model=model, artifact=weigh(model, catalog.quant(target.quant_text or "").quant_id))
    else:
        subject = resolve_subject(catalog, model_text or "", machine.engine_id)
    here = () if subject.path else _local_artifacts(catalog, subject)
    wanted = {artifact.quant_id for artifact in subject.artifact_choices()}
    choices = tuple(artifact for artifact in here if artifact.quant_id in wanted) or subject.artifact_choices()
    estimate = predict(subject.model, choices, machine, workload, kv_quant_id=kv_quant_id, settings=settings)
    artifact = next(artifact for artifact in choices if artifact.quant_id == estimate.quant_id)
    path = subject.path or artifact.local_path
    return Candidate(estimate=estimate, model=subject.model, artifact=artifact, local_path=path)


def _read_config(path: str) -> "ModelSpec":
    from catalog.hf import read_config

    if not Path(path).exists():
        raise AdvisorError(f"{path}: no such file; give the path of a config.json")
    return read_config(path)


def _local_artifacts(catalog: "Catalog", subject: "Subject") -> "tuple[ArtifactSpec, ...]":
    """The model's GGUF files that are on this machine."""
    from advisor.store import header_cache
    from catalog.local import find_local_models

    return tuple(
        replace(found.artifact, local_path=found.path)
        for found in find_local_models(catalog, headers=header_cache())
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
