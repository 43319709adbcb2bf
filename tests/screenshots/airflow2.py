"""Where the pages of Airflow 2.11 have what the pictures show."""

from __future__ import annotations

from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, expect

from tests.screenshots.browser import picture
from tests.screenshots.scene import Fields, Scene


class Airflow2:
    """Its pages, in the terms of ``__main__``."""

    def __init__(self, page: Page, scene: Scene) -> None:
        self.page, self.scene, self.url = page, scene, scene.airflow.url

    # --- connections

    def empty_form(self) -> list[Image.Image]:
        """Return the form of a new connection."""
        self._form_of_a_new_one("coze_default")
        return [self._shown()]

    def save(self, fields: Fields) -> None:
        """Fill the form in, and save it."""
        self._fill(fields)
        self.page.get_by_role("button", name="Save").click()
        self.page.goto(f"{self.url}/connection/list/")
        expect(self.page.get_by_role("row").filter(has_text=fields.conn_id)).to_be_visible()

    def saved_form(self, fields: Fields) -> list[Image.Image]:
        """Return the form of a saved connection."""
        self._size(1000, 900)
        self.page.goto(f"{self.url}/connection/list/")
        row = self.page.get_by_role("row").filter(has_text=fields.conn_id)
        edit = row.locator("a[href*='/connection/edit/']").first.get_attribute("href")
        self.page.goto(f"{self.url}{edit}")
        self.page.wait_for_timeout(1000)  # a script relabels the fields
        return [self._shown()]

    def save_again(self, fields: Fields) -> None:
        """Save the form of a saved connection as it is shown, but for its description."""
        self.page.locator("#description").fill("saved again")
        self.page.get_by_role("button", name="Save").click()
        self.page.goto(f"{self.url}/connection/list/")
        expect(self.page.get_by_role("row").filter(has_text=fields.conn_id)).to_contain_text("saved again")

    def tests(self, connections: dict[str, Fields]) -> list[Image.Image]:
        """Type each in, press Test, and return the heads of the forms, with what it said."""
        pictures = []
        for fields in connections.values():
            self._fill(fields)
            # The whole form, for what is said is at its top and the button at its end; on a narrower page the menu lies over both.
            self._size(1280, 3000)
            with self.page.expect_response(lambda answer: "/connections/test" in answer.url):
                self.page.get_by_role("button", name="Test").click()
            said = self.page.locator("#test_connection_alert, .alert").filter(visible=True).first
            expect(said).to_be_visible()
            self.page.wait_for_timeout(600)
            pictures.append(picture(self.page, around=[said, self.page.locator("#conn_id")]))
        return pictures

    # --- runs

    def links(self, run: str, dag_id: str, task_id: str, map_index: int = -1) -> Image.Image:
        """Return the head of a task's details, with its links, and the grid beside them."""
        self._size(1250, 900)
        mapped = f"&map_index={map_index}" if map_index >= 0 else ""
        run_id = quote(self.scene.runs[run], safe="")
        self.page.goto(f"{self.url}/dags/{dag_id}/grid?dag_run_id={run_id}&task_id={task_id}{mapped}")
        buttons = self.page.get_by_role("link", name="Coze")
        expect(buttons.first).to_be_visible()
        self.page.wait_for_timeout(1500)  # the parts of the page come one after another
        path = self.page.get_by_label("breadcrumb").last
        row = self.page.get_by_role("row").filter(has_text="Task ID").last
        return picture(self.page, around=[path, buttons.last, row], margin=(14, 2))

    # --- parts of pages

    def _form_of_a_new_one(self, conn_id: str) -> None:
        self._size(1000, 900)
        self.page.goto(f"{self.url}/connection/add")
        self.page.evaluate("$('#conn_type').val('coze').trigger('change')")  # a list that a script draws
        expect(self.page.get_by_text("Base URL")).to_be_visible()
        self.page.locator("#conn_id").fill(conn_id)

    def _fill(self, fields: Fields) -> None:
        self._form_of_a_new_one(fields.conn_id)
        self.page.locator("#host").fill(fields.host)
        self.page.locator("#password").fill(fields.password)
        for name, value in fields.extra.items():
            self.page.locator(f"#extra__coze__{name}").fill(value)

    def _shown(self) -> Image.Image:
        self._size(1000, 2600)
        self.page.wait_for_timeout(500)
        panel = self.page.locator(".panel").filter(has=self.page.locator("#conn_id")).first
        return picture(self.page, around=[panel])

    def _size(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})
