"""``python -m blender_assets.voice``: the voice detector's weights out of Silero's wheel, for the instant engine.

Only numbers are taken; the network around them is written anew in ``addon.core.instant.voice``.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any, cast

from ml_backend.motion.checkpoint import write_tensors

SCHEMA = "parley.voice"
TARGET = Path(__file__).parent / "models" / "voice.safetensors"
NAMES = {
    "stft_conv.weight": "stft.forward_basis_buffer",
    **{f"conv{number}.{kind}": f"encoder.{number - 1}.reparam_conv.{kind}"
       for number in range(1, 5) for kind in ("weight", "bias")},
    **{f"lstm_cell.{kind}": f"decoder.rnn.{kind}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    **{f"final_conv.{kind}": f"decoder.decoder.2.{kind}" for kind in ("weight", "bias")},
}
"""Our name → Silero's, of the network for 16 kHz."""


def main() -> None:
    """Write `TARGET` anew, the licence's text in its metadata; fp16 would shift probabilities by a hundredth."""
    from silero_vad import load_silero_vad

    held = cast(Any, load_silero_vad(onnx=False)).state_dict()
    tensors = {name: held[f"_model.{source}"].float() for name, source in NAMES.items()}
    files = importlib.metadata.files("silero_vad") or []
    licence = next(Path(str(file.locate())).read_text(encoding="utf-8") for file in files if file.name == "LICENSE")
    write_tensors(tensors, {"schema": SCHEMA, "version": "1", "licence": licence,
                            "origin": f"silero-vad {importlib.metadata.version('silero_vad')}"}, TARGET)


if __name__ == "__main__":
    main()
