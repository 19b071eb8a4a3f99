"""The model that an adapter is loaded on, as others find it on the Hub."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedBase:
    """A base on the Hub.

    Attributes:
        name: user/name.
        revision: the commit.
        licence: as the Hub's repository states it; None where it states none.
    """

    name: str
    revision: str
    licence: str | None
