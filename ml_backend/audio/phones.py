"""Phones of speech, 100 a second: recognised, read from a transcript's times, or told by a synthesiser.

They cost twenty times what the motion network may cost at run time, so they are never its input. They teach its encoder
beforehand what speech is made of: phones carry the mouth's width, and go across languages.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from ml_backend.audio.features import STEPS_PER_FRAME, frame_count
from ml_backend.errors import DependencyError, StageError

SILENCE = "SIL"
PHONES = ("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
          "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
          SILENCE)
"""The 39 phones of English as ARPAbet writes them, and silence, which noises count as."""
LABIALS = ("P", "B", "M")
"""Those for which the lips meet."""
STEPS_PER_SECOND = 100
ALIASES = {"AX": "AH", "AXR": "ER", "IX": "IH", "EL": "L", "EM": "M", "EN": "N", "DX": "T", "NX": "N", "HV": "HH",
           "UX": "UW", "PAU": SILENCE, "H#": SILENCE, "SP": SILENCE}
INSTALL = "pip install pocketsphinx"
_LEVEL = 0.7

Segment = tuple[str, float, float]
"""Phone, begin and end in seconds."""


def phone_index(name: str) -> int:
    """Place of a phone in `PHONES`; stress marks are dropped, and what isn't known is silence."""
    plain = name.upper().rstrip("012")
    plain = ALIASES.get(plain, plain)
    return PHONES.index(plain) if plain in PHONES else PHONES.index(SILENCE)


def labels(segments: Iterable[Segment], samples: int) -> np.ndarray:
    """(S,) uint8 places in `PHONES` per 10 ms, S = 4 per film frame of `samples`; silence where nothing is said."""
    result = np.full(frame_count(samples) * STEPS_PER_FRAME, PHONES.index(SILENCE), np.uint8)
    for name, begin, end in segments:
        result[round(begin * STEPS_PER_SECOND):round(end * STEPS_PER_SECOND)] = phone_index(name)
    return result


def frame_shares(steps: np.ndarray) -> np.ndarray:
    """(T, 40) float32: how much of each film frame every phone takes, from `labels` (4T,)."""
    single = np.eye(len(PHONES), dtype=np.float32)[steps]
    return single.reshape(-1, STEPS_PER_FRAME, len(PHONES)).mean(1)


def recognise(samples: np.ndarray) -> list[Segment]:
    """Phones heard in `samples` (N,) float32 at 16 kHz, whatever the language, by pocketsphinx's English model.

    Raises
    ------
    DependencyError
        If pocketsphinx is not installed.
    StageError
        If it gives up on this sound.
    """
    decoder = _decoder()
    try:
        hear(decoder, samples)
        heard = decoder.seg()
    except RuntimeError as error:
        raise StageError(f"pocketsphinx could not recognise the sound ({error}); leave the recording out.") from error
    return [(segment.word, segment.start_frame / STEPS_PER_SECOND, (segment.end_frame + 1) / STEPS_PER_SECOND)
            for segment in heard or []]


def hear(decoder: Any, samples: np.ndarray) -> None:
    """Run `samples` (N,) through a pocketsphinx decoder at one loudness, as one utterance."""
    loud = samples * (_LEVEL / max(float(np.abs(samples).max(initial=0)), 1e-4))
    decoder.start_utt()
    decoder.process_raw(np.clip(np.round(loud * 32767), -32768, 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()


def pocketsphinx(purpose: str) -> Any:
    """The library; raises `DependencyError`, saying what for, where it is not installed."""
    try:
        return importlib.import_module("pocketsphinx")
    except ImportError as error:
        raise DependencyError(f"{purpose} needs the pocketsphinx library, which is not installed; install it with: "
                              f"{INSTALL}.") from error


@lru_cache(maxsize=1)
def _decoder() -> Any:
    library = pocketsphinx("Recognising phones")
    model = f"{library.get_model_path()}/en-us"
    # A beam this wide keeps every phone possible all the time, as there are no words to go by.
    return library.Decoder(hmm=f"{model}/en-us", allphone=f"{model}/en-us-phone.lm.bin", lw=2.0, beam=1e-20,
                           pbeam=1e-20, loglevel="FATAL")
