"""Phones: labels in time, shards of them, an encoder that learns them and hands them on."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml_backend.audio import phones
from ml_backend.audio.features import STEPS_PER_FRAME
from ml_backend.errors import ArtefactError, DependencyError, UserInputError
from ml_backend.motion import phone_shards
from ml_backend.motion.network import build
from ml_backend.motion.phone_shards import PhoneShard
from ml_backend.motion.pretrain import initialise, pretrain
from ml_backend.motion.schedule import TrainSettings
from ml_backend.motion.train import train
from ml_backend.prepare import voices
from tests.ml.motion_toys import TINY, face, shard_folder

QUICK = TrainSettings(window=25, batch=8, rate=1e-2, variations=0, hide=False, warm_up=5, every=20, average=0.0)


def hum(seed: int, seconds: int = 6) -> PhoneShard:
    """Stretches of two vowels, a low and a high buzz, and of silence."""
    generator = np.random.default_rng(seed)
    samples = 1e-4 * generator.standard_normal(seconds * 16000)
    segments = []
    for number in range(seconds * 2):
        place = slice(number * 8000, (number + 1) * 8000)
        kind = int(generator.integers(3))
        if kind:
            time = np.arange(8000) / 16000
            samples[place] += 0.2 * np.sin(2 * np.pi * (300 if kind == 1 else 2500) * time) * (1 + 0.3 * seed)
            segments.append(("AA1" if kind == 1 else "IY", number / 2, (number + 1) / 2))
    speech = np.clip(samples * 20000, -32768, 32767).astype(np.int16)
    return PhoneShard(speech, phones.labels(segments, len(speech)), np.array(f"voice{seed}"), np.array("toy"),
                      np.array("open"))


def dataset(folder: Path) -> Path:
    for seed in range(3):
        phone_shards.save(hum(seed), folder / phone_shards.FOLDER / f"{seed}.npz")
    return folder


def test_labels_follow_the_times() -> None:
    found = phones.labels([("pau", 0, 0.1), ("AA1", 0.1, 0.2), ("axr", 0.2, 0.25), ("+NSN+", 0.25, 0.4)], 6400)
    names = [phones.PHONES[place] for place in found]
    assert len(names) == 40
    assert names[:10] == ["SIL"] * 10
    assert names[10:25] == ["AA"] * 10 + ["ER"] * 5
    assert set(names[25:]) == {"SIL"}
    shares = phones.frame_shares(found)
    assert shares.shape == (10, 40)
    np.testing.assert_allclose(shares[2, [phones.PHONES.index("SIL"), phones.PHONES.index("AA")]], [0.5, 0.5])


def test_an_encoder_learns_phones_resumes_and_hands_them_on(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "data")
    whole = pretrain(TINY, folder, tmp_path / "whole", steps=60, settings=QUICK, device="cpu")
    assert whole.right > 0.8
    pretrain(TINY, folder, tmp_path / "parts", steps=60, settings=QUICK, device="cpu")
    state = tmp_path / "parts" / "last.safetensors"
    assert pretrain(TINY, folder, tmp_path / "parts", steps=60, settings=QUICK, resume=True).right == whole.right
    with pytest.raises(UserInputError, match="other settings"):
        pretrain(TINY, folder, state.parent, steps=61, settings=QUICK, resume=True)
    torch.manual_seed(3)
    network, other = build(replace(TINY, members=2)), build(replace(TINY, hidden=8))
    before = network.state_dict()["members.0.head.weight"].clone()
    initialise(network, whole.weights)
    values = network.state_dict()
    assert torch.equal(values["members.0.recurrent.weight_hh_l0"], values["members.1.recurrent.weight_hh_l0"])
    assert torch.equal(values["members.0.head.weight"], before)
    with pytest.raises(ArtefactError, match="another shape"):
        initialise(other, whole.weights)
    shard_folder(folder)
    report = train(TINY, folder, tmp_path / "motion", model=face(), steps=2, pretrained=whole.weights,
                   settings=replace(QUICK, every=2))
    assert np.isfinite(report.opening)


def test_rights_choose_the_phone_shards(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    assert len(phone_shards.load_folder(folder, "open")) == 3
    with pytest.raises(UserInputError, match="no phone shard with the rights unclear"):
        phone_shards.load_folder(folder, "unclear")
    odd = replace(hum(0), phones=hum(0).phones[:-1])
    with pytest.raises(ArtefactError, match="differ in length"):
        phone_shards.save(odd, tmp_path / "odd.npz")


def test_recordings_are_heard_but_not_those_that_validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "recognise", lambda samples: [("AA", 0.0, 1.0)])
    data = shard_folder(tmp_path / "data")
    ready, refused = voices.label_all(voices.clip_recordings(data), data)
    assert (ready, refused) == (4, [])
    found = phone_shards.load_folder(data)
    assert sorted(found) == [f"clip_train{number}" for number in range(4)]
    one = found["clip_train0"]
    assert (one.phones[:100] == phones.PHONES.index("AA")).all()
    assert len(one.phones) == 150 * STEPS_PER_FRAME


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    phones._decoder.cache_clear()
    monkeypatch.setattr(phones.importlib, "import_module", missing)
    with pytest.raises(DependencyError, match="pip install pocketsphinx"):
        phones.recognise(np.zeros(16000, np.float32))


def test_text_is_cut_into_sentences_that_can_be_spoken(tmp_path: Path) -> None:
    (tmp_path / "text.md").write_text("# A head\nThe quick brown fox jumps over the dog. It is 5 o'clock. "
                                      "We have met before: on the other side. Yes.")
    found = voices.written_sentences(tmp_path / "text.md")
    assert found == ["We have met before", "on the other side"]
    (tmp_path / "none.txt").write_text("1 2 3")
    with pytest.raises(UserInputError, match="no sentence"):
        voices.written_sentences(tmp_path / "none.txt")
    assert len(voices.synthetic(found)) == len(voices.FLITE_VOICES) * 2


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flite_speaks_with_exact_phone_times() -> None:
    samples, segments = voices.speak(voices.synthetic(["mama and papa"])[0])
    names = [phones.PHONES[phones.phone_index(name)] for name, _, _ in segments]
    assert names.count("M") == 2
    assert names.count("P") == 2
    assert segments[-1][2] == pytest.approx(len(samples) / 16000, abs=0.05)


@pytest.mark.skipif(importlib.util.find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed")
def test_silence_has_no_phones() -> None:
    noise = 1e-4 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    found = phones.labels(phones.recognise(noise), 16000)
    assert (found == phones.PHONES.index("SIL")).mean() > 0.5
