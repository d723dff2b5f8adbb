"""Drive llama.cpp's C interface: load, time, answer. Runs in the worker process only.

The low-level calls are those of llama.cpp's ``llama-bench`` (``tools/llama-bench/llama-bench.cpp``): random
tokens, no sampling, one synchronise per decoded token, so that figures agree with it.
"""

import ctypes
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from advisor.engines.base import EngineError, EngineMissingError, LoadOptions, ModelRefusedError, OutOfMemoryError
from advisor.engines.buffer_log import failed_allocation_bytes, failure_reason, parse_buffers, parse_dry_run

_LOG_INFO, _LOG_CONTINUED = 2, 5
_LOG_LINES_COUNT = 4000
_STATE_CACHE_BYTES = 2 * 1024**3  # contexts deeper than this are recomputed rather than restored
_SPLIT_MODES = {"none": 0, "layer": 1, "row": 2}
_MAX_PIECE_BYTES = 1 << 20


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


class NativeModel:
    """One model with one context."""

    def __init__(self, lib: Any, log: EngineLog, path: str, options: LoadOptions) -> None:
        self._lib = lib
        self._options = options
        self._random = random.Random(0)
        self._saved: tuple[int, Any] | None = None
        self._depth_tokens = 0
        self._model = self._context = None
        log.mark()
        params = _model_params(lib, options)
        if options.experts_on_cpu_layers_count:
            self._overrides = _keep_experts_on_cpu(params, options.experts_on_cpu_layers_count)
        started = time.perf_counter()
        self._model = lib.llama_model_load_from_file(path.encode(), params)
        if not self._model:
            raise _load_error(log, f"llama.cpp cannot load {path}")
        self._context = lib.llama_init_from_model(self._model, _context_params(lib, options))
        if not self._context:
            error = _load_error(log, f"llama.cpp cannot create a context of {options.context_tokens} tokens")
            self.close()
            raise error
        self.load_s = time.perf_counter() - started
        parse = parse_dry_run if options.dry_run else parse_buffers
        self.memory_bytes = dict(parse(log.lines))
        if options.dry_run:
            self.memory_bytes["all.weights"] = int(lib.llama_model_size(self._model))
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.vocab_count = int(lib.llama_vocab_n_tokens(self._vocab))
        self.decodes = bool(lib.llama_model_has_decoder(self._model)) and bool(self._memory)

    @property
    def _memory(self) -> Any:
        return self._lib.llama_get_memory(self._context)

    def describe(self) -> dict[str, Any]:
        """What the engine says about the model."""
        lib, model = self._lib, self._model
        text = ctypes.create_string_buffer(256)
        lib.llama_model_desc(model, text, len(text))
        return {
            "load_s": self.load_s,
            "weights_bytes": int(lib.llama_model_size(model)),
            "params_count": int(lib.llama_model_n_params(model)),
            "layers_count": int(lib.llama_model_n_layer(model)),
            "vocab_count": self.vocab_count,
            "context_tokens": int(lib.llama_n_ctx(self._context)),
            "threads_count": int(lib.llama_n_threads(self._context)),
            "decodes": self.decodes,
            "description": text.value.decode("utf-8", "replace"),
            "memory_bytes": self.memory_bytes,
        }

    def close(self) -> None:
        """Free the context and the model."""
        self._saved = None
        if self._context:
            self._lib.llama_free(self._context)
            self._context = None
        if self._model:
            self._lib.llama_model_free(self._model)
            self._model = None

    # --- timed work -------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Touch every weight once, all experts included, and leave the context empty."""
        lib = self._lib
        started = time.perf_counter()
        lib.llama_set_warmup(self._context, True)
        self._step([0, 1 % self.vocab_count])
        lib.llama_set_warmup(self._context, False)
        self._clear()
        self.load_s += time.perf_counter() - started

    def prefill(self, tokens_count: int) -> dict[str, Any]:
        """Seconds per logical batch of a synthetic prompt behind what the context holds."""
        return self._timed(self._batches(self._tokens(tokens_count)))

    def decode(self, tokens_count: int, streams_count: int) -> dict[str, Any]:
        """Seconds per step of synthetic decoding, one token for each stream, behind what the context holds."""
        self._require_decoder()
        if streams_count == 1:
            return self._timed([[token] for token in self._tokens(tokens_count)])
        first = self._depth_tokens
        batches = [self._stream_batch(self._tokens(streams_count), first + step) for step in range(tokens_count)]
        try:
            return self._timed_steps([partial(self._run, batch) for batch in batches], tokens_count)
        finally:
            for batch in batches:
                self._lib.llama_batch_free(batch)

    def _stream_batch(self, tokens: Sequence[int], position: int) -> Any:
        """One token for each of several sequences, all at one position."""
        lib = self._lib
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for stream, token in enumerate(tokens):
            batch.token[stream] = token
            batch.pos[stream] = position
            batch.n_seq_id[stream] = 1
            batch.seq_id[stream][0] = stream
            batch.logits[stream] = 1
        return batch

    def _timed(self, batches: Sequence[Sequence[int]]) -> dict[str, Any]:
        arrays = [(ctypes.c_int32 * len(batch))(*batch) for batch in batches]
        steps = [partial(self._step_array, array) for array in arrays]
        return self._timed_steps(steps, sum(len(batch) for batch in batches))

    def _timed_steps(self, steps: Sequence[Callable[[], None]], grown_tokens: int) -> dict[str, Any]:
        """Run steps that lengthen the context by ``grown_tokens`` in all, a reading of the clock after each."""
        clock = time.perf_counter
        switches, cpu = _involuntary_switches(), time.process_time()
        moments = [clock()]
        for step in steps:
            step()
            moments.append(clock())
        cpu_s, after = time.process_time() - cpu, _involuntary_switches()
        self._depth_tokens += grown_tokens
        return {
            "started_s": moments[0],
            "elapsed_s": [b - a for a, b in itertools.pairwise(moments)],
            "cpu_s": cpu_s,
            "involuntary_switches_count": None if switches is None or after is None else after - switches,
        }

    def _tokens(self, count: int) -> list[int]:
        return [self._random.randrange(self.vocab_count) for _ in range(count)]

    def _batches(self, tokens: Sequence[int]) -> list[Sequence[int]]:
        size = self._options.batch_tokens if self.decodes else self._options.ubatch_tokens
        return [tokens[start : start + size] for start in range(0, len(tokens), size)]

    def _step(self, tokens: Sequence[int]) -> None:
        self._step_array((ctypes.c_int32 * len(tokens))(*tokens))

    def _step_array(self, array: Any) -> None:
        self._run(self._lib.llama_batch_get_one(array, len(array)))

    def _run(self, batch: Any) -> None:
        lib = self._lib
        status = lib.llama_decode(self._context, batch)
        if status:
            raise EngineError(f"llama.cpp could not decode {batch.n_tokens} tokens (status {status})")
        lib.llama_synchronize(self._context)

    def _clear(self) -> None:
        self._depth_tokens = 0
        if self._memory:
            self._lib.llama_memory_clear(self._memory, False)

    def _require_decoder(self) -> None:
        if not self.decodes:
            raise ModelRefusedError("this model only embeds text; it has no decode phase")

    def seek(self, depth_tokens: int, streams_count: int) -> None:
        """Leave exactly ``depth_tokens`` in the context of each stream, kept or restored where possible."""
        if depth_tokens == 0 or self._depth_tokens != depth_tokens or streams_count > 1:
            self._clear()
            if depth_tokens and not self._restore(depth_tokens):
                for batch in self._batches(self._tokens(depth_tokens)):
                    self._step(batch)
        if depth_tokens:
            self._save(depth_tokens)
        for stream in range(1, streams_count):
            self._lib.llama_memory_seq_cp(self._memory, 0, stream, -1, -1)
        self._depth_tokens = depth_tokens

    def _restore(self, depth_tokens: int) -> bool:
        if self._saved is None or self._saved[0] != depth_tokens:
            return False
        state = self._saved[1]
        if self._lib.llama_state_seq_set_data(self._context, state, len(state), 0):
            return True
        self._clear()
        return False

    def _save(self, depth_tokens: int) -> None:
        if self._saved is not None and self._saved[0] == depth_tokens:
            return
        self._saved = None
        size = int(self._lib.llama_state_seq_get_size(self._context, 0))
        if 0 < size <= _STATE_CACHE_BYTES:
            state = (ctypes.c_uint8 * size)()
            self._lib.llama_state_seq_get_data(self._context, state, size, 0)
            self._saved = (depth_tokens, state)

    def set_threads(self, threads_count: int) -> None:
        """Use another number of threads from now on."""
        self._lib.llama_set_n_threads(self._context, threads_count, threads_count)

    # --- answering --------------------------------------------------------------------------

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, special tokens parsed, with the model's own beginning token."""
        raw = text.encode()
        size = len(raw) + 16
        array = (ctypes.c_int32 * size)()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), array, size, True, True)
        if count <= 0:
            raise ModelRefusedError("this file has no tokenizer; it can be timed but not asked")
        return list(array[:count])

    def as_chat(self, text: str) -> str:
        """The text as one user turn in the model's own chat template; unchanged if it has none."""
        lib = self._lib
        template = lib.llama_model_chat_template(self._model, None)
        if not template:
            return text
        message = (lib.llama_chat_message * 1)(lib.llama_chat_message(b"user", text.encode()))
        buffer = ctypes.create_string_buffer(len(text.encode()) * 2 + 4096)
        length = lib.llama_chat_apply_template(template, message, 1, True, buffer, len(buffer))
        return buffer.raw[:length].decode("utf-8", "replace") if 0 < length <= len(buffer) else text

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        buffer = ctypes.create_string_buffer(_MAX_PIECE_BYTES)
        length = self._lib.llama_detokenize(self._vocab, array, len(tokens), buffer, len(buffer), True, False)
        return buffer.raw[: max(0, length)].decode("utf-8", "replace")

    def generate(self, prompt: str | Sequence[int], max_tokens: int, chat: bool) -> dict[str, Any]:
        """Answer greedily, every stage timed apart."""
        self._require_decoder()
        self._clear()
        clock = time.perf_counter
        started = clock()
        asked = self.as_chat(prompt) if chat and isinstance(prompt, str) else prompt
        tokens = self.tokenize(asked) if isinstance(asked, str) else list(asked)
        tokenized = clock()
        for batch in self._batches(tokens):
            self._step(batch)
        prefilled = clock()
        produced, moments, finish = self._greedy(max_tokens, stop_at_end=isinstance(prompt, str))
        self._depth_tokens = -1  # unknown to `seek`: it must start afresh
        detokenize_started = clock()
        text = self.detokenize(produced) if isinstance(prompt, str) and produced else None
        return {
            "started_s": started,
            "token_s": moments,
            "prompt_tokens": len(tokens),
            "text": text,
            "tokens": produced,
            "tokenize_s": tokenized - started,
            "prefill_s": prefilled - tokenized,
            "detokenize_s": clock() - detokenize_started,
            "finish_reason": finish,
        }

    def _greedy(self, max_tokens: int, *, stop_at_end: bool) -> tuple[list[int], list[float], str]:
        import numpy as np

        produced: list[int] = []
        moments: list[float] = []
        while len(produced) < max_tokens:
            logits = np.ctypeslib.as_array(self._lib.llama_get_logits_ith(self._context, -1), shape=(self.vocab_count,))
            token = int(logits.argmax())
            moments.append(time.perf_counter())
            if not np.isfinite(logits[token]):
                return produced, moments, "nonfinite"
            if stop_at_end and self._lib.llama_vocab_is_eog(self._vocab, token):
                return produced, moments, "stop"
            produced.append(token)
            if len(produced) < max_tokens:
                self._step([token])
        return produced, moments, "length"


def _load_error(log: EngineLog, what: str) -> ModelRefusedError | OutOfMemoryError:
    needed = failed_allocation_bytes(log.lines)
    if needed is not None:
        size = f"; it asked for {needed} bytes more" if needed else ""
        return OutOfMemoryError(f"{what}: not enough memory{size}")
    return ModelRefusedError(f"{what}: {failure_reason(log.lines)}")


def devices() -> list[dict[str, Any]]:
    """The engine's own list of devices: name, description, memory."""
    import llama_cpp._ggml as ggml

    library = ggml.libggml
    get, name, description = (getattr(library, f"ggml_backend_dev_{what}") for what in ("get", "name", "description"))
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    for function in (name, description):
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    memory = library.ggml_backend_dev_memory
    memory.restype, memory.argtypes = None, [ctypes.c_void_p] + [ctypes.POINTER(ctypes.c_size_t)] * 2
    found = []
    for index in range(library.ggml_backend_dev_count()):
        device = get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        memory(device, free, total)
        found.append(
            {
                "name": (name(device) or b"").decode(),
                "description": (description(device) or b"").decode("utf-8", "replace"),
                "free_bytes": free.value,
                "total_bytes": total.value,
            }
        )
    return found


def build_info(lib: Any) -> dict[str, Any]:
    """Version of the binding, version and commit of the library, and its build flags."""
    import llama_cpp
    import llama_cpp._ggml as ggml

    def text(function: str) -> str | None:
        call = getattr(ggml.libggml, function, None)
        if call is None:
            return None
        call.restype = ctypes.c_char_p
        value = call()
        return value.decode() if value else None

    engine_version = lib.llama_version().decode() if hasattr(lib, "llama_version") else None
    return {
        "binding_version": llama_cpp.__version__,
        "engine_version": engine_version,
        "ggml_version": text("ggml_version"),
        "ggml_commit": text("ggml_commit"),
        "system_info": lib.llama_print_system_info().decode("utf-8", "replace").strip(" |\n"),
        "gpu_offload": bool(lib.llama_supports_gpu_offload()),
    }
