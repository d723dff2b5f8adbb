"""Recorded output of real machines, and file trees made of it."""

from pathlib import Path

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "probes"


def recorded(name: str) -> str:
    """The text of one recording."""
    return (RECORDINGS / name).read_text(encoding="utf-8")


def write_file(root: Path, path: str, text: str) -> None:
    """One file of a tree, with its folders."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def write_tree(root: Path, name: str) -> Path:
    """Lay out a recorded ``.tree``: each file's path after ``===``, then its content."""
    for part in recorded(name).split("=== ")[1:]:
        path, _, text = part.partition("\n")
        write_file(root, path, text)
    return root


def pci_device(root: Path, address: str, vendor: str, device: str, class_code: str, **files: str) -> None:
    """A device of a file tree, as the kernel lists it: hexadecimal numbers and further files."""
    for name, text in {"vendor": vendor, "device": device, "class": class_code, **files}.items():
        write_file(root, f"sys/bus/pci/devices/{address}/{name}", text + "\n")
