"""Rebuild the packaged catalog from its sources: ``python -m catalog.build``.

The same sources give the same bytes. ``--raw DIR`` first compresses a directory of raw facts into
``catalog/sources``.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from catalog.facts.chips import chip_records
from catalog.facts.from_sources import FACTS_DATE, fit_scores, read_model_records
from catalog.facts.model_names import name_tiers
from catalog.facts.offers import price_records, sampling_records
from catalog.facts.packing import pack_sources
from catalog.facts.quants import quant_records
from catalog.facts.scores import Scores
from catalog.facts.sources import SOURCES_DIR, read_plain_table, read_table

DATA_DIR = Path(__file__).resolve().parent / "data"


def build(sources_dir: Path = SOURCES_DIR, data_dir: Path = DATA_DIR) -> str:
    """Write every packaged data file; returns the catalog's version (a date and a content hash)."""
    models = read_model_records(sources_dir)
    quants = quant_records(read_table("quants", sources_dir), FACTS_DATE)
    chips = _chips(sources_dir)
    chip_ids = [record["chip_id"] for record in chips]
    scores = fit_scores(sources_dir, models)
    files = {
        "models.jsonl": _lines(models),
        "names.json": _document(name_tiers(models)),
        "scores.json": _document(_packed_scores(scores)),
        "accuracy.json": _document([asdict(test) for test in scores.left_out]),
        "quants.jsonl": _lines(quants),
        "chips.jsonl": _lines(chips),
        "prices.json": _document(_prices(sources_dir, chip_ids)),
        "sampling.json": _document(sampling_records(read_plain_table("sampling", sources_dir))),
    }
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()[:10]
    version = f"{FACTS_DATE}+{digest}"
    ids = {
        "models": [record["model_id"] for record in models],
        "quants": [record["quant_id"] for record in quants],
        "chips": chip_ids,
    }
    files["index.json"] = _document({"version": version, "ids": ids})
    data_dir.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (data_dir / name).write_bytes(data)
    return version


def _chips(sources_dir: Path) -> list[dict[str, Any]]:
    rows = [*read_table("chips", sources_dir), *read_plain_table("chips_more", sources_dir)]
    aliases, pci_ids, apple = (
        read_plain_table(name, sources_dir) for name in ("chip_aliases", "pci_ids", "apple_memory")
    )
    return chip_records(rows, aliases, pci_ids, apple, FACTS_DATE)


def _prices(sources_dir: Path, chip_ids: Sequence[str]) -> dict[str, Any]:
    prices, power = (read_plain_table(name, sources_dir) for name in ("prices", "computer_power"))
    return price_records(prices, power, chip_ids)


def _packed_scores(scores: Scores) -> dict[str, Any]:
    """Scores with each evidence text stored once."""
    texts = sorted({text for tasks in scores.records.values() for record in tasks.values() for text in record[4]})
    number = {text: position for position, text in enumerate(texts)}
    models = {
        model_id: {
            task: [*record[:3], int(record[3]), [number[text] for text in record[4]]] for task, record in tasks.items()
        }
        for model_id, tasks in scores.records.items()
    }
    return {"evidence": texts, "fallback": scores.fallback, "models": models}


def _document(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n").encode()


def _lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(_document(record) for record in records)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the build from the command line."""
    parser = argparse.ArgumentParser(prog="python -m catalog.build", description=__doc__)
    parser.add_argument("--raw", type=Path, metavar="DIR", help="compress raw facts from DIR into the sources first")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="where to write (default: catalog/data)")
    options = parser.parse_args(arguments)
    if options.raw:
        pack_sources(options.raw, SOURCES_DIR)
    version = build(data_dir=options.data_dir)
    sys.stdout.write(f"catalog {version} written to {options.data_dir}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
