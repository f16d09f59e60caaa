"""Metadata as bytes, its orientation, and its way through .vqc files."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from vqcodec.bitstream.container import unpack
from vqcodec.image import pixels
from vqcodec.image.metadata import Metadata, from_info, to_info

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="%d"/></x:xmpmeta>'


def exif(orientation: int, order: str = ">", kind: int = 3) -> bytes:
    """A TIFF stream of Make, orientation and some bytes that no tag points to."""
    code = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    tags = struct.pack(f"{order}HHI4s", 0x010F, 2, 3, b"me\0")
    tags += struct.pack(f"{order}HHI{code}", 0x0112, kind, 1, orientation)
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, 2)
    return head + tags + bytes(4) + b"maker note"


def jpeg(rgb: np.ndarray, metadata: Metadata) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=95, subsampling=0, **to_info(metadata))
    return out.getvalue()


# Bytes


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_only_the_orientation_is_changed(order, kind):
    found = Metadata(ICC, exif(6, order, kind), XMP % 6).upright()

    assert found == Metadata(ICC, exif(1, order, kind), XMP % 1)


@pytest.mark.parametrize(
    "text", [b"<tiff:Orientation>%d</tiff:Orientation>", b"tiff:Orientation='%d'"]
)
def test_xmp_may_write_the_orientation_in_several_ways(text):
    assert Metadata(xmp=text % 8).upright().xmp == text % 1


def test_damaged_exif_stays_as_it_is():
    whole = exif(6)
    for size in range(len(whole) - 10 - 4 - 4):  # up to the value of the orientation
        assert Metadata(exif=whole[:size]).upright().exif == whole[:size]
    for damaged in (b"", b"text", b"MM\0*\xff\xff\xff\xff", b"II+\0" + bytes(40)):
        assert Metadata(exif=damaged).upright().exif == damaged


def test_info_of_pillow_and_back():
    metadata = Metadata(ICC, exif(1), XMP % 1)

    assert from_info(to_info(metadata)) == metadata
    assert from_info({}) == from_info({"exif": b"Exif\0\0", "xmp": ""}) == Metadata()
    assert from_info({"exif": b"Exif\0\0Exif\0\0MM"}).exif == b"MM"
    assert from_info({"XML:com.adobe.xmp": "é"}).xmp == "é".encode()
    assert from_info({"Raw profile type exif": "\nexif\n4\nnot hex"}) == Metadata()
    assert to_info(Metadata()) == {}


def test_kinds_are_dropped_by_name():
    metadata = Metadata(b"icc", b"exif", b"xmp")

    assert metadata.without(["exif", "xmp"]) == Metadata(icc=b"icc")
    assert metadata.without(Metadata._fields) == Metadata()


# Through files


def test_metadata_survives_the_file_byte_for_byte(codec, picture):
    data = codec.encode(jpeg(picture, Metadata(ICC, exif(1), XMP % 1)))
    info = codec.decode(data).info

    assert info == {"icc_profile": ICC, "exif": b"Exif\0\0" + exif(1), "xmp": XMP % 1}


def test_a_file_without_metadata_has_no_chunks(codec, picture):
    bare = codec.encode(picture)
    image = pixels.load(jpeg(picture, Metadata(ICC, exif(1), XMP % 1)))
    stripped = image._replace(rgb=picture, metadata=image.metadata.without(Metadata._fields))

    assert bare[4] == 0x10
    assert codec.encode(stripped) == codec.encode(Image.fromarray(picture)) == bare
    assert codec.decode(bare).info == {}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_and_say_so_only_once(codec, orientation):
    """The decoded picture and one that is turned by its EXIF or XMP again are the same."""
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :16] = 255  # white top left corner
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    metadata = Metadata(exif=exif(orientation), xmp=XMP % orientation)
    source = jpeg(np.ascontiguousarray(stored), metadata)
    data = codec.encode(source, 100)
    decoded = codec.decode(data)
    again = pixels.load(decoded).rgb

    assert decoded.size == (64, 32)
    assert np.abs(np.asarray(decoded).astype(int) - upright).mean() < 20
    assert np.array_equal(again, np.asarray(decoded))
    assert decoded.info["exif"] == b"Exif\0\0" + exif(1)
    assert decoded.info["xmp"] == XMP % 1


def test_a_foreign_file_that_tells_an_orientation_is_shown_as_it_is(codec, picture):
    """The pixels of a .vqc file are upright, whatever its metadata says."""
    data = codec.encode(pixels.Picture(picture, None, Metadata(exif=exif(6))))

    assert len(unpack(data).chunks) == 1
    assert codec.decode(data).info["exif"] == b"Exif\0\0" + exif(1)
