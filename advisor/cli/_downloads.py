"""Real weights that are not here yet: asked about once, fetched before anything is timed."""

import sys
from collections.abc import Mapping, Sequence

import click

from advisor.cli._shared import Progress, say
from advisor.errors import AdvisorError
from advisor.validation.weights_source import Candidate
from catalog.units import GIB

#: Per model and quantisation: the path of its first file, or why it could not be had.
Fetched = Mapping[tuple[str, str], "str | AdvisorError"]


def key_of(candidate: Candidate) -> tuple[str, str]:
    """What tells candidates apart."""
    return candidate.model.model_id, candidate.artifact.quant_id


def obtain(candidates: Sequence[Candidate], *, yes: bool, quiet: bool) -> Fetched:
    """Fetch the real weights that are missing, if the user agrees; else say that twins stand in for them.

    ``yes`` agrees beforehand. On a terminal the user is asked, with size and repository; elsewhere nothing is
    looked up or fetched without ``yes``.
    """
    missing = [candidate for candidate in candidates if candidate.local_path is None and _is_published(candidate)]
    if not missing:
        return {}
    if yes:
        return _fetch(missing, quiet=quiet)
    if quiet or not (sys.stdin.isatty() and sys.stderr.isatty()):
        size_gib = sum(candidate.artifact.file_bytes for candidate in missing) / GIB
        say(f"timing weightless twins; --yes downloads the real weights instead (about {size_gib:.1f} GiB)")
        return {}
    return _fetch(missing, quiet=quiet) if _agreed(missing) else {}


def _is_published(candidate: Candidate) -> bool:
    return candidate.estimate.engine_id == "llama.cpp" and bool(candidate.model.repos.get("gguf"))


def _agreed(missing: Sequence[Candidate]) -> bool:
    from advisor.validation.hub_files import DownloadError, find_weights

    found = []
    for candidate in missing:
        try:
            found.append(find_weights(candidate.model, candidate.artifact.quant_id))
        except DownloadError as error:
            say(f"timing a weightless twin: {error}")
    if not found:
        return False
    names = ", ".join(f"{weights.repo} ({weights.size_bytes / GIB:.1f} GiB)" for weights in found)
    return click.confirm(f"Download real weights from {names}? No times weightless twins", default=False, err=True)


def _fetch(missing: Sequence[Candidate], *, quiet: bool) -> Fetched:
    """Every candidate's file, or its error: one that cannot be had does not keep the next from being fetched."""
    from advisor.validation.download import Transfer, fetch, hub_cache
    from advisor.validation.hub_files import find_weights

    found: dict[tuple[str, str], str | AdvisorError] = {}
    for candidate in missing:
        name = f"{candidate.model.display_name} {candidate.artifact.quant_id}"
        with Progress(f"downloading {name}", quiet=quiet) as progress:

            def report(done_bytes: int, total_bytes: int, progress: Progress = progress) -> None:
                progress.update(done_bytes / total_bytes, f"{done_bytes / GIB:.2f} of {total_bytes / GIB:.2f} GiB")

            try:
                weights = find_weights(candidate.model, candidate.artifact.quant_id)
                found[key_of(candidate)] = fetch(weights, Transfer(cache_root=hub_cache(), on_bytes=report))
            except AdvisorError as error:
                found[key_of(candidate)] = error
    return found
