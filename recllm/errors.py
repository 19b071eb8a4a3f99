"""The exceptions that end in one clear line instead of a traceback."""


class UserError(Exception):
    """A mistake in a recipe, in data or on the command line.

    The message says what was expected, what was found and what to do. The CLI prints it as one
    line on stderr, without a traceback, and exits with code 2.
    """


class StorageError(Exception):
    """A disk that is full or cannot be written; nobody's mistake. The CLI exits with code 1."""


class NetworkError(Exception):
    """A server that does not answer, or not now; nobody's mistake. The CLI exits with code 1."""


class Interrupted(Exception):  # noqa: N818 (no error)
    """The user stopped the work; says what is kept. The CLI exits with code 1."""
