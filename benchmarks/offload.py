"""Compare partial offload on published runs with the estimator: experts or layers on the CPU, several GPUs.

    python benchmarks/offload.py

Hosts that a row does not name are taken to have two channels of DDR5-5600 (DDR4-3200 beside cards of before
2020), so these errors hold that guess too, as they do that of the link: 16 lanes of PCIe 4.0, but 4 of PCIe 3.0 for
the second card of one desktop, whose prompts moved 2.3 GB/s of experts. Rows of unnamed cards are left out.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator

from fit_datasheet import read_rows

from advisor.datasheets.datasheet import rates_for_chip
from advisor.datasheets.published import RowError, artifact_of
from advisor.estimate import estimate
from advisor.machine import CPU_DEVICE_ID, Machine, MachineDevice
from advisor.types import Deployment, Estimate, Workload
from catalog.errors import CatalogError
from catalog.load import Catalog, load_catalog
from catalog.types import ModelSpec

MODELS = {
    "Qwen3.6-35B-A3B": "Qwen/Qwen3.6-35B-A3B",
    "Qwen3.5-35B-A3B": "Qwen/Qwen3.5-35B-A3B",
    "gemma4 26B.A4B": "google/gemma-4-26B-A4B-it",
    "gpt-oss 120B": "openai/gpt-oss-120b",
    "Kimi-K2.5 (deepseek2 arch)": "moonshotai/Kimi-K2.5",
    "Qwen3.5-397B-A17B": "Qwen/Qwen3.5-397B-A17B",
}
HOSTS = {"Ryzen Threadripper PRO 5975WX": "AMD Ryzen Threadripper PRO 5975WX (DDR4-3200 8ch)"}
SERVER_HOST = "AMD EPYC 7742 (DDR4-3200 8ch)"
OLD_HOST, NEW_HOST = "DDR4-3200 dual channel desktop", "DDR5-5600 dual channel desktop"
BACKENDS = {"NVIDIA": "cuda", "AMD": "rocm"}
#: The card that shares a desktop with another (rows of one source): a slot of four lanes, PCIe 3.0.
LINKS = {"NVIDIA GeForce RTX 3060": {"cuda:0": 3.2e9}}
SECOND_CARD_HOST = "zen4"
PLENTY_BYTES = 1 << 44
GIB = 1 << 30


def machine_of(row: dict[str, str], catalog: Catalog) -> Machine:
    """The row's cards and its host, or a usual one."""
    names = row["gpu"].split(" + ") if " + " in row["gpu"] else [row["gpu"]] * int(float(row["n_gpus"] or 1))
    chips = [catalog.chip(name if name.startswith(("NVIDIA", "AMD")) else f"NVIDIA GeForce {name}") for name in names]
    devices = []
    for index, chip in enumerate(chips):
        backend = BACKENDS[chip.vendor]
        device_id = f"{backend}:{index}"
        rates = rates_for_chip(chip, backend, device_id=device_id)
        devices.append(
            MachineDevice(
                device_id=device_id,
                backend=backend,
                name=chip.chip_id,
                memory_available_bytes=chip.memory_bytes or PLENTY_BYTES,
                rates=rates,
            )
        )
    usual = OLD_HOST if (chips[0].launch_year or 2020) < 2020 else NEW_HOST
    host = catalog.chip(HOSTS.get(row["cpu_ram"], SERVER_HOST if "server" in row["cpu_ram"] else usual))
    devices.append(
        MachineDevice(
            device_id=CPU_DEVICE_ID,
            backend="cpu",
            name=host.chip_id,
            memory_available_bytes=PLENTY_BYTES,
            rates=rates_for_chip(host, "cpu", device_id=CPU_DEVICE_ID),
        )
    )
    links = LINKS.get(row["gpu"], {}) if SECOND_CARD_HOST in row["cpu_ram"] else {}
    return Machine(name=row["gpu"], profile_id="published", devices=tuple(devices), link_bytes_per_s=links)


def deployment_of(row: dict[str, str], model: ModelSpec, machine: Machine) -> Deployment:
    """Layers by device and experts on the CPU, as the row's options say."""
    layers_count = model.geometry.layers_count if model.geometry else 1
    told = int(float(row["ngl"] or layers_count + 1))  # the output layer counts as one
    offloaded = min(layers_count, max(0, told - 1))
    cards = [device for device in machine.devices if device.device_id != CPU_DEVICE_ID]
    memory = sum(card.memory_available_bytes for card in cards)
    layers = {card.device_id: round(offloaded * card.memory_available_bytes / memory) for card in cards}
    layers[cards[0].device_id] += offloaded - sum(layers.values())
    if offloaded < layers_count:
        layers[CPU_DEVICE_ID] = layers_count - offloaded
    return Deployment(
        model_id=model.model_id,
        quant_id=row["quant"],
        backend=cards[0].backend,
        layers_by_device={device: count for device, count in layers.items() if count},
        experts_on_cpu_layers_count=min(layers_count, moved_layers(row["n_cpu_moe_or_ot"], layers_count)),
        split_mode="layer" if len(cards) > 1 else "none",
        kv_quant_id=row["kv_type"] or "f16",
        ubatch_tokens=ubatch_of(row),
        op_offload="nopo=1" not in row["notes"],
    )


def moved_layers(text: str, layers_count: int) -> int:
    """Layers whose routed experts stay on the CPU."""
    span = re.match(r"blk (\d+)-(\d+)", text)
    if span:
        return int(span.group(2)) - int(span.group(1)) + 1
    if text.startswith("exps=CPU"):
        return layers_count
    return int(text) if text.isdigit() else 0


def depth_of(row: dict[str, str]) -> int:
    """Tokens in the cache before the test."""
    found = re.search(r"depth (\d+)", row["n_ctx_or_depth"] or "")
    return int(found.group(1)) if found else 0


def context_of(row: dict[str, str]) -> int:
    """Tokens the cache was laid out for; 0 where a row does not say."""
    found = re.search(r"ctx (\d+)(k?)", row["n_ctx_or_depth"] or "")
    return int(found.group(1)) * (1024 if found.group(2) else 1) if found else 0


def ubatch_of(row: dict[str, str]) -> int:
    """The row's micro-batch, else the tool's own: llama-sweep-bench fills one per step, llama-bench takes 512."""
    usual = prompt_of(row) if "sweep-bench" in row["notes"] else 512
    return int(float(row["n_ubatch"] or usual))


def prompt_of(row: dict[str, str]) -> int:
    """Tokens of the prompt test; 512 where a row does not say."""
    found = re.search(r"\d+", row["pp_test"] or "")
    return int(found.group()) if found else 512


def predictions(catalog: Catalog) -> Iterator[tuple[str, str, float, float]]:
    """(kind of placement, phase, predicted, measured) of every row that can be placed."""
    for row in read_rows("offload.csv.gz"):
        if row["model"] not in MODELS:
            continue
        try:
            model = catalog.model(MODELS[row["model"]])
            machine = machine_of(row, catalog)
            size = re.match(r"[\d.]+", row["file_size_gib"] or "")
            unit = 1e9 if "GB" in (row["file_size_gib"] or "") else GIB
            artifact = artifact_of(model, row["quant"], round(float(size.group()) * unit) if size else None)
        except (CatalogError, RowError, ValueError) as error:
            print(f"left out: {row['gpu']}, {row['model']}: {error}")
            continue
        deployment = deployment_of(row, model, machine)
        kind = placement_kind(deployment)
        if row["tg_tps"]:
            depth = max(1, depth_of(row))
            made = run(model, artifact, machine, deployment, prompt=depth, output=128, context=context_of(row))
            yield f"{kind}, {row['gpu']}", "decode", made.decode_tokens_per_s.mid, float(row["tg_tps"])
        if row["pp_tps"] and not depth_of(row):
            prompt = prompt_of(row)
            made = run(model, artifact, machine, deployment, prompt=prompt, output=1, context=context_of(row))
            yield f"{kind}, {row['gpu']}", "prefill", made.prefill_tokens_per_s.mid, float(row["pp_tps"])


def run(
    model: ModelSpec,
    artifact: object,
    machine: Machine,
    deployment: Deployment,
    *,
    prompt: int,
    output: int,
    context: int,
) -> Estimate:
    """One estimate of a row; its cache is as long as the row says, or as the test needs."""
    needed = prompt + output
    workload = Workload(prompt_tokens=prompt, output_tokens=output, context_tokens=max(context, needed))
    return estimate(model, artifact, machine, workload, deployment)  # type: ignore[arg-type]


def placement_kind(deployment: Deployment) -> str:
    """What of a model is where, in words."""
    cards = [device for device in deployment.layers_by_device if device != CPU_DEVICE_ID]
    if deployment.experts_on_cpu_layers_count:
        return "experts on CPU"
    if not cards:
        return "all on CPU"
    if CPU_DEVICE_ID in deployment.layers_by_device:
        return "layers on CPU"
    return f"{len(cards)} GPUs" if len(cards) > 1 else "one GPU"


def table() -> list[str]:
    """Errors by placement and card as Markdown."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kind, phase, predicted, measured in predictions(load_catalog()):
        groups[phase, kind].append(predicted / measured - 1.0)
    lines = ["| phase | placement | rows | bias | median | worst |", "|---|---|---|---|---|---|"]
    for phase in sorted({phase for phase, _ in groups}):
        misses = sorted(abs(error) for (own, _), errors in groups.items() if own == phase for error in errors)
        p90 = misses[int(0.9 * len(misses))]
        lines.append(
            f"| {phase} | all, 90 %: {p90:.0%} | {len(misses)} | | {statistics.median(misses):.1%} | {misses[-1]:.0%} |"
        )
    for (phase, kind), errors in sorted(groups.items()):
        misses = sorted(map(abs, errors))
        lines.append(
            f"| {phase} | {kind} | {len(errors)} | {statistics.median(errors):+.0%} "
            f"| {statistics.median(misses):.0%} | {misses[-1]:.0%} |"
        )
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
