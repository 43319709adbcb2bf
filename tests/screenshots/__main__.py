"""``make screenshots``: real Airflows with real runs, and pictures of their pages for the documentation.

What a picture is to show is awaited and, where it can be said, asserted; that it is right, somebody has to look. Times, ids and ports
differ from one making to the next.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.airflow.processes import ending_on_sigterm
from tests.airflow.stack import airflow
from tests.env.bootstrap import MAIN, ROOT
from tests.screenshots.airflow2 import Airflow2
from tests.screenshots.airflow3 import Airflow3
from tests.screenshots.browser import Album, browser
from tests.screenshots.scene import MAPPED, QUICKSTART, STUDIO, Fields, Scene, scene

VERSIONS = (MAIN, "2.11.2")


def main() -> None:
    """Make all pictures, or those of one version."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=VERSIONS, help="one version of Airflow")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images", help="where the pictures go")
    given = parser.parse_args()
    album = Album(given.folder)
    with ending_on_sigterm():
        for version in [given.only] if given.only else VERSIONS:
            print(f"Airflow {version}: starting it, and running four DAGs …", flush=True)
            with scene(version) as made, browser() as page:
                pages = Airflow2(page, made) if version.startswith("2.") else Airflow3(page, made)
                _take(pages, made, album, f"airflow{version[0]}")
    print("Look at each of them.")


def _take(pages: Airflow2 | Airflow3, made: Scene, album: Album, kind: str) -> None:
    album.keep(
        f"links-{kind}",
        pages.links("broken", QUICKSTART, "run_workflow"),
        pages.links("mapped", MAPPED, "summarise", 2),
        pages.links("studio", STUDIO, "ask_bot"),
    )
    if isinstance(pages, Airflow3):
        album.keep("quickstart-grid", pages.log("quickstart", QUICKSTART, "ask_bot"))
    for number, part in enumerate(pages.empty_form()):
        album.keep(f"connection-{kind}-{('new', 'fields')[number]}", part)
    pages.save(made.app)
    album.keep(f"connection-{kind}-saved", *pages.saved_form(made.app))
    # Saved once more as it was shown: the secrets have to be those of before.
    pages.save_again(made.app)
    _require_saved(made, made.app)
    album.keep(f"connection-{kind}-tested", *pages.tests(made.connections))


def _require_saved(made: Scene, fields: Fields) -> None:
    """Raise unless Airflow keeps what was typed, secrets included."""
    listed = json.loads(
        airflow(
            made.airflow.version, made.airflow.env, "connections", "get", fields.conn_id, "-o", "json"
        ).splitlines()[-1]
    )[0]
    extra = listed["extra_dejson"] if isinstance(listed["extra_dejson"], dict) else json.loads(listed["extra_dejson"])
    lost = {name for name, value in fields.extra.items() if str(extra.get(name)) != value}
    if lost or (listed["host"] or "") != fields.host:
        raise AssertionError(f"{fields.conn_id} was saved without {sorted(lost)} or with another host")


if __name__ == "__main__":
    main()
