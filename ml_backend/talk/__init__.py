"""`parley talk`: speech and a target in, a film and an editable scene out; the stages in their order."""

from ml_backend.talk.options import TalkOptions
from ml_backend.talk.run import talk

__all__ = ["TalkOptions", "talk"]
