"""What a command is about: a catalog model at a quantisation, or a GGUF file."""

from dataclasses import dataclass
from pathlib import Path

from advisor.engines.requirements import named_quant_id
from advisor.errors import AdvisorError
from catalog.load import Catalog
from catalog.obtain import quant_ids
from catalog.types import ArtifactSpec, ModelSpec
from catalog.weights import weigh


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model with the weights that were named, or with every quantisation worth trying."""

    model: ModelSpec
    artifact: ArtifactSpec | None = None
    path: str | None = None

    def artifact_choices(self) -> tuple[ArtifactSpec, ...]:
        """The named weights, or each usual quantisation, largest first."""
        if self.artifact is not None:
            return (self.artifact,)
        return tuple(weigh(self.model, quant_id) for quant_id in quant_ids(self.model))


def resolve_subject(catalog: Catalog, text: str, engine_id: str | None = None) -> Subject:
    """Read ``MODEL``, ``MODEL:QUANT`` or a path to a ``.gguf`` file, as the engine means it that was asked for.

    Raises:
        CatalogError: for an unknown name or an unreadable file.
    """
    if text.lower().endswith(".gguf"):
        return _file_subject(text)
    name, separator, quant_text = text.rpartition(":")
    if not separator:
        return Subject(model=catalog.model(text))
    model = catalog.model(name)
    quant_id = named_quant_id(model, catalog.quant(quant_text).quant_id, engine_id)
    return Subject(model=model, artifact=weigh(model, quant_id))


def _file_subject(text: str) -> Subject:
    from catalog.gguf import read_gguf

    if not Path(text).exists():
        raise AdvisorError(f"{text}: no such file; give a catalog name or the path of a .gguf file")
    model, artifact = read_gguf(text)
    return Subject(model=model, artifact=artifact, path=text)
