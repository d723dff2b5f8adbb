"""The names a chip goes by: generated from its full name, never matched by substring."""

import re

_VENDORS = ("NVIDIA", "AMD", "Intel", "Apple", "Qualcomm")
_BRANDS = ("GeForce", "Radeon", "Tesla", "Quadro", "Instinct", "Arc Pro", "Arc", "Core", "Xeon", "Ryzen", "EPYC")
_CLASSES = ("GTX", "RTX", "RX", "PRO", "Pro")
_PARENTHESES = re.compile(r"\s*\(([^)]*)\)")
_MEMORY_MARK = re.compile(r"\s(\d+)GB$")
_NOT_A_NAME = re.compile(r"DDR|-core GPU|-bit|^Pascal$")
_BARE_NUMBER = re.compile(r"\d{4}")


def chip_aliases(name: str) -> set[str]:
    """Every exact spelling of a chip, its full name excluded.

    Vendor, brand and class words may be left out one after the other; ``Laptop`` is also written
    ``Laptop GPU`` and ``Mobile``.
    """
    plain = _PARENTHESES.sub("", name)
    forms = {name, plain} | _apple_tiers(name)
    for inside in _PARENTHESES.findall(name):
        if not _NOT_A_NAME.search(inside):
            forms |= {inside, f"{name.split(maxsplit=1)[0]} {inside}"}
    forms |= {form for whole in tuple(forms) for form in _shortened(whole)}
    forms |= {spelled for form in tuple(forms) for spelled in _respelled(form)}
    return {form for form in forms if len(form) > 1} - {name}


def bare_name(name: str) -> str:
    """A chip's name without memory size and core count: the same for all its variants."""
    return _MEMORY_MARK.sub("", _PARENTHESES.sub("", name))


def _shortened(name: str) -> set[str]:
    """A name without its leading vendor, brand and class words."""
    forms = {name}
    for words in (_VENDORS, _BRANDS, _CLASSES):
        for form in tuple(forms):
            word = next((word for word in words if form.startswith(word + " ")), None)
            rest = form[len(word) + 1 :] if word else ""
            if rest and (words is not _CLASSES or _BARE_NUMBER.match(rest) or not rest[0].isdigit()):
                forms.add(rest)
    return {form for form in forms if not form.isdigit() or len(form) >= 4}


def _respelled(name: str) -> set[str]:
    """Other spellings of the words inside a name."""
    forms = {name}
    if " Ada" in name:
        forms.add(name.replace(" Ada", " Ada Generation"))
    if name.endswith(" Blackwell"):
        forms.add(name.removesuffix(" Blackwell"))
    for form in tuple(forms):
        if " Laptop" in form:
            forms |= {form.replace(" Laptop", mark) for mark in (" Laptop GPU", " Mobile")}
    return forms


def _apple_tiers(name: str) -> set[str]:
    """``Apple M4 Max (40-core GPU)`` is also ``M4 Max 40-core``, ``M4 Max 40-core GPU`` and ``M4 Max 40``."""
    match = re.fullmatch(r"(Apple M\d+(?: \w+)?) \((\d+)-core GPU\)", name)
    if not match:
        return set()
    tier, cores = match.groups()
    return {f"{tier} {cores}-core", f"{tier} {cores}-core GPU", f"{tier} {cores}"}
