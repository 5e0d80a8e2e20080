"""From any mode of Pillow to 8 bits a channel with the whole range; what would lose pixels is refused by name."""

import numpy as np
from PIL import Image

#: Formats whose images of mode I are of 16 bits.
SIXTEEN_BITS = ("PNG", "PPM")

#: Modes that Pillow itself takes to L and RGB with their whole range.
PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")


def eight_bits(image: Image.Image, channels: int) -> Image.Image:
    """The image in mode L (one channel) or RGB (three).

    16-bit grey is divided by 257, so that 0 to 65535 becomes 0 to 255 (Pillow would clip). Alpha is dropped where it
    hides nothing.

    Raises
    ------
    ValueError : the mode has no fixed range (I and F of 32 bits), no conversion (LAB), or pixels are transparent.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in SIXTEEN_BITS):
        if "transparency" in image.info:
            raise ValueError(f"mode {image.mode} with a transparent grey value: flatten it")
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    elif image.has_transparency_data:
        layered = image.convert("RGBA")
        if layered.getextrema()[3][0] < 255:  # we could not know the colour of such pixels
            raise ValueError(f"mode {image.mode} with transparent pixels: flatten it onto a background")
        image = layered.convert("RGB")
    if image.mode not in PLAIN:
        raise ValueError(f"mode {image.mode} has no fixed range for 8 bits; save it as RGB, or as grey of 8 or 16 bits")
    return image.convert("L" if channels == 1 else "RGB")
