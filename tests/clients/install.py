"""Set up the programs that the client tests run: Node programs, Python programs, each kind in a place of its own.

Run it again at will: what is there is kept. What cannot be installed here is said in one line, and its
tests are skipped with that reason; only Node and the packages of package.json are required.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
LIMIT_S = 1800
#: Folder of a Python environment -> what is installed in it. Each alone: they disagree about shared packages.
PYTHON_PROGRAMS = {
    ".venv-langgraph": ("langgraph==1.2.22", "langchain-openai==1.7.3"),
    ".venv-litellm": ("litellm[proxy]==1.106.2",),
}
#: Read, not run: its dependencies are several GiB. Its own source names the variables that it reads.
SOURCES = {".venv-open-webui": "open-webui==0.12.4"}
#: n8n's compiled parts that importing a workflow needs.
N8N_COMPILED = ("sqlite3", "isolated-vm")


def node_folder() -> Path:
    """The folder of the Node that is installed here."""
    return HERE / "node" / "node_modules" / "node" / "bin"


def python_of(folder: str) -> Path:
    """The interpreter of one of the environments."""
    return HERE / folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment() -> dict[str, str]:
    """Variables under which the Node programs are run: our Node first, its own headers for compiled parts."""
    headers = next((HERE / "node").glob("node_modules/node/node_modules/node-*/include"), None)
    extra = {"npm_config_nodedir": str(headers.parent)} if headers else {}
    return {**os.environ, "PATH": f"{node_folder()}{os.pathsep}{os.environ['PATH']}", **extra}


def run(command: Sequence[str], cwd: Path, env: dict[str, str] | None = None) -> bool:
    """Whether a command ended well."""
    print("+", " ".join(command), flush=True)
    return subprocess.run(command, cwd=cwd, env=env, timeout=LIMIT_S, check=False).returncode == 0


def npm_install(folder: Path, *options: str) -> bool:
    """Install what a folder's package.json lists, exactly those versions."""
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
    return run([str(shutil.which("npm")), "install", *quiet, *options], folder, environment())


def install_node_programs() -> bool:
    """Node itself, then what package.json lists."""
    if shutil.which("npm") is None:
        print("npm is needed; on Debian: apt-get install nodejs npm", file=sys.stderr)
        return False
    return npm_install(HERE / "node") and npm_install(HERE)


def install_n8n() -> bool:
    """n8n without its install scripts, then the two compiled parts it needs."""
    folder = HERE / "n8n"
    if (folder / "node_modules" / "n8n" / "bin" / "n8n").exists():
        return True
    rebuild = [str(shutil.which("npm")), "rebuild", *N8N_COMPILED, "--loglevel=error"]
    return npm_install(folder, "--ignore-scripts") and run(rebuild, folder, environment())


def install_python(folder: str, packages: Sequence[str], *options: str) -> bool:
    """An environment with packages; what is there is kept."""
    if not python_of(folder).exists():
        venv.create(HERE / folder, with_pip=True)
    return run([str(python_of(folder)), "-m", "pip", "install", "--quiet", *options, *packages], HERE)


def main() -> int:
    """Install everything; returns the exit code."""
    if not install_node_programs():
        return 1
    missing = [] if install_n8n() else ["n8n"]
    missing += [folder for folder, packages in PYTHON_PROGRAMS.items() if not install_python(folder, packages)]
    missing += [folder for folder, package in SOURCES.items() if not install_python(folder, [package], "--no-deps")]
    if shutil.which("docker-compose") is None:
        missing.append("docker-compose (on Debian: apt-get install docker-compose)")
    if shutil.which("systemd-analyze") is None:
        missing.append("systemd-analyze (part of systemd)")
    for name in missing:
        print(f"not installed, its tests are skipped: {name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
