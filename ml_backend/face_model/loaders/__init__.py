"""Face models that users hold, converted to FaceModels that drive the same rig and the same film as the built-in head.

One module reads each family (`ict`, `bfm`, `bfm_h5`, `flame`) into a `raw.RawModel`; `finish` gives that the names,
landmarks, regions and 52 expressions it does not have, by laying the built-in head over it (`align`, `solve`, `inner`).
"""

from ml_backend.face_model.loaders.convert import KINDS, convert
from ml_backend.face_model.loaders.finish import Converted

__all__ = ["KINDS", "Converted", "convert"]
