"""ICC profiles for colour spaces that a file signals by numbers, as PNG and AVIF do.

ICC.1:2022 (profile version 4), a matrix and one curve: Pillow's own profiles are sRGB, Lab and XYZ
alone. The numbers are those of ITU-T H.273 (cICP of PNG, nclx of AVIF), or gAMA and cHRM of PNG.
"""

import struct
from typing import NamedTuple

import numpy as np

D50 = 0.9642, 1.0, 0.8249  # XYZ of the white that profiles are relative to
D65 = 0.3127, 0.3290
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# ITU-T H.273 table 2: code -> x and y of red, green, blue and white.
_PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *D65),  # BT.709, sRGB
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),  # BT.470 M
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65),  # BT.470 B, G
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),  # BT.601
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),  # SMPTE 240M
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),  # BT.2020
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),  # DCI P3
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),  # Display P3
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *D65),  # EBU 3213
}
# Parametric curves, ICC.1:2022 table 68: g; or g, a, b, c, d: (aX + b)^g from X = d on, else cX.
_SRGB_CURVE = 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045
_BT709_CURVE = 1 / 0.45, 1 / 1.0993, 0.0993 / 1.0993, 1 / 4.5, 0.0813
# ITU-T H.273 table 3; those that are missing are of HDR, or of film.
_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: _SRGB_CURVE,
}
HDR = {16: "PQ", 18: "HLG"}  # codes of transfer
_UNKNOWN = 2  # of both tables: pixels without further word are sRGB


class Cicp(NamedTuple):
    """Coding-independent code points: the numbers of ITU-T H.273 for what pixels mean."""

    primaries: int
    transfer: int
    matrix: int  # 0: R, G and B, as pixels are here
    full_range: int  # 1: levels take the full range, 0: that of video

    @property
    def is_valid(self) -> bool:
        """Whether the numbers are in range, whatever they say."""
        return max(self[:3]) <= 255 and self.full_range in (0, 1)

    @property
    def hdr(self) -> str | None:
        """PQ or HLG, if it is one of them."""
        return HDR.get(self.transfer)

    @property
    def name(self) -> str:
        """As a report has it, such as cICP 9/16/0 (PQ)."""
        numbers = "/".join(map(str, self[:3])) + ("" if self.full_range else ", narrow range")
        return f"cICP {numbers}" + (f" ({self.hdr})" if self.hdr else "")


class Colours(NamedTuple):
    """primaries: x and y of red, green, blue and white. curve: from levels to light."""

    primaries: tuple[float, ...]
    curve: tuple[float, ...]


SRGB = Colours(_PRIMARIES[1], _SRGB_CURVE)


def of_codes(primaries: int, transfer: int) -> Colours | None:
    """The colours of two codes of ITU-T H.273; None for what no curve of a profile says."""
    found = _PRIMARIES.get(1 if primaries == _UNKNOWN else primaries)
    curve = _CURVES.get(13 if transfer == _UNKNOWN else transfer)
    return Colours(found, curve) if found and curve else None


def of_png(gamma: float | None, chromaticity: tuple[float, ...] | None) -> Colours | None:
    """The colours that gAMA and cHRM tell, white first; None if they make no sense."""
    primaries = SRGB.primaries if chromaticity is None else (*chromaticity[2:], *chromaticity[:2])
    if not _is_real(primaries):
        return None
    if gamma is None or abs(gamma - 1 / 2.2) < 0.002:
        # What writers of sRGB pixels say, which have its curve; of other colours it is the power.
        curve = (
            (2.2,) if gamma is not None and not _near(primaries, SRGB.primaries) else _SRGB_CURVE
        )
        return Colours(primaries, curve)
    return Colours(primaries, (1 / gamma,)) if 0.1 <= gamma <= 10 else None


def _is_real(primaries: tuple[float, ...]) -> bool:
    """Tell whether three of the points are a triangle, and all of them some light."""
    if len(primaries) != 8 or not all(0 <= value <= 1 for value in primaries):
        return False
    rx, ry, gx, gy, bx, by = primaries[:6]
    area = (rx - bx) * (gy - by) - (gx - bx) * (ry - by)
    return abs(area) > 0.001 and min(primaries[1::2]) > 0.001


def is_srgb(colours: Colours) -> bool:
    """Tell whether no profile says the same."""
    return colours.curve == SRGB.curve and _near(colours.primaries, SRGB.primaries)


def told(info: dict, codes: Cicp | None, grey: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """The profile of pixels whose file has none: what its other signals of colour say, and notices
    of what became of these. None: the pixels are sRGB.

    info: of a Pillow image. codes: they come first.
    """
    if codes is not None:
        found = of_codes(codes.primaries, codes.transfer)
        name = f"colours of codes {codes.primaries} and {codes.transfer}"
    elif "srgb" in info or not {"gamma", "chromaticity"} & info.keys():
        found, name = SRGB, ""
    else:
        found, name = of_png(info.get("gamma"), info.get("chromaticity")), "gAMA and cHRM"
    if found is None:
        return None, (f"{name} dropped: no profile says the same",)
    if is_srgb(found):
        return None, ()
    return profile_of(found, grey), (f"{name} became a colour profile",)


def space_of(profile: bytes) -> bytes:
    """The colour space of the pixels that a profile is for: `RGB `, `GRAY` and so on."""
    return profile[16:20]


def grey_of(profile: bytes) -> bytes | None:
    """The profile of grey pixels that are as bright as equal R, G and B are under this one; None
    if it has no such, but tables, or another curve for each."""
    tags = _tags(profile)
    curves = {tags.get(name) for name in (b"rTRC", b"gTRC", b"bTRC")}
    if len(curves) > 1 or None in curves or b"A2B0" in tags:
        return None
    kept = {name: tags[name] for name in (b"desc", b"cprt", b"wtpt") if name in tags}
    return _pack(kept | {b"kTRC": curves.pop()}, b"GRAY", profile[8:12])


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Name and data of each tag; none if one of them is not inside."""
    found = {}
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for number in range(count):  # ends with struct.error where the profile does
            name, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
            if start + size > len(profile):
                return {}
            found[name] = profile[start : start + size]
    except struct.error:
        return {}
    return found


def profile_of(colours: Colours, grey: bool) -> bytes:
    """The ICC profile of RGB pixels, or of grey ones, which are as bright as equal R, G and B."""
    curve = b"para" + bytes(4) + struct.pack(">HH", 3 if len(colours.curve) > 1 else 0, 0)
    curve += _fixed(*colours.curve)
    tags = {b"desc": _text("as told by the file"), b"cprt": _text("CC0"), b"wtpt": _xyz(D50)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        columns, adaptation = _matrix(colours.primaries)
        tags[b"chad"] = b"sf32" + bytes(4) + _fixed(*adaptation.ravel())
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True):
            tags[name] = _xyz(column)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _pack(tags, b"GRAY" if grey else b"RGB ")


def _near(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) < 0.0015 for a, b in zip(one, other, strict=True))


def _matrix(primaries: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """[3, 3] each: XYZ of the primaries relative to D50, and the adaptation of the white to it."""
    x, y = np.array(primaries[::2]), np.array(primaries[1::2])
    red, green, blue, white = np.stack([x / y, np.ones(4), (1 - x - y) / y], 1)
    columns = np.stack([red, green, blue], 1)
    columns = columns * np.linalg.solve(columns, white)
    cones = (_BRADFORD @ D50) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    return adaptation @ columns, adaptation


def _pack(tags: dict[bytes, bytes], space: bytes, version: bytes = b"\x04\x40\0\0") -> bytes:
    """Header, table of tags and their data, each datum once and at a multiple of 4."""
    table, body, offsets = b"", b"", {}
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        if data not in offsets:
            offsets[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", offsets[data], len(data))
    size = struct.pack(">I", start + len(body))
    head = size + bytes(4) + version + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += _fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _fixed(*values: float) -> bytes:
    """Numbers of 16 bits before the point and 16 behind it."""
    return struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))


def _text(text: str) -> bytes:
    coded = text.encode("utf-16-be")
    return (
        b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(coded), 28) + coded
    )
