"""Ask the real quantiser which type it would give each tensor; run as a child process, answers in JSON.

Arguments: an F16 GGUF, then file types as llama.cpp numbers them. Weights are neither read nor written.
"""

import ctypes
import json
import re
import sys

import llama_cpp

LINE = re.compile(r"\[\s*\d+/\s*\d+\]\s+(\S+)\s+- \[[^\]]*\], type =\s*(\w+), size =[^\n]*?(?:\((\w+)\))?\n")
lines: list[str] = []


@llama_cpp.llama_log_callback
def keep(_level: int, message: bytes, _data: object) -> None:
    lines.append(message.decode("utf-8", "replace"))


def types(path: str, file_type: int, *, with_imatrix: bool) -> dict[str, str]:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.dry_run, params.nthread = file_type, True, 1
    if with_imatrix:
        data = (ctypes.c_float * 1)(1.0)
        entries = (llama_cpp.llama_model_imatrix_data * 2)()
        entries[0].name, entries[0].data, entries[0].size = b"none", data, 1
        params.imatrix = entries
    lines.clear()
    if llama_cpp.llama_model_quantize(path.encode(), b"unused.gguf", ctypes.byref(params)):
        raise SystemExit("".join(lines)[-2000:])
    return {name: (after or before).upper() for name, before, after in LINE.findall("".join(lines))}


if __name__ == "__main__":
    llama_cpp.llama_log_set(keep, ctypes.c_void_p(0))
    path, *numbers = sys.argv[1:]
    answer = {
        f"{number}/{int(imatrix)}": types(path, int(number), with_imatrix=imatrix)
        for number in numbers
        for imatrix in (False, True)
    }
    json.dump(answer, sys.stdout)
