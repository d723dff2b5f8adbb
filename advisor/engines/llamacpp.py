"""llama.cpp through llama-cpp-python, in a worker process."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from advisor.engines._energy import joules
from advisor.engines._process import Limits, WorkerProcess
from advisor.engines.base import Loaded, LoadOptions, Phase, ScoredText, Stream, TextTimes, Window, options_fit
from advisor.types import Deployment, EngineBuild
from probes.energy import Meter
from probes.guard import watch

ENGINE_ID = "llama.cpp"
_BACKENDS = ("cpu", "cuda", "metal", "rocm", "vulkan", "sycl")


def allowed_threads_count() -> int:
    """Hardware threads this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_threads_count() -> int:
    """Physical cores this process may use: llama.cpp's threads spin, so a hyper-thread each only hurts."""
    import psutil

    allowed = allowed_threads_count()
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


class LlamaCppSession:
    """One model held by a worker; several may be open at once and be timed in turn."""

    def __init__(
        self,
        process: WorkerProcess,
        path: str,
        options: LoadOptions,
        meters: Sequence[Meter] = (),
        limit_s: float | None = None,
    ) -> None:
        self._process = process
        self._meters = meters
        if options.threads_count is None:
            options = replace(options, threads_count=usable_threads_count())
        reply = process.request("open", timeout_s=limit_s, path=path, options=asdict(options))
        self._handle: int | None = int(reply.pop("handle"))
        self.loaded = Loaded(**reply)
        self.threads_count = self.loaded.threads_count
        self.options = options

    def prefill(self, tokens_count: int, *, depth_tokens: int = 0) -> Window:
        """Work through a synthetic prompt behind ``depth_tokens`` of context."""
        options_fit(self.options, depth_tokens + tokens_count)
        self._seek(depth_tokens, 1)
        return self._window("prefill", depth_tokens, tokens_count=tokens_count)

    def decode(
        self, tokens_count: int, *, depth_tokens: int = 0, streams_count: int = 1, limit_s: float | None = None
    ) -> Window:
        """Produce synthetic tokens one by one behind ``depth_tokens`` of context, for one user or several.

        Where they take longer than ``limit_s`` seconds, only so many of them, but some in any case.
        """
        options_fit(self.options, depth_tokens + tokens_count)
        self._seek(depth_tokens, streams_count)
        window = self._window(
            "decode", depth_tokens, tokens_count=tokens_count, streams_count=streams_count, limit_s=limit_s
        )
        return replace(window, tokens_count=len(window.elapsed_s), streams_count=streams_count)

    def reach(self, depth_tokens: int) -> int:
        """How much of a depth memory allows at the price of a short one."""
        return int(self._process.request("reach", handle=self._handle, depth_tokens=depth_tokens)["depth_tokens"])

    def _seek(self, depth_tokens: int, streams_count: int) -> None:
        self._process.request("seek", handle=self._handle, depth_tokens=depth_tokens, streams_count=streams_count)

    def _window(self, phase: Phase, depth_tokens: int, *, tokens_count: int, **asked: float | None) -> Window:
        with watch(pids=(self._process.pid,)) as watched, joules(self._meters) as energy:
            reply = self._process.request(phase, handle=self._handle, tokens_count=tokens_count, **asked)
        return Window(
            phase=phase,
            depth_tokens=depth_tokens,
            started_s=reply["started_s"],
            elapsed_s=tuple(reply["elapsed_s"]),
            threads_count=self.threads_count,
            cpu_s=reply["cpu_s"],
            involuntary_switches_count=reply["involuntary_switches_count"],
            conditions=watched.conditions,
            energy_j=energy.total_j,
            tokens_count=tokens_count,
        )

    def set_threads(self, threads_count: int) -> None:
        """Use another number of threads from now on, without reloading."""
        self._process.request("set_threads", handle=self._handle, threads_count=threads_count)
        self.threads_count = threads_count

    def generate(self, prompt: str | Sequence[int], max_tokens: int, *, chat: bool = False) -> Stream:
        """Answer a prompt greedily; ``chat`` wraps a text in the model's own chat template."""
        asked = prompt if isinstance(prompt, str) else list(prompt)
        reply = self._process.request("generate", handle=self._handle, prompt=asked, max_tokens=max_tokens, chat=chat)
        reply["token_s"], reply["tokens"] = tuple(reply["token_s"]), tuple(reply["tokens"])
        return Stream(**reply)

    def time_text(self, text: str, tokens_count: int) -> TextTimes:
        """Time the tokenizer both ways on the first ``tokens_count`` tokens of a text, as far as it reaches."""
        return TextTimes(
            **self._process.request("time_text", handle=self._handle, text=text, tokens_count=tokens_count)
        )

    def score(self, text: str, *, budget_s: float) -> ScoredText:
        """How well the model foretells a text, window by window until the text or the time is used up."""
        reply = self._process.request("score", handle=self._handle, text=text, budget_s=budget_s)
        return ScoredText(losses=tuple(reply.pop("losses")), **reply)

    def memory_bytes(self) -> Mapping[str, int]:
        """Buffers by device and purpose, and the worker's own peak ("process.peak")."""
        reply: Mapping[str, int] = self._process.request("memory", handle=self._handle)["memory_bytes"]
        return reply

    def close(self) -> None:
        """Free the model; the worker lives on."""
        if self._handle is not None:
            self._process.request("close", handle=self._handle)
            self._handle = None


class Worker:
    """A worker process that holds any number of models; ``meters`` count the energy of their windows."""

    def __init__(self, limits: Limits, meters: Sequence[Meter] = (), python: str | None = None) -> None:
        self._process = WorkerProcess(limits, python)
        self._meters = meters
        self._info: dict[str, Any] | None = None

    def __enter__(self) -> "Worker":
        if self._process.limits.memory_bytes is not None and not self.gpu_offload:
            # accelerator drivers reserve address space far beyond what they use: bound CPU builds only
            self._process.request("limit", data_bytes=self._process.limits.memory_bytes)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.close()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def info(self) -> Mapping[str, Any]:
        """Build and devices as the engine lists them."""
        if self._info is None:
            self._info = self._process.request("info", timeout_s=120.0)
        return self._info

    @property
    def gpu_offload(self) -> bool:
        """Whether this build can put layers on an accelerator."""
        return bool(self.info["build"]["gpu_offload"])

    def adopt(self, folder: str | None) -> None:
        """Have the worker remove ``folder`` should this process be killed; None lets go of it."""
        self._process.request("adopt", folder=folder)

    def build(self) -> EngineBuild:
        """Name, version and build flags of the engine."""
        return parse_build(self.info["build"])

    @contextmanager
    def open(self, path: str, options: LoadOptions, *, limit_s: float | None = None) -> Iterator[LlamaCppSession]:
        """Load a model for as long as the context lasts, within ``limit_s`` or the worker's own limit."""
        session = LlamaCppSession(self._process, path, options, self._meters, limit_s)
        try:
            yield session
        finally:
            if self._process.alive:
                session.close()

    def hold(self, path: str, options: LoadOptions) -> LlamaCppSession:
        """Load a model until it is closed or the worker ends; for several at once."""
        return LlamaCppSession(self._process, path, options, self._meters)


def parse_build(info: Mapping[str, Any]) -> EngineBuild:
    """The engine's identity from what the worker reports."""
    parts = [
        f"llama.cpp {info['engine_version']}" if info.get("engine_version") else None,
        f"ggml {info['ggml_version']}" if info.get("ggml_version") else None,
        info.get("ggml_commit"),
        info.get("system_info"),
    ]
    build = "; ".join(part for part in parts if part and part != "unknown")
    return EngineBuild(id=ENGINE_ID, version=f"llama-cpp-python {info['binding_version']}", build=build or None)


@contextmanager
def open_worker(
    limits: Limits | None = None, meters: Sequence[Meter] = (), *, python: str | None = None
) -> Iterator[Worker]:
    """A worker for as long as the context lasts; ``python`` is the interpreter whose llama.cpp it loads.

    Raises:
        EngineMissingError: on first use, if llama-cpp-python is not installed.
    """
    with Worker(limits or Limits(), meters, python) as worker:
        yield worker


class LlamaCppEngine:
    """The engine as the validator sees it."""

    engine_id = ENGINE_ID

    def __init__(self, limits: Limits | None = None, meters: Sequence[Meter] = ()) -> None:
        self._limits = limits or Limits()
        self._meters = meters

    def waiver(self, deployment: Deployment) -> str | None:
        """None if llama-cpp-python is installed and this is a GGUF for a backend it has."""
        import importlib.util

        if importlib.util.find_spec("llama_cpp") is None:
            return "llama-cpp-python is not installed; install it with: pip install 'model-fit-advisor[llama-cpp]'"
        if deployment.file_format != "gguf":
            return f"llama.cpp loads GGUF files, not {deployment.file_format}"
        if deployment.backend not in _BACKENDS:
            return f"llama.cpp has no backend {deployment.backend!r}"
        return None

    def build(self) -> EngineBuild:
        """Name, version and build flags."""
        with open_worker(self._limits) as worker:
            return worker.build()

    @contextmanager
    def open(self, path: str, options: LoadOptions, *, limit_s: float | None = None) -> Iterator[LlamaCppSession]:
        """Load a model in a worker of its own for as long as the context lasts, within ``limit_s``."""
        with (
            open_worker(self._limits, self._meters) as worker,
            worker.open(path, options, limit_s=limit_s) as session,
        ):
            yield session
