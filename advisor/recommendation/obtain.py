"""Which quantisations of a model can really be downloaded, and from where.

A repository's file list is not in the catalog. What is known: the quantisations that were seen
for a model in any of its repositories, and what each large uploader makes of every model.
"""

from collections.abc import Mapping

from catalog.types import ModelSpec

#: GGUF quantisations worth offering, largest first.
QUANT_IDS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "IQ2_M")
#: Offered only where nothing larger fits.
LAST_RESORT_QUANT_IDS = frozenset({"IQ3_XXS", "IQ2_M"})
#: Models published in one native quantisation.
NATIVE_QUANT_IDS = {"gpt-oss": ("MXFP4",)}
SMALL_MODEL_PARAMS_COUNT = 1_000_000_000
_SMALL_QUANT_IDS = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
#: What large uploaders make of every model they take up.
_EVERY_TYPE = frozenset({*QUANT_IDS, "F16", "MXFP4"})
_USUAL_QUANT_IDS: Mapping[str, frozenset[str]] = {
    "unsloth": _EVERY_TYPE,
    "bartowski": _EVERY_TYPE,
    "mradermacher": frozenset({"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M"}),
    "MaziyarPanahi": frozenset({"Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"}),
    "lmstudio-community": frozenset({"Q8_0", "Q6_K", "Q4_K_M", "MXFP4"}),
    "ggml-org": frozenset({"F16", "Q8_0", "Q4_K_M", "MXFP4"}),
    "google": frozenset({"Q4_0"}),
}
#: What any other uploader, makers among them, can be expected to have.
_COMMON_QUANT_IDS = frozenset({"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"})
#: Repositories of one special kind of file, which their name tells.
_SPECIAL_NAMES = ("-qat-", "-bf16-", "-f16-", "-mxfp4-", "-uncensored-", "-abliterated-")


def quant_ids(model: ModelSpec) -> tuple[str, ...]:
    """Quantisations to try for a model, largest first: the usual ones that somebody publishes."""
    native = NATIVE_QUANT_IDS.get(model.architecture or "")
    if native is not None:
        return native
    usual = _SMALL_QUANT_IDS if model.params_total_count < SMALL_MODEL_PARAMS_COUNT else QUANT_IDS
    published = tuple(quant_id for quant_id in usual if _is_published(model, quant_id))
    return published or usual


def repo_for(model: ModelSpec, quant_id: str) -> str | None:
    """The most trustworthy GGUF repository that should hold a quantisation; the first one if none is known to."""
    repos = model.repos.get("gguf", ())
    return next((repo for repo in repos if _usually_holds(repo, quant_id)), next(iter(repos), None))


def _is_published(model: ModelSpec, quant_id: str) -> bool:
    return quant_id in model.quants_seen or any(_usually_holds(repo, quant_id) for repo in model.repos.get("gguf", ()))


def _usually_holds(repo: str, quant_id: str) -> bool:
    uploader, _, name = repo.partition("/")
    if any(special in f"{name.lower()}-" for special in _SPECIAL_NAMES):
        return False
    return quant_id in _USUAL_QUANT_IDS.get(uploader, _COMMON_QUANT_IDS)
