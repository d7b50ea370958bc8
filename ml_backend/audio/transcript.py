"""When each phone of a known text is said: PocketSphinx's forced alignment with its wheel's dictionary (English)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from ml_backend.audio.phones import STEPS_PER_SECOND, Segment, hear, pocketsphinx
from ml_backend.errors import UserInputError

_NO_WORD = re.compile(r"[^\w']+|_")
_SHOWN = 5


def words(text: str) -> list[str]:
    """The words of `text` as the dictionary spells them: lower case, no punctuation, figures left as they are."""
    return [word.strip("'") for word in _NO_WORD.sub(" ", text.lower()).split() if word.strip("'")]


def align(samples: np.ndarray, text: str) -> list[Segment]:
    """Phones of `text` with begin and end in seconds.

    Parameters
    ----------
    samples : (N,) float32, 16 kHz, somebody saying the text
    text : what is said, in English, figures spelled out

    Raises
    ------
    UserInputError
        If the text holds no word, words that the dictionary lacks, or does not fit the speech.
    DependencyError
        If pocketsphinx is not installed.
    """
    wanted = words(text)
    if not wanted:
        raise UserInputError("The text holds no word; give what is said with --text.")
    decoder = _aligner()
    unknown = sorted({word for word in wanted if decoder.lookup_word(word) is None})
    if unknown:
        raise UserInputError(f"The aligner doesn't know {', '.join(unknown[:_SHOWN])}"
                             f"{' …' if len(unknown) > _SHOWN else ''}; spell figures and names as English words.")
    try:
        decoder.set_align_text(" ".join(wanted))
        hear(decoder, samples)
        if decoder.hyp() is None:
            raise UserInputError("The text does not fit the speech; check both.")
        decoder.set_alignment()
        hear(decoder, samples)
        found = [(phone.name, phone.start / STEPS_PER_SECOND, (phone.start + phone.duration) / STEPS_PER_SECOND)
                 for word in decoder.get_alignment() for phone in word]
    except RuntimeError as error:
        raise UserInputError("The text does not fit the speech; check both.") from error
    return found


@lru_cache(maxsize=1)
def _aligner() -> Any:
    # Wide beams: a slow or hesitant speaker must not fall out of the only path there is.
    return pocketsphinx("--text").Decoder(samprate=16000, loglevel="FATAL", bestpath=False, beam=1e-80, wbeam=1e-60,
                                          pbeam=1e-80)
