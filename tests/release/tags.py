"""Whether what is checked out is what a tag promises."""

from __future__ import annotations

from tests.release import building, changes


def tag_problems(tag: str) -> list[str]:
    """Return what keeps the checkout from being released as *tag*, in words."""
    version = building.project()["version"]
    found = []
    if tag != f"v{version}":
        found.append(f"pyproject.toml says version {version}, so its tag is v{version}")
    if left := [path.name for path in changes.notes()]:
        found.append(f"run `make changelog`: {len(left)} notes in changes/ are in no section yet, such as {left[0]}")
    sections = changes.released(changes.CHANGELOG.read_text(encoding="utf-8"))
    if not sections or sections[0][0] != version:
        found.append(f"CHANGELOG.md does not begin with {version}")
    if changed := building.git("status", "--porcelain", "--untracked-files=no").splitlines():
        found.append(f"{len(changed)} tracked files are not as committed")
    return found
