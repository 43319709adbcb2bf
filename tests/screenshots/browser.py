"""A headless Chromium, and pictures of parts of its pages that are small enough for a repository.

Nothing here knows Airflow: where its pages have what is in ``airflow2`` and ``airflow3``.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

#: Chromium's sandbox does not work for root, who runs containers; the others keep it from calling its maker.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Flat pages need few colours, and take a third of the bytes with them.
COLOURS = 256
#: What a picture may weigh.
MOST_BYTES = 150_000


@contextlib.contextmanager
def browser(width: int = 1000, height: int = 700) -> Iterator[Page]:
    """Open a page of a Chromium that is on this machine, or of the one that Playwright has installed; CHROMIUM names another."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        try:
            # English and UTC, whatever this machine speaks: the pages of the documentation name buttons.
            page = chromium.new_page(
                viewport={"width": width, "height": height}, locale="en-US", timezone_id="UTC", color_scheme="light"
            )
            # Two cores run Airflow and its tasks as well.
            page.set_default_timeout(60_000)
            expect.set_options(timeout=60_000)
            yield page
        finally:
            chromium.close()


class Album:
    """The folder that pictures are kept in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, name: str, *parts: Image.Image) -> None:
        """Write ``<name>.png``: the parts, one below another.

        :raises ValueError: it weighs more than the repository should bear.
        """
        width, gap = max(part.width for part in parts), 12
        whole = Image.new("RGB", (width, sum(part.height for part in parts) + gap * (len(parts) - 1)), "white")
        top = 0
        for part in parts:
            whole.paste(part, (0, top))
            top += part.height + gap
        file = self.folder / f"{name}.png"
        whole.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
        size = file.stat().st_size
        print(f"    {file.name}: {whole.width} x {whole.height}, {size / 1000:.0f} kB", flush=True)
        if size > MOST_BYTES:
            raise ValueError(f"{file.name} has {size} bytes, more than {MOST_BYTES}: crop it")


def picture(page: Page, *, around: Sequence[Locator] = (), margin: tuple[int, int] = (12, 12)) -> Image.Image:
    """Return what the page shows; with *around*, the least rectangle that has all of these in it."""
    shown = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    if not around:
        return shown
    boxes = [box for locator in around if (box := locator.bounding_box())]
    beside, above = margin
    left, top = min(box["x"] for box in boxes) - beside, min(box["y"] for box in boxes) - above
    right = max(box["x"] + box["width"] for box in boxes) + beside
    bottom = max(box["y"] + box["height"] for box in boxes) + above
    return shown.crop(
        (max(0, int(left)), max(0, int(top)), min(shown.width, int(right)), min(shown.height, int(bottom)))
    )
