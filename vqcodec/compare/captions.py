"""Formatting of bytes, ratios and speeds for captions and reports."""


def spaced(number: int) -> str:
    """9834 -> '9 834'."""
    return f"{number:,}".replace(",", " ")


def ratio(pixels: int, size: int) -> str:
    """How many times smaller than 24 bits a pixel: '1:120', '1:7.5'."""
    times = 3 * pixels / size
    return f"1:{times:.0f}" if times >= 10 else f"1:{times:.1f}"


def speed(pixels: int, seconds: float) -> str:
    """'1.9 MP/s'."""
    rate = pixels / 1e6 / max(seconds, 1e-9)
    digits = 0 if rate >= 10 else 1 if rate >= 0.1 else 3
    return f"{rate:.{digits}f} MP/s"
