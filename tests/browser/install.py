"""Set up what the browser tests need: the packages of package.json, and a Chromium to drive.

Run it again at will; it says in one line what is missing and how to get it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_MAC_CHROME = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def find_chromium() -> str | None:
    """The browser to drive: ``CHROMIUM``, or the first known name on the path."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)
    return found or (str(_MAC_CHROME) if _MAC_CHROME.exists() else None)


def main() -> int:
    """Install the packages and check that a browser is there; returns the exit code."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("node and npm are needed (version 20 or newer); on Debian: apt-get install nodejs npm", file=sys.stderr)
        return 1
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE, timeout=300, check=False
    )
    if done.returncode:
        print("npm could not install tests/browser/package.json; see its messages above", file=sys.stderr)
        return 1
    if find_chromium() is None:
        print("no Chromium found; on Debian: apt-get install chromium, or set CHROMIUM to a browser", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
