"""The main job from start to finish: measure this machine, recommend, validate the best pick, report."""

import argparse
import subprocess
import sys
from pathlib import Path


def _advisor(*arguments: str) -> None:
    print(f"\n$ advisor {' '.join(arguments)}", flush=True)
    result = subprocess.run([sys.executable, "-m", "advisor", *arguments], check=False)
    if result.returncode not in (0, 3):
        sys.exit(result.returncode)


def main() -> None:
    """Run the four stages; a measured profile and calibration are used again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("advisor-out"))
    parser.add_argument("--task", default="coding")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    recommendation = str(options.output / "recommendation.json")
    validation = str(options.output / "validation.json")
    _advisor("scan", "--if-stale", "-o", str(options.output / "profile.json"))
    _advisor("recommend", "--task", options.task, "-o", recommendation)
    _advisor("validate", "--from", recommendation, "--top", "1", "-o", validation)
    documents = [str(options.output / "profile.json"), recommendation, validation]
    _advisor("report", *documents, "-o", str(options.output / "report.html"), "-o", str(options.output / "report.png"))


if __name__ == "__main__":
    main()
