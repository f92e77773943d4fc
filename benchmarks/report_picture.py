"""Takes a picture of the upper part of an evaluation's report, small enough for a README.

    python benchmarks/report_picture.py --report=runs/flowers/best/evaluation/report.html

Needs Chromium or Chrome, and Pillow.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl import app, flags
from PIL import Image

_REPORT = flags.DEFINE_string("report", None, "The page.", required=True)
_OUTPUT = flags.DEFINE_string("output", "report.png", "Where the picture goes (PNG).")
_HEIGHT = flags.DEFINE_integer("height", 1080, "Pixels of the page from its top, 1,200 wide.")

_PAGE_WIDTH, _PICTURE_WIDTH, _COLORS = 1200, 800, 256
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(arguments: list[str]) -> None:
    """Opens the page in a browser without a window, and writes the picture."""
    del arguments
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    report = pathlib.Path(_REPORT.value).absolute()
    if browser is None:
        sys.exit(f"ERROR: There is no browser: none of {', '.join(_BROWSERS)} is on PATH.")
    if not report.is_file():
        sys.exit(f"ERROR: --report is {report}, which is no file.")
    with tempfile.TemporaryDirectory() as folder:
        screenshot = pathlib.Path(folder, "page.png")
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={folder}/profile", "--virtual-time-budget=5000"),
                *(f"--window-size={_PAGE_WIDTH},{_HEIGHT.value}", f"--screenshot={screenshot}"),
                report.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        page = Image.open(screenshot).convert("RGB")
    size = (_PICTURE_WIDTH, round(page.height * _PICTURE_WIDTH / page.width))
    picture = page.resize(size, Image.Resampling.LANCZOS)
    picture.quantize(_COLORS, dither=Image.Dither.NONE).save(_OUTPUT.value, optimize=True)
    print(f"Written: {_OUTPUT.value}")


if __name__ == "__main__":
    app.run(main)
