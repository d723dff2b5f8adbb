"""A launch as a value: what to run, in which environment, beside which files; and what went into it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.types import Deployment, MemoryPlan, Workload
from catalog.sampling import Sampling
from catalog.types import ModelSpec

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A file that the command reads, to be written where the command is run."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How an engine is started with one model and its load-time settings.

    Attributes:
        engine_id: the engine.
        argv: the server's program and arguments; it runs until it is stopped.
        environment: variables the server needs beside those it inherits.
        files: files that ``argv`` or ``after`` name, relative to the working directory.
        after: commands to run once the server listens (Ollama registers models through its server).
        base_url: the root of its OpenAI-compatible interface.
        served_name: what a request calls the model.
        not_taken: settings of the plan that this engine has no way to take, in words.
        notes: what the user should know about the command.
    """

    engine_id: str
    argv: tuple[str, ...]
    base_url: str
    served_name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    files: tuple[ConfigFile, ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    not_taken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything an engine's command is made from.

    Attributes:
        path: the weights on this machine, a file (GGUF) or a folder; else they come from ``repo``.
        repo: ``org/name`` of the published weights.
    """

    model: ModelSpec
    deployment: Deployment
    workload: Workload
    served_name: str
    port: int
    host: str = LOOPBACK
    path: str | None = None
    repo: str | None = None
    memory: MemoryPlan | None = None
    sampling: Sampling | None = None

    @property
    def accelerators(self) -> Mapping[str, int]:
        """Layers by accelerator, in order."""
        return {device: count for device, count in self.deployment.layers_by_device.items() if device != "cpu"}

    @property
    def base_url(self) -> str:
        """The root of the OpenAI-compatible interface."""
        return f"http://{self.host}:{self.port}/v1"

    @property
    def is_embedding(self) -> bool:
        """Whether the model answers with vectors."""
        return "embedding" in self.model.capabilities

    @property
    def is_reranker(self) -> bool:
        """Whether the model answers with relevance scores."""
        return "reranker" in self.model.capabilities
