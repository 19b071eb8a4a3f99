"""The one exception that means: the user can put this right."""


class UserError(Exception):
    """A mistake in a recipe, in data or on the command line.

    The message says what was expected, what was found and what to do. The CLI prints it as one
    line on stderr, without a traceback, and exits with code 2.
    """
