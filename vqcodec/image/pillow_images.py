"""From a Pillow image to a picture: what a viewer shows, with every loss on the way named."""

import numpy as np
from PIL import ExifTags, Image, ImageFile

from ..geometry import check_size
from . import colour_profile, deep_levels, formats, losses
from .arrays import to_levels
from .colour_profile import Cicp
from .containers import Told, told_by
from .deep_levels import GREY_MODES
from .depth import BYTE, peak, rescaled
from .metadata import MAX_METADATA_BYTES, ORIENTATION, Metadata, from_info
from .picture import Picture, at_depth, of_levels, reduced

# EXIF orientation -> how to turn the stored pixels [H, W, ...] upright.
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
_SIDEWAYS = 5, 6, 7, 8  # orientations that swap width and height
_UPRIGHT_FORMATS = {"HEIF", "JXL"}  # their decoders turn the pixels, and leave EXIF as it was
_GREY = {"1", "L", "LA", "La", "F"} | GREY_MODES
_RGB_FAMILY = {"1", "L", "P", "RGB", "RGBX", "RGBA", "LA", "PA", "RGBa", "La"}
_LEVELS = {"1": 1, "L;2": 3, "L;4": 15}  # Pillow's name -> the largest level of grey in the file


def read(image: Image.Image, max_pixels: int, depth: int | None) -> Picture:
    """A picture of this depth, None: the image's. Raises ImageTooLargeError, InputError and what
    Pillow's plugins raise on damaged files.

    The numbers of its colours are kept as they are where they are of HDR, which no profile says,
    and above 8 bits.
    """
    check_size(*image.size, max_pixels)
    deep_levels.check_planes(image)
    told, raw = told_by(image), losses.raw_mode(image)  # before Pillow closes the file
    bits = losses.bits_of(image, told)
    has_more = bits > BYTE or image.mode in GREY_MODES
    deep = deep_levels.load(image, raw) if has_more else None
    image.load()
    if deep is None:
        picture = _convert(image, raw, depth)
        picture = picture if depth is None else at_depth(picture, depth)
    else:
        picture = _rounded(deep, bits, image.info.get("transparency"), depth)
    kept = BYTE if deep is None else picture.depth
    given = image.info.get("cicp")  # as `Codec.decode` has it
    told = told._replace(cicp=Cicp(*given)) if given else told
    cicp = told.cicp if told.cicp and (kept > BYTE or told.cicp.hdr) else None
    metadata, dropped = _metadata(image, None if cicp else told, picture.grey)
    fewer = [reduced(bits, kept)] if bits > kept else []
    beside = losses.of_metadata(image, told)
    notices = (
        *picture.notices,
        *losses.of_pictures(image, told),
        *fewer,
        *dropped,
        *beside,
    )
    picture = _turned(picture, _orientation(image))
    return picture._replace(metadata=metadata, notices=notices, cicp=cicp)


def _rounded(deep: deep_levels.Deep, bits: int, clear: object, depth: int | None) -> Picture:
    """The picture of levels of which so many bits say something, at this depth, None: theirs."""
    levels, highest = deep
    hidden = deep_levels.transparent(levels, clear)
    if highest == deep_levels.HIGHEST:
        levels, highest = levels >> (16 - bits), peak(bits)  # PNG, 11.3.2.6, sBIT
    depth = bits if depth is None else depth
    return of_levels(rescaled(levels, highest, depth), depth, hidden)


def _turned(picture: Picture, orientation: int) -> Picture:
    """Upright, as EXIF numbers it."""
    if orientation not in _UPRIGHT:
        return picture
    rgb, alpha = (
        None if levels is None else np.ascontiguousarray(_UPRIGHT[orientation](levels))
        for levels in (picture.rgb, picture.alpha)
    )
    return picture._replace(rgb=rgb, alpha=alpha)


def _orientation(image: Image.Image) -> int:
    """How the pixels are to be turned, as EXIF numbers it."""
    if image.format in _UPRIGHT_FORMATS and not getattr(image, "jpeg", False):
        return 1  # a JPEG inside a JXL file is not turned
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF must not keep a picture from being read
        return 1
    return 1 if found in _SIDEWAYS and _was_turned(image) else found


def _was_turned(image: Image.Image) -> bool:
    """Tell whether `rotate` or `transpose` turned an image in memory, which leaves its EXIF as it
    was: the sides that this tells are swapped."""
    if isinstance(image, ImageFile.ImageFile):
        return False
    try:
        told = image.getexif().get_ifd(ExifTags.IFD.Exif)
    except Exception:  # damaged
        return False
    sides = told.get(ExifTags.Base.ExifImageWidth), told.get(ExifTags.Base.ExifImageHeight)
    return sides == image.size[::-1] != image.size


def _metadata(image: Image.Image, told: Told | None, grey: bool) -> tuple[Metadata, list[str]]:
    """What a .vqc file keeps of the image's metadata, and notices of what it does not. told: None
    if the numbers of its colours are kept."""
    found = from_info(image.info).upright()
    reasons = {}
    lost = ()
    fitting = (b"GRAY", b"RGB ") if grey else (b"RGB ",)
    if not found.icc and told is not None:
        profile, lost = colour_profile.told(image.info, told.cicp, grey)
        found = found._replace(icc=profile)
    elif found.icc and colour_profile.space_of(found.icc) not in fitting:
        reasons["icc"] = f"colour profile dropped: not one of {'grey' if grey else 'RGB'} pixels"
    if found.exif and formats.orientation(found.exif) in _UPRIGHT:
        reasons["exif"] = "EXIF dropped: its orientation cannot be reset"
    if losses.has_tiff_exif(image):
        reasons["exif"] = "EXIF dropped: that of TIFF files is not kept"
    for kind, data in found._asdict().items():
        if data and len(data) > MAX_METADATA_BYTES:
            reasons[kind] = f"{kind.upper()} dropped: larger than {MAX_METADATA_BYTES} bytes"
    return found.without(reasons), [*lost, *reasons.values()]


def _convert(image: Image.Image, raw: str, depth: int | None) -> Picture:
    """Convert to 8-bit RGB and alpha, floats to this depth, with notices of what that lost."""
    if image.mode == "F":
        levels, depth = to_levels(np.asarray(image)[..., None], depth)
        return of_levels(levels, depth)._replace(notices=(f"float reduced to {depth} bits",))
    grey = image.mode in _GREY
    image = _with_transparency(image, raw)
    if image.has_transparency_data:
        return of_levels(np.asarray(_to_rgba(image)), BYTE)._replace(grey=grey)
    lost = () if image.mode in _RGB_FAMILY else (f"{image.mode} converted to RGB",)
    # convert copies even what is RGB already: 4 bytes a pixel.
    rgb = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return Picture(rgb, notices=lost, grey=grey)


def _with_transparency(image: Image.Image, raw: str) -> Image.Image:
    """Have the one transparent level of PNG in the levels that Pillow made of the file's. raw:
    `losses.raw_mode` of the file."""
    level = image.info.get("transparency")
    if isinstance(level, int) and 0 < level <= _LEVELS.get(raw, 0):
        image = image.copy()
        image.info["transparency"] = level * 255 // _LEVELS[raw]
    return image


def _to_rgba(image: Image.Image) -> Image.Image:
    # Premultiplied modes convert to their plain form only.
    plain = {"RGBa": "RGBA", "La": "LA"}.get(image.mode)
    return (image.convert(plain) if plain else image).convert("RGBA")
