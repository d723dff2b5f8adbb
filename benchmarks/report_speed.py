"""How fast a report of the whole shelf renders and opens: ``python benchmarks/report_speed.py``.

Times a 1,400-pick recommendation in every format, each in a fresh process as a user would, and, where
the browser tests are set up, the time until its page is interactive in headless Chromium.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROWSER = ROOT / "tests" / "browser"
REPEATS = 5

RENDER = """
import sys, time
start = time.perf_counter()
from advisor import codec
from reports.renderers import rendered
document = codec.load(sys.argv[1])
loaded = time.perf_counter()
data = rendered((document,), sys.argv[2])
print(loaded - start, time.perf_counter() - loaded, len(data))
open(sys.argv[3], "wb").write(data)
"""


def write_document(folder: Path) -> Path:
    """The 1,400-pick recommendation of the tests as a JSON file."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import report_examples as examples

    from advisor import codec

    path = folder / "recommendation.json"
    codec.save(examples.large_recommendation(), path)
    return path


def time_format(document: Path, file_format: str) -> None:
    """Print the best and the median of several fresh processes."""
    target = document.with_suffix(f".{file_format}")
    runs = []
    for _ in range(REPEATS):
        command = [sys.executable, "-c", RENDER, str(document), file_format, str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=300)
        runs.append(tuple(map(float, done.stdout.split())))
    renders = sorted(render_s for _, render_s, _ in runs)
    loads = sorted(load_s for load_s, _, _ in runs)
    print(
        f"{file_format:5} render best {renders[0]:.2f} s, median {renders[len(renders) // 2]:.2f} s; "
        f"loading the JSON {loads[len(loads) // 2]:.2f} s; {runs[0][2] / 1e6:.2f} MB"
    )


def time_opening(page: Path) -> None:
    """Print when the page is interactive, if the browser tests are set up."""
    spec = importlib.util.spec_from_file_location("browser_install", BROWSER / "install.py")
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    chromium, node = module.find_chromium(), shutil.which("node")
    if chromium is None or node is None or not (BROWSER / "node_modules").is_dir():
        print("interactive: not measured; run python tests/browser/install.py first")
        return
    times = []
    for _ in range(REPEATS):
        command = [node, str(BROWSER / "drive.cjs"), str(page), "open"]
        environment = os.environ | {"CHROMIUM": chromium}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
        times.append(json.loads(done.stdout)["result"]["interactive_ms"])
    times.sort()
    print(f"interactive best {times[0]:.0f} ms, median {times[len(times) // 2]:.0f} ms after navigation")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        document = write_document(Path(folder))
        print(f"1,400 picks, {document.stat().st_size / 1e6:.1f} MB of JSON, {REPEATS} fresh processes each")
        for file_format in ("html", "md", "csv", "png"):
            time_format(document, file_format)
        time_opening(document.with_suffix(".html"))


if __name__ == "__main__":
    main()
