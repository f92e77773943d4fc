"""The format of an image file, told by its first bytes.

What is decoded is decided in `decoding`; this is for people who gave something else, and for
telling an image from text.
"""

from __future__ import annotations

DECODED_FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP")
"""What is promised to be decoded."""

NUM_BYTES = 32
"""How many of the first bytes `image_format` looks at."""

# At position 4 of an ISO base media file is "ftyp", then its brand.
_BRANDS = {
    **dict.fromkeys(
        (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"
    ),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"8BPS": "Photoshop",
}


def image_format(contents: bytes) -> str | None:
    """Returns what format an image has, such as "JPEG" or "HEIC"; None for what is no image.

    Args:
      contents: of the file, or its first `NUM_BYTES` bytes.
    """
    for start, name in _STARTS.items():
        if contents.startswith(start):
            return name
    if contents[:4] == b"RIFF" and contents[8:12] == b"WEBP":
        return "WebP"
    if contents[4:8] == b"ftyp":
        return _BRANDS.get(contents[8:12])
    # Text can begin with BM; four zeros follow the size in a BMP.
    if contents[:2] == b"BM" and contents[6:10] == b"\0\0\0\0":
        return "BMP"
    return None


def why_not_decoded(contents: bytes) -> str:
    """Says what is wrong with a file that could not be decoded, to be read after its name.

    Args:
      contents: of the file, or its first bytes.
    """
    found = image_format(contents)
    if not contents:
        return "is empty"
    accepted = f"only {', '.join(DECODED_FORMATS[:-1])} and {DECODED_FORMATS[-1]} can be read"
    if found is None:
        return f"is no image; {accepted}"
    if found == "WebP" and contents[12:16] == b"VP8X" and contents[20:21] and contents[20] & 2:
        return "is an animated WebP image; only still ones can be read"
    bits = int.from_bytes(contents[28:30], "little")
    if found == "BMP" and len(contents) >= 30 and bits not in (8, 24, 32):
        return f"is a BMP image with {bits} bits a pixel; 8, 24 and 32 can be read: convert it"
    if found in DECODED_FORMATS:
        return f"is a {found} image that is damaged, or of a kind or size that is not decoded"
    article = "an" if found == "AVIF" else "a"
    return f"is {article} {found} image; {accepted}: convert it"
