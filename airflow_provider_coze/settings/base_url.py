"""How the host, schema and port of a connection become one base URL."""

from __future__ import annotations

import ipaddress
import re

from airflow_provider_coze.settings.extras import VISIBLE, WrongValue, is_empty, read_whole, split_url

__all__ = ["CLOUD_HOSTS", "DEFAULT_BASE_URL", "read_base_url"]

#: The site of Coze's Chinese documents. coze.com has other accounts: a token of one site fails on the other.
DEFAULT_BASE_URL = "https://api.coze.cn"

CLOUD_HOSTS = ("api.coze.cn", "api.coze.com")
#: What people copy from the browser's address bar, and the host they mean.
_CONSOLES = {
    "coze.cn": "api.coze.cn",
    "www.coze.cn": "api.coze.cn",
    "code.coze.cn": "api.coze.cn",
    "coze.com": "api.coze.com",
    "www.coze.com": "api.coze.com",
}
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")  # with _, which Docker Compose allows in its host names
_IPV6 = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*")
_ALLOWED = (
    "https://api.coze.cn (also when empty), https://api.coze.com, or http(s)://name[:port][/path] of your own server"
)


def read_base_url(host: str | None, schema: str | None, port: int | str | None, problems: list[str]) -> str:
    """Return ``scheme://host[:port][/path]``, adding what is wrong to *problems*.

    *schema* and *port* fill in what *host* does not say; they may not contradict it. With no scheme anywhere it is
    https, except on this machine's loopback addresses.
    """
    scheme_field = _scheme_field(schema, problems)
    port_field = _port_field(port, problems)
    if is_empty(host):
        if scheme_field or port_field:
            problems.append("`host` is empty, but `schema` or `port` is set; allowed: a host, or all three empty")
        return DEFAULT_BASE_URL
    text = host.strip() if isinstance(host, str) else ""
    before, separator, after = text.partition("://")
    scheme, rest = (before.lower(), after) if separator else ("", text)
    parts = split_url(f"//{rest}") if VISIBLE.fullmatch(text) and scheme in ("", *_PORTS) else None
    name = (parts and parts.hostname) or ""
    # "https" as a name is a URL whose colon or slashes were lost.
    if parts is None or name in _PORTS or not (_NAME.fullmatch(name) or _IPV6.fullmatch(name)):
        problems.append(f"`host` {WrongValue(host, _ALLOWED)}")
        return DEFAULT_BASE_URL
    if "@" in parts.netloc or parts.query or parts.fragment:
        problems.append(f"`host` {WrongValue(host, _ALLOWED)}; without user, password, ? and #")
    if scheme and scheme_field and scheme != scheme_field:
        problems.append(f"`schema` is {scheme_field}, but `host` starts with {scheme}://; allowed: one of them")
    if parts.port and port_field and parts.port != port_field:
        problems.append(f"`port` is {port_field}, but `host` says {parts.port}; allowed: one of them")
    scheme = scheme or scheme_field or ("http" if _is_loopback(name) else "https")
    path = parts.path.rstrip("/")
    _check_cloud(name, scheme, path, problems)
    number = parts.port or port_field
    # The default port is left out: the audience of an OAuth JWT is host[:port], and Coze expects its own without.
    shown_port = f":{number}" if number and number != _PORTS[scheme] else ""
    return f"{scheme}://{f'[{name}]' if ':' in name else name}{shown_port}{path}"


def _check_cloud(name: str, scheme: str, path: str, problems: list[str]) -> None:
    if name in _CONSOLES:
        problems.append(f"`host` is Coze's console, {name}; allowed for its API: https://{_CONSOLES[name]}")
    elif name in CLOUD_HOSTS:
        if path:
            problems.append(f"`host` has a path after {name}; allowed: https://{name}")
        if scheme == "http":
            problems.append(
                f"`host` or `schema` says http, which would send the token in clear; allowed: https://{name}"
            )


def _is_loopback(name: str) -> bool:
    """Tell whether *name* can only be this machine: plain http leaks nothing there, and certificates are not issued."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _scheme_field(schema: str | None, problems: list[str]) -> str:
    if is_empty(schema):
        return ""
    name = schema.strip().lower() if isinstance(schema, str) else ""
    if name in _PORTS:
        return name
    problems.append(
        f"`schema` {WrongValue(schema, 'http, https or empty')}. In a URI it is what stands between the slash after "
        "the host and the question mark; a path of your own server belongs to the host, percent-encoded"
    )
    return ""


def _port_field(port: int | str | None, problems: list[str]) -> int | None:
    if is_empty(port):
        return None
    try:
        return read_whole(port, "a whole number from 1 to 65535", 1, 65_535)
    except WrongValue as wrong:
        problems.append(f"`port` {wrong}")
        return None
