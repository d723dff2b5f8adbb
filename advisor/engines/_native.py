"""Drive llama.cpp's C interface: load, time, answer. Runs in the worker process only.

The low-level calls are those of llama.cpp's ``llama-bench`` (``tools/llama-bench/llama-bench.cpp``): random
tokens, no sampling, one synchronise per decoded token, so that figures agree with it.
"""

import ctypes
import itertools
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from advisor.engines._depth import DepthKeeper
from advisor.engines.base import EngineError, EngineMissingError, LoadOptions, ModelRefusedError, OutOfMemoryError
from advisor.engines.buffer_log import failed_allocation_bytes, failure_reason, parse_buffers, parse_dry_run

_LOG_INFO, _LOG_CONTINUED = 2, 5
_LOG_LINES_COUNT = 4000
_LEAST_STEPS_COUNT = 3  # timed even where the time is over
_SPLIT_MODES = {"none": 0, "layer": 1, "row": 2}


class EngineLog:
    """The engine's log, whole lines of INFO and above, bounded."""

    def __init__(self, lib: Any) -> None:
        self.lines: deque[str] = deque(maxlen=_LOG_LINES_COUNT)
        self._partial = ""
        self._level = _LOG_INFO
        self._callback = lib.llama_log_callback(self._receive)  # must outlive every call into the engine
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _receive(self, level: int, text: bytes | None, _: object) -> None:
        if level != _LOG_CONTINUED:
            self._level = level
        if self._level < _LOG_INFO or not text:
            return
        self._partial = (self._partial + text.decode("utf-8", "replace"))[-8192:]
        *whole, self._partial = self._partial.split("\n")
        self.lines.extend(whole)

    def mark(self) -> None:
        """Forget what came before, so that the next reading covers one call."""
        self.lines.clear()


def import_engine() -> Any:
    """The low-level module of llama-cpp-python.

    Raises:
        EngineMissingError: if it is not installed or its library does not load.
    """
    try:
        from llama_cpp import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineMissingError(
            f"llama-cpp-python cannot be imported ({error});"
            " install it with: pip install 'model-fit-advisor[llama-cpp]'"
        ) from error
    return llama_cpp


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _ggml_type_ids() -> dict[str, int]:
    from gguf.constants import GGMLQuantizationType

    return {kind.name.lower(): int(kind.value) for kind in GGMLQuantizationType}


def _model_params(lib: Any, options: LoadOptions) -> Any:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = options.gpu_layers_count
    params.split_mode = _SPLIT_MODES.get(options.split_mode, 1)
    params.use_extra_bufts = options.repack
    if hasattr(params, "load_mode"):
        params.load_mode = int(options.mmap)
    else:  # llama-cpp-python before 0.3.30
        params.use_mmap = options.mmap
    if options.dry_run:  # the engine lays out without mapping: mapped weights are reported as plain ones
        params.no_alloc = True
        params.load_mode = 0
    return params


def _context_params(lib: Any, options: LoadOptions) -> Any:
    types = _ggml_type_ids()
    params = lib.llama_context_default_params()
    params.n_ctx = options.context_tokens * options.streams_count
    params.n_batch = options.batch_tokens
    params.n_ubatch = options.ubatch_tokens
    params.n_seq_max = options.streams_count
    if options.threads_count:
        params.n_threads = params.n_threads_batch = options.threads_count
    params.flash_attn_type = -1 if options.flash_attention else 0  # auto: on where the model allows it
    for side, name in (("type_k", options.k_type), ("type_v", options.v_type)):
        if name.lower() not in types:
            raise ModelRefusedError(f"KV cache type {name!r} is unknown; use f16, q8_0 or q4_0")
        setattr(params, side, types[name.lower()])
    params.embeddings = options.embeddings
    params.swa_full = False
    params.op_offload = options.op_offload
    return params


class _TensorOverride(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def _keep_experts_on_cpu(params: Any, layers_count: int) -> Any:
    """Point the first layers' routed experts at CPU memory (``--n-cpu-moe``); returns what must stay alive."""
    import llama_cpp._ggml as ggml

    buffer_type = ggml.libggml.ggml_backend_cpu_buffer_type
    buffer_type.restype = ctypes.c_void_p
    array = (_TensorOverride * (layers_count + 1))()
    for layer in range(layers_count):
        pattern = rf"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps".encode()
        array[layer] = _TensorOverride(pattern, buffer_type())
    params.tensor_buft_overrides = ctypes.cast(array, ctypes.c_void_p)
    return array


def _offer_devices(params: Any, names: Sequence[str]) -> Any:
    """Let the engine use no accelerators but these; returns what must stay alive.

    Raises:
        EngineError: if the build knows no device of a name.
    """
    import llama_cpp._ggml as ggml

    find = ggml.libggml.ggml_backend_dev_by_name
    find.argtypes, find.restype = [ctypes.c_char_p], ctypes.c_void_p
    found = [find(name.encode()) for name in names]
    if None in found:
        raise EngineError(f"the installed llama.cpp has no device {names[found.index(None)]!r}; see: advisor doctor")
    array = (ctypes.c_void_p * (len(found) + 1))(*found)
    params.devices = ctypes.cast(array, ctypes.c_void_p)
    return array


class NativeModel:
    """One model with one context."""

    def __init__(self, lib: Any, log: EngineLog, path: str, options: LoadOptions) -> None:
        self.lib = lib
        self._options = options
        self._random = random.Random(0)
        self.handle = self.context = None
        log.mark()
        params = _model_params(lib, options)
        if options.experts_on_cpu_layers_count:
            self._overrides = _keep_experts_on_cpu(params, options.experts_on_cpu_layers_count)
        if options.devices is not None:
            self._devices = _offer_devices(params, options.devices)
        started = time.perf_counter()
        self.handle = lib.llama_model_load_from_file(path.encode(), params)
        if not self.handle:
            raise _load_error(log, f"llama.cpp cannot load {path}")
        context_params = _context_params(lib, options)
        self.context = lib.llama_init_from_model(self.handle, context_params)
        if not self.context:
            error = _load_error(log, f"llama.cpp cannot create a context of {options.context_tokens} tokens")
            self.close()
            raise error
        self.load_s = time.perf_counter() - started
        parse = parse_dry_run if options.dry_run else parse_buffers
        self.memory_bytes = dict(parse(log.lines))
        if options.dry_run:
            self.memory_bytes["all.weights"] = int(lib.llama_model_size(self.handle))
        self.vocab = lib.llama_model_get_vocab(self.handle)
        self.vocab_count = int(lib.llama_vocab_n_tokens(self.vocab))
        self.decodes = bool(lib.llama_model_has_decoder(self.handle)) and bool(self.memory)
        self.depths = DepthKeeper(self, context_params)

    @property
    def memory(self) -> Any:
        """The context's memory of earlier tokens; null for an encoder."""
        return self.lib.llama_get_memory(self.context)

    def describe(self) -> dict[str, Any]:
        """What the engine says about the model."""
        lib, model = self.lib, self.handle
        text = ctypes.create_string_buffer(256)
        lib.llama_model_desc(model, text, len(text))
        return {
            "load_s": self.load_s,
            "weights_bytes": int(lib.llama_model_size(model)),
            "params_count": int(lib.llama_model_n_params(model)),
            "layers_count": int(lib.llama_model_n_layer(model)),
            "vocab_count": self.vocab_count,
            "context_tokens": int(lib.llama_n_ctx(self.context)),
            "threads_count": int(lib.llama_n_threads(self.context)),
            "decodes": self.decodes,
            "jumps": self.depths.jumps,
            "description": text.value.decode("utf-8", "replace"),
            "memory_bytes": self.memory_bytes,
        }

    def close(self) -> None:
        """Free the context and the model."""
        if self.context:
            self.lib.llama_free(self.context)
            self.context = None
        if self.handle:
            self.lib.llama_model_free(self.handle)
            self.handle = None

    # --- timed work -------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Touch every weight once, all experts included, and leave the context empty."""
        lib = self.lib
        started = time.perf_counter()
        lib.llama_set_warmup(self.context, True)
        self.step([0, 1 % self.vocab_count])
        lib.llama_set_warmup(self.context, False)
        self.load_s += time.perf_counter() - started
        self.depths.try_out()

    def prefill(self, tokens_count: int) -> dict[str, Any]:
        """Seconds per logical batch of a synthetic prompt behind what the context holds."""
        return self._timed(self.batches(self.random_tokens(tokens_count)))

    def decode(self, tokens_count: int, streams_count: int, limit_s: float | None = None) -> dict[str, Any]:
        """Seconds per step of synthetic decoding, one token for each stream, behind what the context holds.

        No step is begun once ``limit_s`` seconds are over, but for the first few.
        """
        self.require_decoder()
        if streams_count == 1:
            return self._timed([[token] for token in self.random_tokens(tokens_count)], limit_s)
        first = self.depths.depth_tokens
        batches = [self._stream_batch(self.random_tokens(streams_count), first + step) for step in range(tokens_count)]
        try:
            return self._timed_steps([(partial(self.run, batch), 1) for batch in batches], limit_s)
        finally:
            for batch in batches:
                self.lib.llama_batch_free(batch)

    def _stream_batch(self, tokens: Sequence[int], position: int) -> Any:
        """One token for each of several sequences, all at one position."""
        lib = self.lib
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for stream, token in enumerate(tokens):
            batch.token[stream] = token
            batch.pos[stream] = position
            batch.n_seq_id[stream] = 1
            batch.seq_id[stream][0] = stream
            batch.logits[stream] = 1
        return batch

    def _timed(self, batches: Sequence[Sequence[int]], limit_s: float | None = None) -> dict[str, Any]:
        arrays = [(ctypes.c_int32 * len(batch))(*batch) for batch in batches]
        return self._timed_steps([(partial(self._step_array, array), len(array)) for array in arrays], limit_s)

    def _timed_steps(
        self, steps: Sequence[tuple[Callable[[], None], int]], limit_s: float | None = None
    ) -> dict[str, Any]:
        """Run steps, each with how many tokens it lengthens the context by, a reading of the clock after each."""
        clock = time.perf_counter
        switches, cpu = _involuntary_switches(), time.process_time()
        moments = [clock()]
        latest = math.inf if limit_s is None else moments[0] + limit_s
        for step, _ in steps:
            if len(moments) > _LEAST_STEPS_COUNT and moments[-1] > latest:
                break
            step()
            moments.append(clock())
        cpu_s, after = time.process_time() - cpu, _involuntary_switches()
        self.depths.grow(sum(tokens for _, tokens in steps[: len(moments) - 1]))
        return {
            "started_s": moments[0],
            "elapsed_s": [b - a for a, b in itertools.pairwise(moments)],
            "cpu_s": cpu_s,
            "involuntary_switches_count": None if switches is None or after is None else after - switches,
        }

    def random_tokens(self, count: int) -> list[int]:
        """Token ids that mean nothing."""
        return [self._random.randrange(self.vocab_count) for _ in range(count)]

    def batches(self, tokens: Sequence[int]) -> list[Sequence[int]]:
        """A prompt as it is handed over: in logical batches, to encoders in micro-batches."""
        size = self._options.batch_tokens if self.decodes else self._options.ubatch_tokens
        return [tokens[start : start + size] for start in range(0, len(tokens), size)]

    def step(self, tokens: Sequence[int]) -> None:
        """Work through tokens at the end of the context and wait for the result."""
        self._step_array((ctypes.c_int32 * len(tokens))(*tokens))

    def _step_array(self, array: Any) -> None:
        self.run(self.lib.llama_batch_get_one(array, len(array)))

    def run(self, batch: Any) -> None:
        """Work through a batch of the engine's own making and wait for the result."""
        lib = self.lib
        status = lib.llama_decode(self.context, batch)
        if status:
            raise EngineError(f"llama.cpp could not decode {batch.n_tokens} tokens (status {status})")
        lib.llama_synchronize(self.context)

    def require_decoder(self) -> None:
        """Refuse an encoder.

        Raises:
            ModelRefusedError: if this model only embeds text.
        """
        if not self.decodes:
            raise ModelRefusedError("this model only embeds text; it has no decode phase")

    def set_threads(self, threads_count: int) -> None:
        """Use another number of threads from now on."""
        self.lib.llama_set_n_threads(self.context, threads_count, threads_count)


def _load_error(log: EngineLog, what: str) -> ModelRefusedError | OutOfMemoryError:
    needed = failed_allocation_bytes(log.lines)
    if needed is not None:
        size = f"; it asked for {needed} bytes more" if needed else ""
        return OutOfMemoryError(f"{what}: not enough memory{size}")
    return ModelRefusedError(f"{what}: {failure_reason(log.lines)}")
