"""A small stand-in of the Hugging Face Hub: what its client asks to up- and download a model.

It answers as a server without Xet, which the client has to be told of: `hub_client` does.
"""

from local_hub.hub import TOKEN, Fault, LocalHub
from local_hub.repositories import COMMIT, Repository
from local_hub.server import local_hub

__all__ = ["COMMIT", "TOKEN", "Fault", "LocalHub", "Repository", "local_hub"]
