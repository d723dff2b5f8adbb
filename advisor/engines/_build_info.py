"""What llama.cpp says about itself and the devices it can use. Runs in the worker process only."""

import ctypes
from typing import Any


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
