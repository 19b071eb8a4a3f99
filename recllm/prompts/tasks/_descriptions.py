"""What the tasks that write descriptions have in common."""

from dataclasses import replace

from pydantic import Field

from recllm.prompts.examples import CatalogText, Examples, Material
from recllm.prompts.tasks import Task

DESCRIPTION = "description"


class Described(Task):
    """A task that writes the items' descriptions."""

    max_words: int = Field(default=60, ge=1, description="of a description; the rest is cut off")

    @property
    def item_columns(self) -> tuple[str, ...]:
        """The descriptions."""
        return (DESCRIPTION,)

    def descriptions(self, catalog: CatalogText) -> list[str]:
        """The description of each item, cut; empty where there is none."""
        return [" ".join(t.split()[: self.max_words]) for t in catalog.texts_of(DESCRIPTION)]

    def examples(self, material: Material) -> Examples:
        """See the base class; counts the descriptions that are cut."""
        found = super().examples(material)
        texts = material.catalog.texts_of(DESCRIPTION)
        cut = sum(len(text.split()) > self.max_words for text in texts)
        return replace(found, counts={**found.counts, "descriptions_cut": cut}) if cut else found
