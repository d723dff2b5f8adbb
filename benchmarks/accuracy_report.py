"""Fit the data-sheet coefficients anew and write them with the tables that show how far they hold.

    python benchmarks/accuracy_report.py

Writes advisor/data/datasheet.json and advisor/docs/accuracy.md.
"""

import json

import batched_decode
import offload
from fit_datasheet import OUTPUT, ROOT, fit_all

from advisor.datasheets.coefficients import load_coefficients, to_document
from catalog.load import load_catalog

DOCUMENT = ROOT / "advisor" / "docs" / "accuracy.md"
INTRODUCTION = """# Accuracy of predictions from data sheets

Written by `python benchmarks/accuracy_report.py` from the published runs in `catalog/sources/published/`.
The method is in [datasheet.md](datasheet.md). Errors are |predicted / measured - 1|; bias is the median of
predicted / measured - 1; coverage is the share of rows within their 80 % interval, whose width is taken from
other chips. `advisor accuracy --published FILE.csv` scores any table of this form. Formulas that multiply a
bandwidth get the right bandwidth here, and the bytes that a token really reads."""


def main() -> None:
    """Fit, then score with what was fitted."""
    coefficients, lines = fit_all(load_catalog())
    OUTPUT.write_text(json.dumps(to_document(coefficients), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    load_coefficients.cache_clear()
    parts = [
        INTRODUCTION,
        "## Chips and models left out",
        "\n".join(lines).rstrip(),
        "## Several users at once",
        "Total decode speed of 1 to 32 users on two chips (`python benchmarks/batched_decode.py`).",
        "\n".join(batched_decode.table()),
        "## Partial offload and several GPUs",
        "Hosts that a row does not name are guessed (`python benchmarks/offload.py`).",
        "\n".join(offload.table()),
    ]
    DOCUMENT.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote {OUTPUT.relative_to(ROOT)} and {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
