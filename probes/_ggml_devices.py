"""List the devices llama.cpp's installed build can use, as JSON on stdout.

Runs as a script in a process of its own: a build for another processor dies of an illegal instruction
when it is loaded, and GPU back ends may crash or hang while they look for devices.
"""

import contextlib
import ctypes
import importlib.metadata
import json
import os
import sys
from typing import Any

#: ggml_backend_dev_type; builds before the integrated kind was added have 2 for accelerators
_KINDS = ("cpu", "gpu", "igpu", "accel")


def _describe(lib: ctypes.CDLL, index: int) -> dict[str, Any]:
    device = ctypes.c_void_p(lib.ggml_backend_dev_get(ctypes.c_size_t(index)))
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    lib.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    backend = lib.ggml_backend_reg_name(ctypes.c_void_p(lib.ggml_backend_dev_backend_reg(device))).decode()
    number = lib.ggml_backend_dev_type(device)
    kind = _KINDS[number] if 0 <= number < len(_KINDS) else "gpu"
    if kind == "igpu" and backend in ("BLAS", "AMX", "Accelerate"):
        kind = "accel"
    return {
        "name": lib.ggml_backend_dev_name(device).decode(errors="replace"),
        "description": lib.ggml_backend_dev_description(device).decode(errors="replace"),
        "backend": backend,
        "kind": kind,
        "memory_total_bytes": total.value,
        "memory_free_bytes": free.value,
    }


def _library() -> ctypes.CDLL:
    import llama_cpp
    from llama_cpp import _ggml

    lib: ctypes.CDLL = _ggml.libggml
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    lib.ggml_backend_dev_count.restype = ctypes.c_size_t
    lib.ggml_backend_dev_get.restype = pointer
    lib.ggml_backend_dev_backend_reg.restype = pointer
    for name in ("ggml_backend_dev_name", "ggml_backend_dev_description", "ggml_backend_reg_name"):
        getattr(lib, name).restype = text
    if hasattr(lib, "ggml_backend_load_all_from_path"):
        folder = os.path.join(os.path.dirname(llama_cpp.__file__), "lib")  # noqa: PTH118, PTH120 - a path as bytes
        lib.ggml_backend_load_all_from_path(os.fsencode(folder))
    return lib


def main() -> None:
    """Print one JSON object; back ends log to stderr."""
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):  # noqa: PTH123
        import llama_cpp

        lib = _library()
        devices = [_describe(lib, index) for index in range(lib.ggml_backend_dev_count())]
        features = llama_cpp.llama_print_system_info().decode(errors="replace")
    version = importlib.metadata.version("llama-cpp-python")
    json.dump({"version": version, "devices": devices, "features": features}, sys.stdout)


if __name__ == "__main__":
    main()
