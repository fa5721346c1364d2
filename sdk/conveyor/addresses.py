"""Addresses of Conveyor, checked before anything connects to them."""

from __future__ import annotations

from urllib.parse import urlsplit


def checked_url(url: str) -> str:
    """The address without a slash at its end. Raises ValueError for what is not one."""
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or url.split() != [url] or "?" in url or "#" in url:
        raise ValueError(f"url {url!r} is not an address; write http://127.0.0.1:8080")
    return url.rstrip("/")
