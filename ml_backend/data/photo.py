"""Photos: any still picture to upright, opaque 8-bit RGB."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ml_backend.errors import UserInputError

# Named, because Pillow also claims MPEG streams as pictures.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM", "JPEG2000")
TOO_LARGE = "has too many pixels to be read safely; scale the photo down to 8000 pixels or less."
MOVING = ("GIF", "PNG")  # several frames in one of these is a clip, and FFmpeg decodes it


def open_photo(path: Path) -> Image.Image | None:
    """The still picture at `path`, not yet decoded; None if the file is something else.

    Raises
    ------
    UserInputError
        If the picture is so large that decoding it is a danger.
    """
    Image.init()
    try:
        image = Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    except (UnidentifiedImageError, OSError):
        return None
    except Image.DecompressionBombError as error:
        raise UserInputError(f"{path} {TOO_LARGE}") from error
    if getattr(image, "n_frames", 1) > 1 and image.format in MOVING:
        image.close()
        return None
    return image


def read_photo(path: Path, longest: int) -> np.ndarray:
    """Upright photo, at most `longest` pixels on its longer side.

    EXIF orientation and an embedded colour profile are applied, alpha is flattened on white, 16 bits become 8.

    Returns
    -------
    (H, W, 3) uint8 RGB

    Raises
    ------
    UserInputError
        If the file is no still picture, or is damaged.
    """
    image = open_photo(path)
    if image is None:
        raise UserInputError(f"{path} is no photo that can be read; save it as PNG or JPEG.")
    try:
        with image:
            rgb = np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserInputError(f"The photo {path} is damaged ({error}); save or copy it again.") from error
    except Image.DecompressionBombError as error:
        raise UserInputError(f"{path} {TOO_LARGE}") from error
    return shrink(rgb, longest)


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """(H, W, 3) uint8 `image` with its longer side at most `longest` pixels, area-averaged."""
    height, width = image.shape[:2]
    scale = longest / max(width, height)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height after the EXIF orientation is applied."""
    width, height = image.size
    return (height, width) if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I") else 1.0
        return Image.fromarray((values / top * 255 + 0.5).clip(0, 255).astype(np.uint8)).convert("RGB")
    profile = image.info.get("icc_profile")
    if image.mode in ("LA", "PA", "P", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    return _to_srgb(image, profile).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Phones save Display P3; read as sRGB, their faces look pale."""
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # a broken profile is no reason to refuse the photo
