"""``make docs``: lay out the pages, build them with every warning an error, and read the site that came out."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from sphinx.cmd.build import build_main

from tests.docs_site import api, checking, staging

BUILD = Path(__file__).parents[2] / "build" / "docs"


def main() -> int:
    """Build the site; return how a process says whether it is whole."""
    began = time.monotonic()
    source, site = BUILD / "source", BUILD / "html"
    staging.stage(source, api.pages())
    shutil.rmtree(site, ignore_errors=True)  # a page that is gone must not be found by the check of links
    options = [
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        "--jobs",
        "auto",
        "--conf-dir",
        str(Path(__file__).parent),
    ]
    failed = build_main([*options, "--doctree-dir", str(BUILD / "doctrees"), str(source), str(site)])
    if failed:
        return failed
    flaws = checking.flaws(site)
    for flaw in flaws:
        print(flaw, file=sys.stderr)
    pages, links = checking.counted(site)
    print(f"{pages} pages, {links} links, {len(flaws)} flaws, {time.monotonic() - began:.0f} s: {site / 'index.html'}")
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main())
