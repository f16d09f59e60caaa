"""Image formats by name or extension, how they are written, and what they take beside RGB."""

from pathlib import Path
from typing import NamedTuple

from PIL import Image, PngImagePlugin

from ..errors import OutputError
from .colour_profile import Cicp, grey_of, space_of, told
from .metadata import MAX_METADATA_BYTES, ORIENTATION, Metadata, to_info

# Extensions by which pictures are found in folders. Pillow knows more, of films and data sets.
PICTURES = {
    *(".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
}
# A decoded picture was lossy once: saved by Pillow's defaults it would lose as much again.
_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "MPO": {"quality": 95, "subsampling": 0},
    "PDF": {"quality": 95},  # of the JPEG in it
    "WEBP": {"lossless": True, "exact": True},  # exact: the colours under transparent pixels
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
_ANY = MAX_METADATA_BYTES
# The most bytes of each kind; a format that is not here takes none.
_METADATA_LIMITS = {
    "PNG": {"icc": 2**20, "exif": _ANY, "xmp": _ANY},  # Pillow reads no larger profile
    # Segments of 65533 bytes, each with its own prefix; a profile may take 255 of them.
    "JPEG": {"icc": 255 * 65519, "exif": 65527, "xmp": 65504},
    "WEBP": {"icc": _ANY, "exif": _ANY, "xmp": _ANY},
    "AVIF": {"icc": _ANY, "exif": _ANY, "xmp": _ANY},
    "TIFF": {"icc": _ANY},
}
_WITH_ALPHA = {"PNG", "WEBP", "AVIF", "TIFF", "TGA", "JPEG2000", "ICO", "QOI"}
_WITHOUT_GREY = {"WEBP", "AVIF", "QOI"}  # written as RGB
_ICO_SIDE = 256  # pixels at most
_POORER = {
    "GIF": "colours reduced to 256: GIF holds no more",
    "SPIDER": "converted to grey: SPIDER holds no colours",
    "ICNS": "stretched to squares: ICNS holds nothing else",
}


class Saving(NamedTuple):
    """How to write a picture in a format."""

    options: dict  # of PIL.Image.save
    notices: tuple[str, ...]  # what the format does not take, one phrase each
    grey: bool  # the picture is written as one of grey pixels


def name_of(path: str | Path, format: str | None) -> str:
    """Return the Pillow name of `format`, a name or an extension, or else of the path's.

    Raises OutputError if that is no format that can be written.
    """
    extension = Path(path).suffix if format is None else f".{format}"
    for load in (Image.preinit, Image.init):  # the usual plugins, then all 40, which takes 30 ms
        load()
        name = Image.EXTENSION.get(extension.lower(), (format or "").upper())
        if name in Image.SAVE:
            return name
    what = f"image format {format}" if format else f"image extension {extension or 'none'}"
    raise OutputError(f"{what} cannot be written")


def takes_alpha(name: str) -> bool:
    """Tell whether the format of this Pillow name is written with alpha."""
    return name in _WITH_ALPHA


def no_alpha(name: str) -> str:
    """The notice of a format without alpha."""
    return f"alpha dropped: {name} cannot hold it"


def saving(
    name: str,
    metadata: Metadata,
    grey: bool = False,
    size: tuple[int, int] = (1, 1),
    cicp: Cicp | None = None,
) -> Saving:
    """How to write a picture with `metadata` in the format of this Pillow name.

    grey: it has grey pixels. size: width and height. cicp: its colours by numbers, which PNG alone
    is written with; where they come first, others get a profile instead if one can say them.
    """
    limits = _METADATA_LIMITS.get(name, {})
    metadata, notices = _with_colours(name, metadata, grey, cicp)
    kept = metadata.without([kind for kind in metadata._fields if kind not in limits])
    kept = kept.without([kind for kind, limit in limits.items() if _size(kept, kind) > limit])
    if name == "AVIF" and kept.exif and orientation(kept.exif) is None:
        kept = kept.without(["exif"])  # Pillow rewrites it, and would fail on it
    # PNG forbids a profile of other pixels, and viewers pass over it elsewhere.
    has_colours = kept.icc is not None and space_of(kept.icc) == b"RGB " and not grey_of(kept.icc)
    grey = grey and name not in _WITHOUT_GREY and not has_colours
    if kept.icc and space_of(kept.icc) == b"GRAY" and not grey:
        kept = kept.without(["icc"])
    lost = [
        kind.upper() for kind in metadata._fields if getattr(metadata, kind) != getattr(kept, kind)
    ]
    options = _OPTIONS.get(name, {}) | to_info(kept, grey)
    if name == "PNG" and (kept.xmp or cicp):
        options["pnginfo"] = _png_info(options.pop("xmp", None), cicp)
    notices += (f"{', '.join(lost)} dropped: {name} cannot hold it",) if lost else ()
    if name in _POORER and not (grey and name in ("GIF", "SPIDER")):
        notices += (_POORER[name],)
    if name == "ICO":
        options["sizes"] = [_ico_size(size)]  # Pillow writes several smaller ones otherwise
        if options["sizes"] != [size]:
            notices += (f"made smaller: ICO holds {_ICO_SIDE}x{_ICO_SIDE} pixels at most",)
    return Saving(options, notices, grey)


def _ico_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height in an ICO file of a picture of this size."""
    scale = min(1, _ICO_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def orientation(exif: bytes) -> int | None:
    """The orientation that Pillow reads in a TIFF stream, 1 without a tag; None if it cannot."""
    tags = Image.Exif()
    try:
        tags.load(exif)
    except Exception:  # damaged EXIF raises almost anything
        return None
    return tags.get(ORIENTATION, 1)


def _size(metadata: Metadata, kind: str) -> int:
    return len(getattr(metadata, kind) or b"")


def _with_colours(
    name: str, metadata: Metadata, grey: bool, cicp: Cicp | None
) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata that says what `cicp` does as far as the format can, and notices."""
    if cicp is None or name == "PNG":
        return metadata, ()
    if cicp.hdr:
        return metadata, (f"HDR dropped: {name} cannot tell that levels are those of {cicp.hdr}",)
    if metadata.icc or "icc" not in _METADATA_LIMITS.get(name, {}):
        return metadata, (f"colours of {cicp.name} dropped: {name} cannot hold them",)
    profile, notices = told({}, cicp, grey)
    return metadata._replace(icc=profile), notices


def _png_info(xmp: bytes | None, cicp: Cicp | None) -> PngImagePlugin.PngInfo:
    """Chunks of PNG: XMP as international text of an agreed keyword, not compressed; cICP."""
    info = PngImagePlugin.PngInfo()
    if cicp:
        info.add(b"cICP", bytes(cicp))
    if xmp:
        info.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    return info
