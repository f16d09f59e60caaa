"""Notices of what encoding drops from a source, such as 16 bits or animation: one phrase each.

All of it is named, and nothing else: what goes through needs no notice.
"""

from PIL import ExifTags, Image

from .containers import Told
from .deep_levels import GREY_MODES

_APP_SEGMENTS = (  # of JPEG: marker, start, name
    ("APP1", b"http://ns.adobe.com/xmp/extension/\0", "extended XMP"),
    ("APP11", b"JP", "JUMBF"),
)
_GAIN_MAPS = b"hdrgm:Version", b"urn:iso:std:iso:ts:21496:-1", b"HDRGainMap"
_IPTC_RESOURCE, _IPTC_TAG = 0x0404, 33723  # of Photoshop's segment, of TIFF
_TIFF_TEXTS = {270: "ImageDescription", 315: "Artist", 33432: "Copyright"}
_EXIF_DIRECTORIES = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}  # tags of TIFF
_KEPT_TEXTS = {"XML:com.adobe.xmp", "Raw profile type exif"}  # of PNG


def raw_mode(image: Image.Image) -> str:
    """How Pillow calls the levels in the file of an image that is not loaded yet, such as L;4."""
    tiles = getattr(image, "tile", None) or [("", None, 0, "")]
    arguments = tiles[0][3]
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def bits_of(image: Image.Image, told: Told) -> int:
    """The bits of a channel in the file of an image that is not loaded yet."""
    tiles = getattr(image, "tile", None) or [("", None, 0, "")]
    decoder, arguments = tiles[0][0], tiles[0][3]
    last = arguments[-1] if isinstance(arguments, tuple) and arguments else arguments
    if ";16" in str(tiles) or decoder == "sgi16" or (decoder, last) == ("sgi_rle", 2):
        return min(16, max(8, told.significant or 16))
    if raw_mode(image).endswith(";12"):
        return 12
    if decoder.startswith("ppm") and isinstance(last, int):  # the largest level
        return last.bit_length()
    bits = max(told.bits, image.info.get("bit_depth") or 8)  # what the plugin of HEIF tells
    return 16 if bits == 8 and image.mode in GREY_MODES else bits


def of_pictures(image: Image.Image, told: Told) -> list[str]:
    """What is lost of a source's pictures, their levels apart."""
    notices = []
    sizes = set(image.info.get("sizes", ()))
    if _has_gain_map(image, told):
        notices.append("HDR dropped: the gain map is not kept")
    elif image.format == "MPO":
        notices.append("several pictures: only the first is kept")
    elif getattr(image, "is_animated", False):
        notices.append("animated: only one frame is kept")
    if len(sizes) > 1:
        notices.append(f"{len(sizes)} sizes: only the largest is kept")
    return notices


def of_metadata(image: Image.Image, told: Told) -> list[str]:
    """What is lost of that which a source has beside its pixels, EXIF of TIFF files apart."""
    segments = getattr(image, "applist", ())
    kinds = [
        name
        for marker, start, name in _APP_SEGMENTS
        if any(found == marker and data.startswith(start) for found, data in segments)
    ]
    kinds += ["C2PA"] if told.provenance else []
    tags = getattr(image, "tag_v2", {})
    resources = image.info.get("photoshop")
    if (isinstance(resources, dict) and _IPTC_RESOURCE in resources) or _IPTC_TAG in tags:
        kinds.append("IPTC")
    texts = [name for name in getattr(image, "text", {}) if name not in _KEPT_TEXTS]
    texts += [name for tag, name in _TIFF_TEXTS.items() if tag in tags]
    if image.info.get("comment"):
        kinds.append("comment")
    notices = [f"{', '.join(kinds)} dropped"] if kinds else []
    return notices + ([f"text dropped: {', '.join(map(_short, texts))}"] if texts else [])


def has_tiff_exif(image: Image.Image) -> bool:
    """Tell whether there is EXIF in the tags of a TIFF file."""
    return not _EXIF_DIRECTORIES.isdisjoint(getattr(image, "tag_v2", ()))


def _has_gain_map(image: Image.Image, told: Told) -> bool:
    segments = [
        data for marker, data in getattr(image, "applist", ()) if marker in ("APP1", "APP2")
    ]
    return told.gain_map or any(name in data for data in segments for name in _GAIN_MAPS)


def _short(name: str) -> str:
    """A keyword of PNG, at most 79 characters of any kind, as one word of a line."""
    return " ".join(name.split()) or "without a name"
