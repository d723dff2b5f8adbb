"""Install the project into the running environment, telling honestly what takes long.

llama-cpp-python has no wheel for every platform and is then compiled; that takes minutes, so the
compiler's absence is reported before the attempt and the time is shown during it.
"""

import argparse
import shutil
import subprocess
import sys
import threading
import time


def _pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments]


def _run(label: str, command: list[str]) -> None:
    """Run a command under a line that shows it is alive; its output appears if it fails."""
    started_s = time.monotonic()
    done = threading.Event()
    ticker = threading.Thread(target=_tick, args=(label, started_s, done), daemon=True)
    ticker.start()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    done.set()
    ticker.join()
    elapsed_s = time.monotonic() - started_s
    if result.returncode != 0:
        sys.stderr.write(result.stdout[-4000:] + result.stderr[-8000:])
        sys.exit(f"==> {label}: failed after {elapsed_s:.0f} s; the lines above say why")
    print(f"==> {label}: done in {elapsed_s:.0f} s", flush=True)


def _tick(label: str, started_s: float, done: threading.Event) -> None:
    interval_s = 0.5 if sys.stderr.isatty() else 30.0
    while not done.wait(interval_s):
        elapsed_s = time.monotonic() - started_s
        end = "\r" if sys.stderr.isatty() else "\n"
        sys.stderr.write(f"    {label} ... {elapsed_s:.0f} s{end}")
        sys.stderr.flush()


def _compiler_missing() -> bool:
    return sys.platform != "win32" and not any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def main() -> None:
    """Install the engine first, then the project with its extras."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constraint", required=True)
    parser.add_argument("--extras", default="full,dev")
    options = parser.parse_args()
    if _compiler_missing():
        advice = "Debian: apt install build-essential; macOS: xcode-select --install"
        sys.exit(f"==> no C++ compiler found; install one ({advice})")
    _run("installing pip's own tools", _pip("--upgrade", "pip", "wheel", "-c", options.constraint))
    _run(
        "compiling llama.cpp (4-8 minutes the first time, seconds when a built wheel is cached)",
        _pip("llama-cpp-python", "-c", options.constraint),
    )
    _run("installing the advisor", _pip("-e", f".[{options.extras}]", "-c", options.constraint))


if __name__ == "__main__":
    main()
