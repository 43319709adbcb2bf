"""The README as a package index shows it, where no file of the repository lies beside it: its links lead to those of this version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: A fenced block, which stays as it is; or the address of a link or picture, if it is a path.
_PATH = re.compile(
    r"(?P<block>^ *```.*?^ *```$)|(?<=\]\()(?![a-z]+:|#)(?P<path>[^)\s]+)(?=\))", re.DOTALL | re.MULTILINE
)
_PICTURES = (".png", ".svg", ".gif", ".jpg")


class Readme(MetadataHookInterface):
    """Found by hatchling because pyproject.toml says that ``readme`` is dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the README into the table ``project``."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = with_addresses(text, metadata["urls"]["Source"], f"v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_addresses(text: str, source: str, tag: str) -> str:
    """Return Markdown whose links to files of the repository lead to *source* at *tag*; pictures to the files themselves."""

    def address(found: re.Match[str]) -> str:
        if found["block"]:
            return found["block"]
        kind = "raw" if found["path"].endswith(_PICTURES) else "blob"
        return f"{source}/{kind}/{tag}/{found['path']}"

    return _PATH.sub(address, text)
