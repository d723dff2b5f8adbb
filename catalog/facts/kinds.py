"""What a model is made for: its capabilities, and the tasks it may be ranked for.

Rules read the repository's name and architecture; ``catalog/sources/corrections.csv`` holds, one by
one and with a reason, what names do not tell.
"""

import re
from collections.abc import Mapping, Set
from typing import Any

TEXT_TASKS = frozenset({"coding", "chat", "reasoning", "rag", "multilingual", "general"})

#: Kinds of model that answer no open question; they enter no task's list but their own.
SPECIAL_KINDS = frozenset(
    {
        "base", "embedding", "reranker", "guard", "reward", "classifier", "ocr", "speech", "translation",
        "diffusion", "late_interaction", "specialist", "experiment",
    }
)  # fmt: skip

# kind <- pattern in the lower-cased last part of the repository's name; a token ends at - _ . or a digit
_WORD = r"(?:^|[-_./ ])(?:{})(?:$|[-_./ \d])"
_NAME_PATTERNS = {
    "reranker": _WORD.format(r"re-?rank(?:er)?"),
    "guard": _WORD.format(r"\w*guard(?:ian)?|shieldgemma|safeguard"),
    "reward": _WORD.format(r"reward|rm|critic|feedback"),
    "classifier": _WORD.format(r"cls|classifier"),
    "ocr": _WORD.format(r"\w*ocr|mineru\w*|parsing|docling"),
    "speech": _WORD.format(r"asr|tts|whisper|moshi\w*|omni-asr"),
    "translation": _WORD.format(r"translate|translation|translategemma"),
    "diffusion": _WORD.format(r"llada|dream|\w*diffusion\w*|dlm|wedlm|diffcoder"),
    "base": _WORD.format(r"base|pretrain(?:ed)?|unsupervised|cpt"),
    "math": _WORD.format(r"math\w*|\w*math|prover|mathform|acemath"),
    "coding": _WORD.format(
        r"code\w*|\w*coder|coding|devstral|swe|deepswe|kat-dev|kimi-dev|mellum\w*"
    ),
    "late_interaction": _WORD.format(r"\w*colbert\w*|late|\w*lateon|colnomic"),
    "embedding": _WORD.format(r"embed|embedding|embeddings|\w*colbert|vlm2vec|bge|gte|sbert"),
}  # fmt: skip
_NAME_RULES = {kind: re.compile(pattern) for kind, pattern in _NAME_PATTERNS.items()}

_VISION_ARCHITECTURES = re.compile(
    r"vl(?:$|[-_])|vlm|vl_|internvl|mllama|llava|phi3_v|moondream|qwen\dvl|minicpmv|molmo|_vision|mllama|idefics|glm4v"
)
_TEXT_ONLY = re.compile(r"gpt-oss|phi-4-mini", re.IGNORECASE)

# Families whose chat models think before they answer, at least on request. Their instruct-only
# siblings (the second pattern) do not.
_THINKING = re.compile(
    r"qwen3(?!-(?:coder|embedding))|qwen3\.\d|qwq|gpt-oss|deepseek-(?:r1|v3\.[12]|v4)|glm-(?:4\.[5-9]|5|z1)|gemma-4-|smollm3"
    r"|exaone-(?:4|deep)|k-exaone|seed-oss|hunyuan|hy\d|mimo-(?!vl)|step-3|kimi-k(?:2\.[5-9]|3)|ring-|magistral|minimax-m"
    r"|nemotron-(?:3|nano|cascade)|apriel|hermes-4|minicpm(?:4\.1|5)|lfm2\.5-8b|think|reason|cogito|solar-open|intern-s|muse"
    r"|ornith|nanbeige4|trinity-large-thinking|mistral-medium-3\.5|mistral-small-4|sarvam-(?:m|30b|105b)|falcon-h1r|inkling"
)
_NOT_THINKING = re.compile(r"instruct-2507|instruct$|-base|coder|embedding|non-?thinking|ling-")
_ALWAYS_THINKING = re.compile(r"think|reason(?!ing-?none)|-r1|qwq|magistral|ring-|deepscaler|prover")


def tail(model_id: str) -> str:
    """The part of a repository id after its owner."""
    return model_id.rpartition("/")[2]


def detect_capabilities(raw: Mapping[str, Any]) -> set[str]:
    """Capabilities of one raw record, from its own flags and from its name."""
    name = tail(raw["hf_id"]).lower()
    held = {kind for kind, flag in raw["capabilities"].items() if flag}
    held |= {kind for kind, rule in _NAME_RULES.items() if rule.search(name)}
    if has_vision(raw):
        held.add("vision")
    else:
        held.discard("vision")
    if thinks(name):
        held.add("reasoning")
    return tidy(held)


def tidy(held: Set[str]) -> set[str]:
    """Drop what contradicts the model's kind: an encoder is no base model, a base model no assistant."""
    kinds = set(held)
    if "math" in kinds:
        kinds.add("specialist")
    if kinds & {"reranker", "guard", "reward", "classifier"}:
        kinds.discard("embedding")
    if kinds & {"embedding", "reranker"}:
        kinds -= {"base", "instruct", "reasoning", "tool_use"}
    if "base" in kinds:
        kinds -= {"instruct", "tool_use", "reasoning"}
    return kinds


def has_vision(raw: Mapping[str, Any]) -> bool:
    """Whether a model takes images."""
    if _TEXT_ONLY.search(raw["hf_id"]):
        return False
    architecture = f"{raw.get('hf_arch') or ''} {raw.get('gguf_arch') or ''}".lower()
    return "image" in raw["modalities"] or bool(_VISION_ARCHITECTURES.search(architecture))


def thinks(name: str) -> bool:
    """Whether a model of this (lower-cased) name can think before it answers."""
    if _ALWAYS_THINKING.search(name):
        return True
    return bool(_THINKING.search(name)) and not _NOT_THINKING.search(name)


def tasks_for(capabilities: Set[str]) -> frozenset[str]:
    """The tasks a model of these capabilities may be ranked for."""
    special = SPECIAL_KINDS & capabilities
    if special == {"embedding"}:
        return frozenset({"embedding"})
    if special == {"specialist"} and "math" in capabilities:
        return frozenset({"reasoning"})
    if special or not capabilities & {"instruct", "reasoning"}:
        return frozenset()
    tasks = set(TEXT_TASKS)
    if "tool_use" in capabilities:
        tasks.add("agentic")
    if "vision" in capabilities:
        tasks.add("vision")
    return frozenset(tasks)
