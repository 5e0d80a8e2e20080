"""Every mode of Pillow becomes 8 bits with its whole range, or is refused by its name."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from gbnlib.data.encoded import EncodedImages
from gbnlib.data.modes import eight_bits
from gbnlib.errors import UsageError
from tests.data.formats import encoded, picture

RAMP = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)  # 0, 257, 514, ...: all 256 grey levels


def reopened(image: Image.Image, kind: str) -> Image.Image:
    """An image as a file of some format gives it."""
    return Image.open(io.BytesIO(encoded(image, kind)))


def with_alpha(mode: str, alpha: int) -> Image.Image:
    """A picture in LA, PA or RGBA with the same alpha everywhere."""
    image = picture(1).convert(mode)
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "image",
    [
        reopened(Image.fromarray(RAMP), "PNG"),
        reopened(Image.fromarray(RAMP), "TIFF"),
        reopened(Image.fromarray(RAMP.astype(np.int32)), "PPM"),
        Image.frombytes("I;16B", (16, 16), RAMP.astype(">u2").tobytes()),
        Image.frombytes("I;16L", (16, 16), RAMP.astype("<u2").tobytes()),
    ],
    ids=["png", "tiff", "ppm", "big-endian", "little-endian"],
)
def test_grey_of_16_bits_keeps_its_range(image: Image.Image, channels: int) -> None:
    # 65535 = 257 · 255, so level k of 16 bits, 257 k, is level k of 8 bits.
    found = np.asarray(eight_bits(image, channels)).reshape(16, 16, channels)
    for channel in range(channels):
        np.testing.assert_array_equal(found[..., channel].ravel(), np.arange(256))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize(("channels", "theirs"), [(1, ImageReadMode.GRAY), (3, ImageReadMode.RGB)])
def test_modes_of_8_bits_are_what_libpng_decodes(mode: str, channels: int, theirs: ImageReadMode) -> None:
    content = encoded(picture(3).convert(mode), "PNG")
    expected = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), theirs)
    found = np.asarray(eight_bits(Image.open(io.BytesIO(content)), channels), dtype=int).reshape(32, 32, channels)
    # libpng's weights of the three colours in grey differ from those of ITU-R 601 in the last digits.
    np.testing.assert_allclose(found, expected.permute(1, 2, 0).int().numpy(), atol=2 if channels == 1 else 0)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_colours_of_print_reach_black_and_white(kind: str) -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:8, :, 3] = 255  # black ink above, none below
    found = np.asarray(eight_bits(reopened(Image.fromarray(ink, "CMYK"), kind), 3))
    assert found[:7].max() <= 3 and found[9:].min() >= 252  # JPEG rounds


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "TIFF"), ("PA", "TIFF")])
def test_alpha_that_hides_nothing_is_dropped_and_another_refused(mode: str, kind: str) -> None:
    plain = picture(1).convert(mode[0] if mode != "RGBA" else "RGB").convert("RGB")
    found = eight_bits(reopened(with_alpha(mode, 255), kind), 3)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(plain))
    with pytest.raises(ValueError, match=f"mode {mode} with transparent pixels"):
        eight_bits(reopened(with_alpha(mode, 254), kind), 3)


def test_a_transparent_colour_of_a_palette_or_of_grey_is_refused() -> None:
    for mode, level in (("P", int(np.asarray(picture(2).convert("P"))[0, 0])), ("L", 0), ("RGB", (0, 0, 0))):
        image = Image.new(mode, (8, 8)) if mode != "P" else picture(2).convert("P")
        stream = io.BytesIO()
        image.save(stream, "PNG", transparency=level)
        with pytest.raises(ValueError, match=f"mode {mode} with transparent pixels"):
            eight_bits(Image.open(stream), 3)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RAMP.astype(np.int32)),
        Image.fromarray(RAMP.astype(np.float32)),
        Image.fromarray(np.full((16, 16), np.nan, np.float32)),
        Image.new("LAB", (16, 16)),
    ],
    ids=["I", "F", "F of NaN", "LAB"],
)
def test_a_mode_without_a_range_is_refused_by_its_name_and_the_image_too(tmp_path, image: Image.Image) -> None:
    (tmp_path / "one.tiff").write_bytes(encoded(image, "TIFF"))
    words = rf"one\.tiff cannot be decoded \(mode {image.mode} has no fixed range"
    for channels in (1, 3):
        with pytest.raises(UsageError, match=words):
            EncodedImages([tmp_path / "one.tiff"], "here", channels).decode(0)


@pytest.mark.parametrize("mode", sorted(Image.MODES))
def test_every_mode_of_pillow_is_converted_or_named(mode: str) -> None:
    image = Image.new(mode, (4, 4))
    for channels, result in ((1, "L"), (3, "RGB")):
        try:
            assert eight_bits(image, channels).mode == result
        except ValueError as error:
            assert mode in str(error)
