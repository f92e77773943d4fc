"""Writes images that say what they like about themselves."""

import struct
import zlib


def png_chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def png(width: int, height: int, *, said=None, first: bytes = b"", interlaced=False) -> bytes:
    """Black, RGB; `said` is the size that its header names, `first` what comes before that."""
    header = struct.pack(">IIBBBBB", *(said or (width, height)), 8, 2, 0, 0, interlaced)
    compressor = zlib.compressobj(9)
    rows = [compressor.compress(b"\0" * (1 + 3 * width)) for _ in range(height)]
    data = b"".join(rows) + compressor.flush()
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + first + b"".join(chunks)


def gif(screen, frames, extension: bytes = b"", local_colors: bool = False) -> bytes:
    """One color; `screen` and `frames` are (width, height)."""
    colors = bytes([200, 100, 50, 0, 0, 0])
    contents = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + colors
    for width, height in frames:
        flags, table = (0x80, colors) if local_colors else (0, b"")
        contents += extension + b"," + struct.pack("<HHHHB", 0, 0, width, height, flags) + table
        contents += _gif_data(width * height)
    return contents + b";"


def _gif_data(pixels: int) -> bytes:
    """Codes of 3 bits: a clear code before each two pixels keeps them from growing."""
    bits = "".join(f"{code:03b}"[::-1] for code in [4, 0, 0] * (pixels // 2))
    bits += "".join(f"{code:03b}"[::-1] for code in [4, 0] * (pixels % 2) + [5])
    data = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    pieces = (data[start : start + 255] for start in range(0, len(data), 255))
    return b"\2" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def bmp(width: int, height: int) -> bytes:
    """Black, RGB; a negative height has the first row first."""
    size = (width * 3 + -width * 3 % 4) * abs(height)
    header = struct.pack("<2sIHHI", b"BM", 54 + size, 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6) + b"\0" * size
