"""The agent desktop, the supervisor's page and the widget: files under `desktop/`, read and compressed once at start.

No build step and nothing from elsewhere: what lies in the folder is what the browser gets. A browser asks each time
whether it still has the newest version (ETag) and is answered in a few bytes.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "desktop"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Everything a page needs comes from us; scripts can neither be written into it nor make HTML from text.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGES = {"/desktop": "desktop.html", "/insights": "insights.html"}


@dataclass(frozen=True, slots=True)
class File:
    """One file, ready to be sent."""

    plain: bytes
    packed: bytes
    etag: str
    media: str

    def answer(self, headers: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for a request with these headers."""
        send = {
            "content-type": self.media,
            "etag": self.etag,
            "cache-control": "no-cache",
            "vary": "Accept-Encoding",
            "cross-origin-resource-policy": "cross-origin" if self.media == _MEDIA[".js"] else "same-origin",
        }
        if self.media == _MEDIA[".html"]:
            send["content-security-policy"] = _CSP
            send["permissions-policy"] = "camera=(), geolocation=(), microphone=()"
        if self.etag in [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]:
            return 304, b"", send
        if "gzip" in headers.get("accept-encoding", ""):
            return 200, self.packed, {**send, "content-encoding": "gzip"}
        return 200, self.plain, send


def load(folder: Path = FOLDER) -> dict[str, File]:
    """Every file by the path that it is served at."""
    files = {path.name: file_of(path) for path in sorted(folder.iterdir()) if path.suffix in _MEDIA}
    served = {f"/desktop/{name}": file for name, file in files.items() if not name.endswith(".html")}
    return served | {path: files[name] for path, name in PAGES.items()}


def file_of(path: Path) -> File:
    """A file of the disk, ready to be sent."""
    return made(path.read_bytes(), path.suffix)


def made(plain: bytes, suffix: str) -> File:
    """Content of the kind that the suffix names, ready to be sent."""
    # mtime=0: the same file is the same bytes on every machine.
    packed = gzip.compress(plain, 9, mtime=0)
    return File(plain, packed, f'"{hashlib.sha256(plain).hexdigest()[:20]}"', _MEDIA[suffix])
