"""When each phone of a known text is said: PocketSphinx's forced alignment with its wheel's dictionary (English)."""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import Any

import numpy as np

from ml_backend.audio.phones import INSTALL, STEPS_PER_SECOND, Segment
from ml_backend.errors import DependencyError, UserInputError

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
    level = 0.7 / max(float(np.abs(samples).max(initial=0)), 1e-4)
    sound = np.clip(samples * level * 32767, -32768, 32767).astype("<i2").tobytes()
    try:
        decoder.set_align_text(" ".join(wanted))
        _run(decoder, sound)
        if decoder.hyp() is None:
            raise UserInputError("The text does not fit the speech; check both.")
        decoder.set_alignment()
        _run(decoder, sound)
        found = [(phone.name, phone.start / STEPS_PER_SECOND, (phone.start + phone.duration) / STEPS_PER_SECOND)
                 for word in decoder.get_alignment() for phone in word]
    except RuntimeError as error:
        raise UserInputError("The text does not fit the speech; check both.") from error
    return found


def _run(decoder: Any, sound: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()


@lru_cache(maxsize=1)
def _aligner() -> Any:
    try:
        library = importlib.import_module("pocketsphinx")
    except ImportError as error:
        raise DependencyError("--text needs the pocketsphinx library, which is not installed; install it with: "
                              f"{INSTALL}.") from error
    # Wide beams: a slow or hesitant speaker must not fall out of the only path there is.
    return library.Decoder(samprate=16000, loglevel="FATAL", bestpath=False, beam=1e-80, wbeam=1e-60, pbeam=1e-80)
