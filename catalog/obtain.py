"""Which quantisations of a model can really be downloaded, and from where.

A repository's file list is not in the catalog. What is known: the quantisations that were seen
for a model in any of its repositories, and what each large uploader makes of every model.
"""

from collections.abc import Mapping

from catalog.recipes import NATIVE_MXFP4
from catalog.types import ModelSpec

#: GGUF quantisations worth offering, largest first.
QUANT_IDS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "IQ2_M")
#: Offered only where nothing larger fits.
LAST_RESORT_QUANT_IDS = frozenset({"IQ3_XXS", "IQ2_M"})
#: Weights that were trained as MXFP4 experts, beside 16-bit matrices in safetensors and Q8_0 in a GGUF; whatever
#: else a GGUF of such a model is called, its experts are the same, so nothing else is worth offering.
NATIVE_QUANT_ID, NATIVE_GGUF_QUANT_ID = "MXFP4", "MXFP4_MOE"
SMALL_MODEL_PARAMS_COUNT = 1_000_000_000
_SMALL_QUANT_IDS = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
#: What large uploaders make of every model they take up.
_EVERY_TYPE = frozenset({*QUANT_IDS, "F16"})
_USUAL_QUANT_IDS: Mapping[str, frozenset[str]] = {
    "unsloth": _EVERY_TYPE,
    "bartowski": _EVERY_TYPE | {NATIVE_GGUF_QUANT_ID},
    "mradermacher": frozenset({"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", NATIVE_GGUF_QUANT_ID}),
    "MaziyarPanahi": frozenset({"Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"}),
    "lmstudio-community": frozenset({"Q8_0", "Q6_K", "Q4_K_M", NATIVE_GGUF_QUANT_ID}),
    "ggml-org": frozenset({"F16", "Q8_0", "Q4_K_M", NATIVE_GGUF_QUANT_ID}),
    "google": frozenset({"Q4_0"}),
}
#: What any other uploader, makers among them, can be expected to have.
_COMMON_QUANT_IDS = frozenset({"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"})
#: How uploaders spell a file type in their files' names, where it is not its own name.
_LABELS: Mapping[tuple[str, str], str] = {
    ("ggml-org", NATIVE_GGUF_QUANT_ID): "mxfp4",
    ("lmstudio-community", NATIVE_GGUF_QUANT_ID): "MXFP4",
}
#: Repositories of one special kind of file, which their name tells.
_SPECIAL_NAMES = ("-qat-", "-bf16-", "-f16-", "-mxfp4-", "-uncensored-", "-abliterated-")


def quant_ids(model: ModelSpec) -> tuple[str, ...]:
    """Quantisations to try for a model, largest first: the usual ones that somebody publishes."""
    if is_native(model):
        return (NATIVE_GGUF_QUANT_ID,)
    usual = _SMALL_QUANT_IDS if model.params_total_count < SMALL_MODEL_PARAMS_COUNT else QUANT_IDS
    published = tuple(quant_id for quant_id in usual if _is_published(model, quant_id))
    return published or usual


def repo_for(model: ModelSpec, quant_id: str) -> str | None:
    """The most trustworthy GGUF repository that should hold a quantisation; the first one if none is known to."""
    repos = model.repos.get("gguf", ())
    return next((repo for repo in repos if _usually_holds(repo, quant_id)), next(iter(repos), None))


def is_native(model: ModelSpec) -> bool:
    """Whether a model's own weights are MXFP4 experts."""
    return model.architecture in NATIVE_MXFP4


def file_label(repo: str, quant_id: str) -> str:
    """What a GGUF repository's file names call a quantisation; programs find a file of it by this word."""
    return _LABELS.get((repo.partition("/")[0], quant_id), quant_id)


def _is_published(model: ModelSpec, quant_id: str) -> bool:
    return quant_id in model.quants_seen or any(_usually_holds(repo, quant_id) for repo in model.repos.get("gguf", ()))


def _usually_holds(repo: str, quant_id: str) -> bool:
    uploader, _, name = repo.partition("/")
    if any(special in f"{name.lower()}-" for special in _SPECIAL_NAMES):
        return False
    return quant_id in _USUAL_QUANT_IDS.get(uploader, _COMMON_QUANT_IDS)
