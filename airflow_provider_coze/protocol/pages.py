"""Addresses of Coze's web pages: of a run, a bot and a workflow. Nothing is asked, and what is not certain has no address.

What Coze itself says (a run's ``debug_url``) comes before what a connection says. Sources of the paths: the documents of ``bot_id``
(https://www.coze.cn/open/docs/developer_guides/chat_v3) and ``workflow_id`` (…/workflow_run); for Coze Studio
frontend/apps/coze-studio/src/routes/index.tsx of https://github.com/coze-dev/coze-studio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit, urlunsplit

__all__ = ["Pages"]

#: Where people go, by where programs go. Any other address is a gateway or a test, and says nothing about pages.
_SITES = {"https://api.coze.cn": "https://www.coze.cn", "https://api.coze.com": "https://www.coze.com"}
_ID = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one Coze.

    :ivar base_url: of its API, without a slash at the end.
    :ivar dialect: ``cloud`` or ``studio``.
    :ivar workspace_id: the one that bots and workflows are taken to be in; None: not known.
    """

    base_url: str
    dialect: str
    workspace_id: str | None = None

    def run(self, debug_url: str | None) -> str | None:
        """Return the page of a run; None: there is none, or what was given is no address of one."""
        parts = _parts(debug_url)
        if parts is None:
            return None
        if self.dialect != "studio":
            return debug_url
        # Coze Studio fills in a fixed host, www.coze.cn or 127.0.0.1:3000 by its version, and serves its pages where its API is.
        return f"{self.base_url}{urlunsplit(('', '', parts.path, parts.query, ''))}"

    def bot(self, bot_id: object) -> str | None:
        """Return the page where a bot is developed."""
        site, workspace_id = self._site(), self.workspace_id
        if not site or not workspace_id or not _is_id(bot_id):
            return None
        return f"{site}/space/{workspace_id}/bot/{bot_id}"

    def workflow(self, workflow_id: object, debug_url: str | None = None) -> str | None:
        """Return the page where a workflow is developed.

        :param debug_url: of a run of it, which names its site and workspace.
        """
        if not _is_id(workflow_id):
            return None
        if parts := _parts(debug_url):
            named = parse_qs(parts.query)
            if named.get("workflow_id") == [workflow_id] and _is_id(space := named.get("space_id", [""])[0]):
                page = urlencode({"space_id": space, "workflow_id": workflow_id})
                return self.run(urlunsplit(parts._replace(query=page, fragment="")))
        site = self._site()
        if not site or not self.workspace_id:
            return None
        return f"{site}/work_flow?{urlencode({'space_id': self.workspace_id, 'workflow_id': workflow_id})}"

    def _site(self) -> str | None:
        return self.base_url if self.dialect == "studio" else _SITES.get(self.base_url)


def _parts(url: str | None) -> SplitResult | None:
    """Return the parts of what a browser may be sent to; None: it is something else, such as a ``javascript:`` URL."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    is_page = (
        parts.scheme in ("http", "https") and parts.netloc and (url or "").isprintable() and " " not in (url or "")
    )
    return parts if is_page else None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None
