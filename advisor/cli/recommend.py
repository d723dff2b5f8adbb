"""``advisor recommend``: rank model x quantisation x settings for this machine."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor import __version__
from advisor.cli import _options, _questions, _shared
from advisor.errors import BadRequestError, NothingFitsError

if TYPE_CHECKING:
    from rich.console import Console

    from advisor.cli._options import Demand, Output, Where
    from advisor.cli._validation import Request as ProofRequest
    from advisor.machine import Machine
    from advisor.recommendation.extremes import Asked
    from advisor.recommendation.recommend import LocalFile, Request
    from advisor.settings import LoadSettings
    from advisor.types import Limits, Recommendation, Validation
    from catalog.load import Catalog


#: Picks of a saved document whose figures a report can work out anew for other workloads.
_WHATIF_COUNT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whether and how the picks are to be timed."""

    validate_count: int
    budget_s: float | None
    download: bool
    quality: bool
    text_file: str | None

    @property
    def asked(self) -> bool:
        """Whether anything is to be timed."""
        return bool(self.validate_count or self.budget_s)

    def check(self, *, elsewhere: bool) -> None:
        """Refuse to time what cannot be, or to be told how where nothing is timed.

        Raises:
            BadRequestError: naming the option to add or leave out.
        """
        if self.asked and elsewhere:
            raise BadRequestError(
                "--validate and --budget time models on this machine; leave out --hardware and --profile"
            )
        if (self.download or self.quality or self.text_file is not None) and not self.validate_count:
            raise BadRequestError("--yes, --quality and --text say how to validate; add --validate N")

    def request(self, *, quiet: bool) -> "ProofRequest":
        """How the picks are to be timed; engines and their records are imported only for that."""
        from advisor.cli._validation import read_request

        return read_request(
            budget_s=self.budget_s,
            force_twin=False,
            download=self.download,
            quality=self.quality,
            text_file=self.text_file,
            memory_bytes=None,
            quiet=quiet,
        )


_proof_options = _options.group(
    "proof",
    Proof,
    {
        "validate_count": click.option(
            "--validate", "validate_count", type=click.IntRange(0, 20), default=0, help="Load and time the top N."
        ),
        "budget_s": click.option(
            "--budget", "budget_s", type=_shared.DURATION, help="With it, run what settles the ranking: 2m."
        ),
        "download": click.option(
            "--yes", "download", is_flag=True, help="With --validate: download real weights without asking."
        ),
        "quality": click.option(
            "--quality", is_flag=True, help="With --validate: also score how well they foretell a text."
        ),
        "text_file": click.option("--text", "text_file", metavar="FILE", help="Your own text for --quality."),
    },
)


@click.command("recommend")
@click.option(
    "--task",
    default="general",
    show_default=True,
    help="coding, chat, reasoning, agentic, rag, ...; several, as in chat,embedding, are planned to share memory.",
)
@_options.workload_options
@_options.setting_options
@_options.limit_options
@_options.machine_options
@click.option("--top", "top_count", type=click.IntRange(1, 2000), default=10, show_default=True, help="Picks to rank.")
@click.option("--why", "why_text", metavar="MODEL[:QUANT]", help="Why this model is not the pick, and what mends it.")
@_questions.extreme_options
@_proof_options
@_options.table_options
def command(
    task: str,
    demand: "Demand",
    settings: "LoadSettings",
    limits: "Limits",
    where: "Where",
    top_count: int,
    why_text: str | None,
    extremes: "Asked",
    proof: Proof,
    output: "Output",
) -> None:
    """Rank open-weight models for this machine and a task, with reasons and the command to run each.

    Scans and calibrates first where that was never done. --hardware asks about a machine that is not here.
    --budget 2m spends that time on the runs that most reduce doubt about the top ranks, and ranks again.
    Several tasks (any of them, completion and reranker) are planned as models that live together.
    """
    proof.check(elsewhere=where.elsewhere)
    _options.check_settings(settings, where.engine_id)
    if _questions.asks_for_stack(task):
        one_task_only = {
            "--validate or --budget": proof.asked,
            "--why": why_text is not None,
            "--max-…": extremes.anything,
            "--shared-prefix": demand.shared_prefix_tokens is not None,
        }
        _questions.check_stack(one_task_only, engine_id=where.engine_id)
        _questions.recommend_stack(task, demand, limits, where, settings, output)
        return
    from advisor.recommendation.recommend import Request
    from catalog.load import load_catalog

    catalog = load_catalog()
    workload = demand.workload(task)
    timing = proof.request(quiet=output.quiet) if proof.asked else None
    machine = where.machine(catalog, quiet=output.quiet)
    request = Request(
        workload=workload,
        limits=limits,
        top_count=top_count,
        kv_quant_id=demand.kv_quant_id,
        settings=settings,
        local_files=_local_files(catalog) if where.hardware is None else (),
        whatif_count=_WHATIF_COUNT if output.output_path else 0,
    )
    result = _ranked(catalog, machine, request, why_text, extremes, output)
    if not where.elsewhere:
        from advisor.store import save_recommendation

        _shared.keep("the recommendation", lambda: save_recommendation(result))
    if timing is not None:
        result = _proven(catalog, machine, result, proof.validate_count, timing)
    output.deliver(result, partial(_show, result))


def _ranked(
    catalog: "Catalog",
    machine: "Machine",
    request: "Request",
    why_text: str | None,
    extremes: "Asked",
    output: "Output",
) -> "Recommendation":
    """The ranking with what else was asked about it; where nothing passes, why the model asked about does not."""
    from advisor.clock import utc_now
    from advisor.recommendation.recommend import recommend
    from advisor.types import Recommendation

    why = None if why_text is None else _questions.explain(catalog, machine, request, why_text)
    now = utc_now()
    try:
        result = recommend(catalog, machine, request, created_at=now, tool_version=__version__)
    except NothingFitsError as error:
        if isinstance(error.document, Recommendation) and (why is not None or output.wants_document):
            refused = replace(error.document, why=why)
            output.deliver(refused, partial(_show, refused))
        raise
    from advisor.recommendation.extremes import ranked_with_extremes, ranked_with_users

    result = ranked_with_users(catalog, machine, request, replace(result, why=why))
    if not extremes.anything:
        return result
    return ranked_with_extremes(catalog, machine, request, result, extremes)


def _proven(
    catalog: "Catalog", machine: "Machine", result: "Recommendation", validate_count: int, timing: "ProofRequest"
) -> "Recommendation":
    """The ranking with its first picks timed, or timed as far as settles it and ranked again."""
    if validate_count:
        return replace(result, validation=_validate(catalog, machine, result, validate_count, timing))
    from advisor.cli._machine import this_profile
    from advisor.cli._validation import settle_ranking

    profile = this_profile(quiet=timing.quiet)
    return settle_ranking(catalog, result, machine=machine, profile=profile, request=timing)


def _validate(
    catalog: "Catalog", machine: "Machine", result: "Recommendation", count: int, timing: "ProofRequest"
) -> "Validation":
    from advisor.cli._machine import this_profile
    from advisor.cli._validation import candidate_of_choice, run_validations

    picks = [candidate_of_choice(catalog, choice) for choice in result.ranked[:count]]
    return run_validations(picks, machine=machine, profile=this_profile(quiet=timing.quiet), request=timing)


def _show(result: "Recommendation", console: "Console") -> None:
    from reports.console import print_recommendation, print_validation

    print_recommendation(result, console)
    if result.validation is not None:
        print_validation(result.validation, console)


def _local_files(catalog: "Catalog") -> tuple["LocalFile", ...]:
    from advisor.recommendation.recommend import LocalFile
    from advisor.store import header_cache
    from catalog.local import find_local_models

    return tuple(
        LocalFile(model_id=found.model_id, quant_id=found.quant_id, path=str(found.path))
        for found in find_local_models(catalog, headers=header_cache())
        if found.model_id is not None
    )
