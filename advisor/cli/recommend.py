"""``advisor recommend``: rank model x quantisation x settings for this machine."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from advisor import __version__
from advisor.cli import _questions, _shared
from advisor.errors import BadRequestError, NothingFitsError

if TYPE_CHECKING:
    from rich.console import Console

    from advisor.cli._validation import Request as ProofRequest
    from advisor.machine import Machine
    from advisor.recommendation.recommend import LocalFile
    from advisor.settings import LoadSettings
    from advisor.types import Recommendation, Validation, Workload
    from catalog.load import Catalog


#: Picks of a saved document whose figures a report can work out anew for other workloads.
_WHATIF_COUNT = 12


@click.command("recommend")
@click.option(
    "--task",
    default="general",
    show_default=True,
    help="coding, chat, reasoning, agentic, rag, ...; several, as in chat,embedding, are planned to share memory.",
)
@_shared.workload_options
@_shared.setting_options
@_shared.limit_options
@_shared.machine_options
@click.option("--top", "top_count", type=click.IntRange(1, 2000), default=10, show_default=True, help="Picks to rank.")
@click.option("--why", "why_text", metavar="MODEL[:QUANT]", help="Why this model is not the pick, and what mends it.")
@_questions.extreme_options
@click.option("--validate", "validate_count", type=click.IntRange(0, 20), default=0, help="Load and time the top N.")
@click.option("--budget", "budget_s", type=_shared.DURATION, help="With it, run what settles the ranking: 2m.")
@click.option("--yes", "download", is_flag=True, help="With --validate: download real weights without asking.")
@click.option("--quality", is_flag=True, help="With --validate: also score how well they foretell a text.")
@click.option("--text", "text_file", metavar="FILE", help="Your own text for --quality.")
@_shared.output_option
@_shared.json_option
@_questions.csv_option
def command(
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
    profile_file: str | None,
    hardware: str | None,
    backend: str | None,
    engine_id: str | None,
    no_calibrate: bool,
    settings: "LoadSettings",
    top_count: int,
    why_text: str | None,
    ask_context: bool,
    ask_users: bool,
    validate_count: int,
    budget_s: float | None,
    download: bool,
    quality: bool,
    text_file: str | None,
    output_path: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Rank open-weight models for this machine and a task, with reasons and the command to run each.

    Scans and calibrates first where that was never done. --hardware asks about a machine that is not here.
    --budget 2m spends that time on the runs that most reduce doubt about the top ranks, and ranks again.
    Several tasks (any of them, completion and reranker) are planned as models that live together.
    """
    _questions.check_output(as_json=as_json, as_csv=as_csv)
    _check(
        validate_count,
        budget_s,
        elsewhere=bool(hardware or profile_file),
        extras=download or quality or text_file is not None,
    )
    from advisor.cli._machine import resolve_machine
    from advisor.clock import utc_now
    from advisor.recommendation.recommend import Request, recommend, unranked
    from advisor.types import Limits
    from catalog.load import load_catalog
    from reports.console import print_recommendation

    together = _questions.asks_for_stack(task)
    if together:
        _questions.check_stack(
            validates=bool(validate_count or budget_s),
            why=why_text,
            extremes=ask_context or ask_users,
            engine_id=engine_id,
        )
    proof = None
    if validate_count or budget_s:
        proof = _proof(budget_s, download=download, quality=quality, text_file=text_file, quiet=as_json)
    catalog = load_catalog()
    sizes = {
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "context_tokens": context_tokens,
        "concurrency_count": concurrency_count,
    }
    workload = None if together else _workload(task, sizes)
    limits = Limits(
        min_tokens_per_s=min_tokens_per_s,
        max_first_token_s=max_first_token_s,
        min_quality=min_quality,
        max_memory_bytes=max_memory_bytes,
        licenses=licenses,
    )
    machine = resolve_machine(
        catalog,
        profile_file=profile_file,
        hardware=hardware,
        backend=backend,
        engine_id=engine_id,
        no_calibrate=no_calibrate,
        quiet=as_json,
    )
    if workload is None:
        plan = _questions.plan_stack(catalog, machine, task, limits, kv_quant_id=kv_quant_id, **sizes)
        show = partial(_questions.show_stack, plan)
        _questions.deliver(plan, show, output_path, as_json=as_json, as_csv=as_csv)
        return
    request = Request(
        workload=workload,
        limits=limits,
        top_count=top_count,
        kv_quant_id=kv_quant_id,
        settings=settings,
        local_files=_local_files(catalog) if hardware is None else (),
        whatif_count=_WHATIF_COUNT if output_path else 0,
    )
    why = None if why_text is None else _questions.explain(catalog, machine, request, why_text)
    try:
        result = recommend(catalog, machine, request, created_at=utc_now(), tool_version=__version__)
    except NothingFitsError:
        if why is not None:
            bare = unranked(catalog, machine, request, created_at=utc_now(), tool_version=__version__)
            empty = replace(bare, why=why)
            show = partial(print_recommendation, empty)
            _questions.deliver(empty, show, output_path, as_json=as_json, as_csv=as_csv)
        raise
    result = replace(result, why=why)
    if ask_context or ask_users:
        from advisor.recommendation.extremes import Asked, ranked_with_extremes

        asked = Asked(context=ask_context, users=ask_users)
        result = ranked_with_extremes(catalog, machine, request, result, asked)
    if hardware is None and profile_file is None:
        from advisor.store import save_recommendation

        save_recommendation(result)
    if proof is None:
        _questions.deliver(result, partial(print_recommendation, result), output_path, as_json=as_json, as_csv=as_csv)
        return
    if validate_count:
        proven = replace(result, validation=_validate(catalog, machine, result, validate_count, proof))
    else:
        proven = _settle(catalog, machine, result, proof)
    _questions.deliver(proven, partial(_show_proven, proven), output_path, as_json=as_json, as_csv=as_csv)


def _workload(task: str, sizes: dict[str, int | None]) -> "Workload":
    from advisor.workloads import make_workload, parse_task

    return make_workload(parse_task(task), **sizes)


def _proof(
    budget_s: float | None, *, download: bool, quality: bool, text_file: str | None, quiet: bool
) -> "ProofRequest":
    """How the picks are to be timed; engines and their records are imported only for that."""
    from advisor.cli._validation import DEFAULT_BUDGET_S, read_request

    return read_request(
        budget_s=budget_s or DEFAULT_BUDGET_S,
        force_twin=False,
        download=download,
        quality=quality,
        text_file=text_file,
        memory_bytes=None,
        quiet=quiet,
    )


def _check(validate_count: int, budget_s: float | None, *, elsewhere: bool, extras: bool) -> None:
    if (validate_count or budget_s) and elsewhere:
        raise BadRequestError("--validate and --budget time models on this machine; leave out --hardware and --profile")
    if extras and not validate_count:
        raise BadRequestError("--yes, --quality and --text say how to validate; add --validate N")


def _settle(
    catalog: "Catalog", machine: "Machine", result: "Recommendation", proof: "ProofRequest"
) -> "Recommendation":
    from advisor.cli._machine import this_profile
    from advisor.cli._validation import settle_ranking

    profile = this_profile(quiet=proof.quiet)
    return settle_ranking(catalog, result, machine=machine, profile=profile, request=proof)


def _validate(
    catalog: "Catalog", machine: "Machine", result: "Recommendation", count: int, proof: "ProofRequest"
) -> "Validation":
    from advisor.cli._machine import this_profile
    from advisor.cli._validation import candidate_of_choice, run_validations

    picks = [candidate_of_choice(catalog, choice) for choice in result.ranked[:count]]
    return run_validations(picks, machine=machine, profile=this_profile(quiet=proof.quiet), request=proof)


def _show_proven(result: "Recommendation", console: "Console") -> None:
    from reports.console import print_recommendation, print_validation

    print_recommendation(result, console)
    if result.validation is not None:
        print_validation(result.validation, console)


def _local_files(catalog: "Catalog") -> tuple["LocalFile", ...]:
    from advisor.recommendation.recommend import LocalFile
    from catalog.local import find_local_models

    return tuple(
        LocalFile(model_id=found.model_id, quant_id=found.quant_id, path=str(found.path))
        for found in find_local_models(catalog)
        if found.model_id is not None
    )
