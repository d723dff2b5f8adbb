"""What is exported: one model with its load-time settings, or several that live together."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from advisor import launch
from advisor.errors import BadRequestError
from advisor.export.text import inert
from advisor.launch import LOOPBACK, Launch
from advisor.types import Choice, Deployment, Estimate, StackMember, StackMode, StackPlan, Workload
from catalog.load import Catalog
from catalog.types import FileFormat, ModelSpec

DEFAULT_PORT = 8080
SERVER_KEY = "LLAMA_API_KEY"  # the variable that llama-server reads its key from
#: The variable that clients' files refer to. Not the server's own name: with that one set, opencode takes the user
#: for a customer of a provider on the internet.
CLIENT_KEY = "LOCAL_MODEL_KEY"
#: The engine that loads a format, where an estimate still names one that does not.
_ENGINE_OF_FORMAT = {FileFormat.SAFETENSORS: "vllm", FileFormat.MLX: "mlx"}


class Job(StrEnum):
    """What a client uses a model for."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANKER = "reranker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One model as it is to be loaded.

    Attributes:
        estimate: its settings, and the memory and speed that were predicted with them.
        label: its name for people: one visible line.
        name: what the endpoint calls it; safe in every syntax.
        local_path: its file or folder on this machine, absolute.
        repo: where its weights are fetched from otherwise, ``org/name``; None: the catalog's best.
        resident: False where it takes turns with others of its stack.
    """

    model: ModelSpec
    estimate: Estimate
    label: str
    name: str
    local_path: str | None = None
    repo: str | None = None
    jobs: tuple[Job, ...] = (Job.CHAT,)
    resident: bool = True

    @property
    def deployment(self) -> Deployment:
        """How it is loaded."""
        return self.estimate.deployment

    @property
    def workload(self) -> Workload:
        """What it is loaded for."""
        return self.estimate.workload

    @property
    def engine_id(self) -> str:
        """The engine that was chosen for it, or the one that loads its format."""
        chosen = self.deployment.engine_id
        if chosen in launch.GGUF_ENGINE_IDS:
            return _ENGINE_OF_FORMAT.get(FileFormat(self.deployment.file_format), chosen)
        return chosen

    @property
    def decodes(self) -> bool:
        """Whether it answers in words."""
        return Job.CHAT in self.jobs or Job.COMPLETION in self.jobs

    def launch(
        self, *, port: int, engine_id: str | None = None, host: str = LOOPBACK, path: str | None = None
    ) -> Launch:
        """How an engine is started with it; ``path`` is where its weights are for the engine, if elsewhere.

        Raises:
            AdvisorError: for a path or repository that cannot be handed to another program.
        """
        return launch.command(
            self.model,
            self.estimate,
            engine_id=engine_id or self.engine_id,
            path=path or self.local_path,
            repo=self.repo,
            host=host,
            port=port,
            name=self.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One pick, or several that share a machine."""

    picks: tuple[Pick, ...]
    mode: StackMode = StackMode.CO_RESIDENT

    @property
    def first(self) -> Pick:
        """The pick that people talk to: the first that answers in words, else the first."""
        return next((pick for pick in self.picks if pick.decodes), self.picks[0])

    @property
    def answering(self) -> tuple[Pick, ...]:
        """The picks that answer in words."""
        return tuple(pick for pick in self.picks if pick.decodes)

    def doing(self, job: Job) -> Pick | None:
        """The pick for a job."""
        return next((pick for pick in self.picks if job in pick.jobs), None)

    def called(self, pick: Pick) -> str:
        """What requests call a pick: some engines know a model by nothing but its path or repository."""
        return pick.name if len(self.picks) > 1 else pick.launch(port=DEFAULT_PORT).served_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the server listens, on this machine only."""

    port: int = DEFAULT_PORT

    @property
    def base_url(self) -> str:
        """The root of its OpenAI-compatible interface."""
        return f"http://{LOOPBACK}:{self.port}/v1"


def pick_of(
    model: ModelSpec,
    estimate: Estimate,
    *,
    display_name: str | None = None,
    local_path: str | None = None,
    repo: str | None = None,
    jobs: tuple[Job, ...] = (),
    resident: bool = True,
) -> Pick:
    """A pick from an estimate; its jobs are what the model is made for unless they are given."""
    quant_id = estimate.deployment.quant_id
    return Pick(
        model=model,
        estimate=estimate,
        label=inert(f"{display_name or model.display_name} {quant_id}"),
        name=launch.served_name(model, quant_id),
        local_path=local_path,
        repo=repo,
        jobs=jobs or _jobs_of(model),
        resident=resident,
    )


def _jobs_of(model: ModelSpec) -> tuple[Job, ...]:
    if "embedding" in model.capabilities:
        return (Job.EMBEDDING,)
    if "reranker" in model.capabilities:
        return (Job.RERANKER,)
    return (Job.CHAT,)


def pick_of_choice(catalog: Catalog, choice: Choice, *, member: StackMember | None = None) -> Pick:
    """A ranked pick of a document.

    Raises:
        CatalogError: if the catalog no longer knows the model.
    """
    make = partial(
        pick_of,
        catalog.model(choice.estimate.model_id),
        choice.estimate,
        display_name=choice.display_name,
        local_path=choice.local_path,
        repo=choice.repo,
    )
    return make(jobs=_jobs_named(member.jobs), resident=member.resident) if member else make()


def _jobs_named(names: tuple[str, ...]) -> tuple[Job, ...]:
    """A stack member's jobs: every task that is not a job of its own is chat."""
    known = {job.value: job for job in Job}
    return tuple(dict.fromkeys(known.get(name, Job.CHAT) for name in names))


def stack_of_plan(catalog: Catalog, plan: StackPlan) -> Stack:
    """The models of a stack document.

    Raises:
        CatalogError: if the catalog no longer knows one of them.
        BadRequestError: if the document says that no models do what was asked.
    """
    if not plan.members:
        raise BadRequestError(f"the stack holds no models: {' '.join(plan.reasons)}")
    picks = tuple(pick_of_choice(catalog, member.choice, member=member) for member in plan.members)
    return Stack(picks=picks, mode=plan.mode)
