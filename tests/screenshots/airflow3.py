"""Where the pages of Airflow 3.3 have what the pictures show."""

from __future__ import annotations

from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.screenshots.browser import picture
from tests.screenshots.scene import Fields, Scene


class Airflow3:
    """Its pages, in the terms of ``__main__``."""

    def __init__(self, page: Page, scene: Scene) -> None:
        self.page, self.scene, self.url = page, scene, scene.airflow.url

    # --- connections

    def empty_form(self) -> list[Image.Image]:
        """Return the form of a new connection: what is open at first, and the fields of this provider."""
        form = self._form_of_a_new_one("coze_default")
        standard = self._shown(form, 700)
        self._open(form, "Extra Fields")
        return [standard, self._shown(form, 2400)]

    def save(self, fields: Fields) -> None:
        """Fill the form in, and save it."""
        form = self._form_of_a_new_one(fields.conn_id)
        form.locator("input[name=host]").fill(fields.host)
        form.locator("input[name=password]").fill(fields.password)
        if fields.extra:
            self._open(form, "Extra Fields")
            for name, value in fields.extra.items():
                field = form.locator(f"[name=element_{name}]")
                if field.get_attribute("type") == "hidden":  # what a list of choices has beside it
                    field.locator("xpath=..").get_by_role("combobox").fill(value)
                    self.page.get_by_role("option", name=value, exact=True).click()
                else:
                    field.fill(value)
                    field.press("Tab")
        form.get_by_role("button", name="Save").click()
        expect(form).to_be_hidden()
        expect(self._row(fields.conn_id)).to_be_visible()

    def saved_form(self, fields: Fields) -> list[Image.Image]:
        """Return the form of a saved connection, its own fields open."""
        self.page.goto(f"{self.url}/connections")
        self._row(fields.conn_id).get_by_role("button", name="Edit").click()
        form = self.page.get_by_role("dialog")
        self._open(form, "Extra Fields")
        return [self._shown(form, 2400)]

    def save_again(self, fields: Fields) -> None:
        """Save the form of a saved connection as it is shown, but for its description."""
        form = self.page.get_by_role("dialog")
        form.get_by_role("button", name="Standard Fields").click()
        form.locator("textarea[name=description]").fill("saved again")
        form.locator("textarea[name=description]").press("Tab")
        form.get_by_role("button", name="Save").click()
        expect(form).to_be_hidden()
        expect(self._row(fields.conn_id)).to_contain_text("saved again")

    def tests(self, connections: dict[str, Fields]) -> list[Image.Image]:
        """Press the Test button of each, and return the list with what it said."""
        for fields in connections.values():
            # By the API, because the form has no port, without which this button of 3.3.2 refuses to work.
            self.scene.airflow.rest.post(
                "/connections",
                {
                    "connection_id": fields.conn_id,
                    "conn_type": "coze",
                    "host": fields.host,
                    "port": fields.port,
                    "password": fields.password,
                },
            )
        self._size(1120, 1080)
        self.page.goto(f"{self.url}/connections")
        # The last to come is on top, and each stays for five seconds.
        for fields in reversed(connections.values()):
            with self.page.expect_response(lambda answer: "/connections/test" in answer.url):
                self._row(fields.conn_id).get_by_role("button", name="Test").click()
        said = self.page.get_by_role("status").filter(has_text="Test Connection")
        expect(said).to_have_count(len(connections))
        self.page.mouse.move(300, 20)  # away from the button, whose tooltip hides the next row's
        expect(self.page.get_by_role("tooltip")).to_have_count(0)
        self.page.wait_for_timeout(600)
        return [picture(self.page, around=[self.page.get_by_role("table"), *said.all()])]

    # --- runs

    def links(self, run: str, dag_id: str, task_id: str, map_index: int = -1) -> Image.Image:
        """Return the head of a task's details, with its links."""
        self._size(1300, 700)
        self._task(run, dag_id, task_id, map_index, "details")
        buttons = self.page.get_by_role("link", name="Coze")
        expect(buttons.first).to_be_visible()
        title = self.page.get_by_role("heading", name=task_id).first
        rows = self.page.get_by_role("table").locator("tr")
        right = self.page.get_by_text("Dag Version", exact=True).first
        return picture(self.page, around=[title, right, buttons.last, rows.nth(2)])

    def log(self, run: str, dag_id: str, task_id: str) -> Image.Image:
        """Return a task's page, with the grid beside its log."""
        self._size(1500, 700)
        self._task(run, dag_id, task_id, -1, "")
        expect(self.page.get_by_text("answered after")).to_be_visible()
        self.page.keyboard.press("w")  # wraps long lines
        self.page.wait_for_timeout(600)
        return picture(self.page)

    def _task(self, run: str, dag_id: str, task_id: str, map_index: int, tab: str) -> None:
        place = f"/dags/{dag_id}/runs/{quote(self.scene.runs[run])}/tasks/{task_id}"
        mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
        self.page.goto(f"{self.url}{place}{mapped}/{tab}".rstrip("/"))
        self.page.wait_for_timeout(2500)  # the grid and the durations come after the page

    # --- parts of pages

    def _form_of_a_new_one(self, conn_id: str) -> Locator:
        self._size(1000, 900)
        self.page.goto(f"{self.url}/connections")
        self.page.get_by_role("button", name="Add Connection").click()
        form = self.page.get_by_role("dialog")
        form.get_by_role("combobox").fill("Coze")
        self.page.get_by_role("option", name="Coze", exact=True).click()
        form.locator("input[name=connection_id]").fill(conn_id)
        expect(form.get_by_text("Base URL")).to_be_visible()
        return form

    def _open(self, form: Locator, part: str) -> None:
        form.get_by_role("button", name=part, exact=True).click()
        expect(form.get_by_text("Workflow run path")).to_be_visible()

    def _row(self, conn_id: str) -> Locator:
        return self.page.get_by_role("row").filter(has_text=conn_id)

    def _shown(self, form: Locator, height: int) -> Image.Image:
        self._size(1000, height)
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(800)  # what opens slides
        return picture(self.page, around=[form], margin=(-2, -2))

    def _size(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})
