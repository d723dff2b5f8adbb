"""What of a document an assistant needs: a few figures with units in their names, and plain words.

Everything that may come from a file or the catalog passes `inert`, so that a model's name cannot pose as
instructions on lines of their own. Pure functions of the documents of the command-line contract.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from advisor.export.text import inert
from catalog.units import GIB
from reports import wording

Answer = dict[str, Any]
_REASONS_COUNT = 6
_CHANGES_COUNT = 4
_MACHINES_PER_CLASS = 2
_TEXT_CHARS = 300


def text(value: object) -> str:
    """A value of a document as one line."""
    return inert(str(value), max_chars=_TEXT_CHARS)


def texts(values: Sequence[object], count: int = _REASONS_COUNT) -> list[str]:
    """The first of several lines."""
    return [text(value) for value in values[:count]]


def recommendation(document: Mapping[str, Any], count: int) -> Answer:
    """The first picks, each with what speaks for it."""
    picks = [pick(choice) for choice in document["ranked"][:count]]
    return {
        "task": document["task"],
        "machine": text(document["hardware"]),
        "workload": document["workload"],
        "picks": picks,
        "models_considered": document["considered_count"],
        "note": "speeds and quality are predictions with 80 % ranges; validate_pick measures the speed",
    }


def pick(choice: Mapping[str, Any]) -> Answer:
    """One ranked pick."""
    made = choice["estimate"]
    answer = {
        "rank": choice["rank"],
        "model": f"{text(made['model_id'])}:{text(made['quant_id'])}",
        "quality_of_100": span(choice["quality"]),
        "quality_is_measured": not choice["quality"]["imputed"],
        **_speed_and_memory(made),
        "license": text(choice["license_id"] or "unknown"),
        "released": text(choice["release_date"] or "unknown"),
        "on_this_machine": choice["local_path"] is not None,
        "reasons": texts(choice["reasons"]),
        "command": text(choice["command"]) if len(choice["command"]) <= _TEXT_CHARS else "see: advisor export",
    }
    if choice["about_equal_to_rank"]:
        answer["about_equal_to_rank"] = choice["about_equal_to_rank"]
    return answer


def _speed_and_memory(made: Mapping[str, Any]) -> Answer:
    memory = made["memory"]
    available = [device["available_bytes"] for device in memory["devices"]]
    return {
        "tokens_per_second": span(made["decode_tokens_per_s"]),
        "prompt_tokens_per_second": span(made["prefill_tokens_per_s"]),
        "seconds_to_first_token": span(made["first_token_s"]),
        "memory_gib": gib(memory["total_bytes"]),
        "memory_available_gib": gib(sum(available)) if None not in available else None,
        "fits": memory["fits"],
    }


def span(interval: Mapping[str, float]) -> Answer:
    """A range that holds 80 % of outcomes, around its middle."""
    return {key: rounded(interval[key]) for key in ("low", "mid", "high")}


def rounded(value: float) -> float:
    """Three digits: more would claim more than is known."""
    return float(f"{value:.3g}")


def gib(count_bytes: float) -> float:
    """Bytes as GiB."""
    return rounded(count_bytes / GIB)


def estimate(document: Mapping[str, Any]) -> Answer:
    """One prediction with the settings it holds for."""
    deployment = document["deployment"]
    return {
        "model": f"{text(document['model_id'])}:{text(document['quant_id'])}",
        "engine": text(document["engine_id"]),
        "workload": document["workload"],
        **_speed_and_memory(document),
        "settings": {
            "kv_cache": text(deployment["kv_quant_id"]),
            "layers_by_device": {text(device): count for device, count in deployment["layers_by_device"].items()},
            "threads": deployment["threads_count"],
        },
        "basis": document["basis"],
        "caveats": [text(wording.estimate_warning(warning)) for warning in document["warnings"]],
        "slowest_parts_of_a_token": [text(term["name"]) for term in _slowest(document["terms"])],
    }


def _slowest(terms: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    decode = [term for term in terms if term["name"].startswith("decode")]
    return sorted(decode, key=lambda term: -float(term["time_s"]))[:3]


def standing(document: Mapping[str, Any]) -> Answer:
    """Where the model that was asked about stands: its verdict, what it lost on, what would mend that, and the pick."""
    found = document["why"]
    answer: Answer = {
        "task": document["task"],
        "machine": text(document["hardware"]),
        "verdict": text(found["verdict"]),
        "rank": found["rank"],
        "lost_on": texts(found["lost_on"]),
        "changes_that_would_help": [
            f"{text(change['option'])}: {text(change['effect'])}" for change in found["changes"][:_CHANGES_COUNT]
        ],
    }
    if document["ranked"] and found["rank"] != 1:
        answer["first_pick_instead"] = pick(document["ranked"][0])
    return answer


def shopping(document: Mapping[str, Any], max_price_usd: float | None) -> Answer:
    """The cheapest machines of each kind that run a model, and what they cost."""
    affordable = [row for row in document["rows"] if _affordable(row, max_price_usd)]
    kinds = dict.fromkeys(row["machine_class"] for row in affordable)
    machines = [
        machine(row)
        for kind in kinds
        for row in [row for row in affordable if row["machine_class"] == kind][:_MACHINES_PER_CLASS]
    ]
    here = document["here"]
    return {
        "model": text(document["model_id"]),
        "limits": {name: value for name, value in document["limits"].items() if value},
        "machines": machines,
        "machines_that_qualify": len(affordable),
        "this_machine_runs_it": here is not None and here["memory"]["fits"],
        "note": "prices are as recorded in the catalog; speeds are from data sheets, with 80 % ranges",
    }


def _affordable(row: Mapping[str, Any], max_price_usd: float | None) -> bool:
    return max_price_usd is None or (row["price_usd"] is not None and row["price_usd"] <= max_price_usd)


def machine(row: Mapping[str, Any]) -> Answer:
    """One machine that runs a model."""
    made = row["estimate"]
    return {
        "machine": text(row["hardware"]),
        "kind": row["machine_class"],
        "price_usd": row["price_usd"],
        "power_w": row["power_w"],
        "runs": text(made["quant_id"]),
        "tokens_per_second": span(made["decode_tokens_per_s"]),
        "seconds_to_first_token": span(made["first_token_s"]),
        "memory_gib": gib(made["memory"]["total_bytes"]),
    }


def validation(document: Mapping[str, Any]) -> Answer:
    """What was measured beside what was predicted."""
    return {"machine": text(document["hardware"]), "records": [_record(record) for record in document["records"]]}


def _record(record: Mapping[str, Any]) -> Answer:
    made, observed = record["estimate"], record["observed"]
    answer: Answer = {
        "model": f"{text(made['model_id'])}:{text(made['quant_id'])}",
        "status": record["status"],
        "weights": record["weights"],
        "predicted": _speed_and_memory(made),
        "measured": {
            "tokens_per_second": _rounded(observed["decode_tokens_per_s"]),
            "prompt_tokens_per_second": _rounded(observed["prefill_tokens_per_s"]),
            "seconds_to_first_token": _rounded(observed["first_token_s"]),
            "peak_memory_gib": gib(observed["peak_memory_bytes"]) if observed["peak_memory_bytes"] else None,
        },
        "within_predicted_range": record["within_interval"],
        "other_programs_were_busy": record["polluted"],
        "notes": texts(record["notes"]),
    }
    if record["reason"]:
        answer["reason"] = text(record["reason"])
    return answer


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def profile(document: Mapping[str, Any]) -> Answer:
    """A machine in a few lines."""
    host = document["host"]
    return {
        "processor": text(host["cpu_name"] or "unknown"),
        "cores": host["cores_count"],
        "memory_gib": gib(host["memory_total_bytes"]) if host["memory_total_bytes"] else None,
        "system": text(f"{host['os']} {host['machine'] or ''}"),
        "devices": [_device(device) for device in document["devices"]],
        "measured_at": document["created_at"],
    }


def _device(device: Mapping[str, Any]) -> Answer:
    total = device["memory_total_bytes"]
    return {
        "device": text(device["device_id"]),
        "name": text(device["name"] or device["kind"]),
        "memory_gib": gib(total) if total else None,
    }
