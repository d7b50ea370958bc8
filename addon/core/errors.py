"""Everything the add-on raises on purpose.

A message is one sentence: what was wrong, which file or object, and what to do about it.
"""


class ParleyError(Exception):
    """Base of every expected failure; an operator reports it, the child process ends with `exit_code`."""

    exit_code = 1


class UserInputError(ParleyError):
    """The user gave something that can't be used: a file, an object, a setting."""

    exit_code = 2


class ArtefactError(UserInputError):
    """A file of one of Parley's own formats is missing, damaged or of another version."""


class ProtocolError(ParleyError):
    """A line on the pipe between the add-on and a helper process is no message of the protocol."""


class RenderError(ParleyError):
    """Blender could not render although the job was acceptable."""
