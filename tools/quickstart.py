"""The main job from start to finish: measure this machine, recommend, validate the best pick, report."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from advisor import store


def _advisor(*arguments: str, may_fail: bool = False) -> None:
    print(f"\n$ advisor {' '.join(arguments)}", flush=True)
    result = subprocess.run([sys.executable, "-m", "advisor", *arguments], check=False)
    if result.returncode not in (0, 3) and not may_fail:
        sys.exit(result.returncode)


def main() -> None:
    """Run the four stages; a measured profile and calibration are used again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("advisor-out"))
    parser.add_argument("--task", default="coding")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    profile = str(options.output / "profile.json")
    recommendation = str(options.output / "recommendation.json")
    validation = str(options.output / "validation.json")
    if store.profile_path().exists():
        print(f"this machine was measured before: using {store.profile_path()} (advisor scan measures again)")
        shutil.copyfile(store.profile_path(), profile)
    else:
        _advisor("scan", "-o", profile)
    _advisor("recommend", "--task", options.task, "-o", recommendation)
    Path(validation).unlink(missing_ok=True)
    # what a busy machine kept from being timed is told in the report, too
    _advisor("validate", "--from", recommendation, "--top", "1", "--budget", "60s", "-o", validation, may_fail=True)
    documents = [profile, recommendation, *([validation] if Path(validation).exists() else [])]
    report, picture = str(options.output / "report.html"), str(options.output / "report.png")
    _advisor("report", *documents, "-o", report, "-o", picture)


if __name__ == "__main__":
    main()
