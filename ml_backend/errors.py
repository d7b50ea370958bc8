"""Everything the backend raises on purpose.

A message is one sentence: what was wrong, which file, and what to do about it.
"""


class ParleyError(Exception):
    """Base of every expected failure; the command line prints it and exits with `exit_code`."""

    exit_code = 1


class UserInputError(ParleyError):
    """The user gave something that can't be used: a file, an option, a folder."""

    exit_code = 2


class ArtefactError(UserInputError):
    """A file of one of Parley's own formats is missing, damaged or of another version."""


class DependencyError(ParleyError):
    """Something that has to be installed beside Parley is missing (Blender, a model pack)."""

    exit_code = 2


class StageError(ParleyError):
    """A stage could not finish although its input was acceptable."""


class Cancelled(ParleyError):
    """The user stopped the run; what is done so far stays in the take folder."""

    exit_code = 130
