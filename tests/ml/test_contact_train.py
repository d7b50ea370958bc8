"""The lip-contact detector learns from shards and sound files; what is missing is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend.audio.load import load_speech
from ml_backend.audio.phones import PHONES
from ml_backend.config import sample_speech
from ml_backend.errors import UserInputError
from ml_backend.motion import phone_shards, shards
from ml_backend.motion.contact import labial_probability, load
from ml_backend.motion.contact_train import labials, marks, train_contact

pytest.importorskip("pocketsphinx", reason="pocketsphinx is an optional dependency")


def shard(samples: np.ndarray, split: str = "train") -> shards.Shard:
    frames = round(len(samples) / 640)
    blank = np.zeros((frames, 2), np.float32)
    return shards.Shard(
        speech=(samples * 32767).astype(np.int16), expression=blank, names=np.array(["jawOpen", "mouthClose"]),
        pose=np.zeros((frames, 6), np.float32), measures=blank, confidence=np.ones(frames, np.float32),
        speaker=np.array("a"), split=np.array(split),
    )


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return load_speech(sample_speech()).samples


def test_labials_are_heard_where_they_are(speech: np.ndarray) -> None:
    marked = labials(speech)
    assert len(marked) == 4 * round(len(speech) / 640)
    assert 0.02 < marked.mean() < 0.3
    assert not labials(np.zeros(16000, np.float32)).any()


def test_it_learns_what_it_was_shown_and_repeats_itself(tmp_path: Path, speech: np.ndarray) -> None:
    dataset = tmp_path / "shards"
    dataset.mkdir()
    shards.save(shard(speech), dataset / "a.npz")
    shards.save(shard(speech[8000:]), dataset / "b.npz")
    shards.save(shard(speech, "validate"), dataset / "c.npz")
    report = train_contact(dataset, [], tmp_path / "contact.safetensors", steps=60)
    assert report.recordings == 2
    found, marked = labial_probability(speech, load(tmp_path / "contact.safetensors")), labials(speech)
    assert found[marked > 0.5].mean() > 2 * found[marked < 0.5].mean()
    train_contact(dataset, [], tmp_path / "again.safetensors", steps=60)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "contact.safetensors").read_bytes()


def test_too_little_to_learn_from(tmp_path: Path, speech: np.ndarray) -> None:
    shards.save(shard(speech), tmp_path / "a.npz")
    with pytest.raises(UserInputError, match="too few recordings"):
        train_contact(tmp_path, [], tmp_path / "contact.safetensors", steps=5)


def test_known_phones_teach_too_and_rights_are_heeded(tmp_path: Path, speech: np.ndarray) -> None:
    folder = tmp_path / phone_shards.FOLDER
    folder.mkdir()
    known = (np.arange(4 * round(len(speech) / 640)) % len(PHONES)).astype(np.uint8)
    for name, rights in (("a", "open"), ("b", "open"), ("c", "unclear")):
        one = phone_shards.PhoneShard((speech * 32767).astype(np.int16), known, np.array(name), np.array("toys"),
                                      np.array(rights))
        phone_shards.save(one, folder / f"{name}.npz")
    assert marks(known).sum() == np.isin(known, [PHONES.index(name) for name in "PBM"]).sum()
    assert train_contact(tmp_path, [], tmp_path / "all.safetensors", steps=2).recordings == 3
    assert train_contact(tmp_path, [], tmp_path / "open.safetensors", steps=2, rights="open").recordings == 2
