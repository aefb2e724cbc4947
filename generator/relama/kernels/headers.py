"""DuckDB's C headers, from its source distribution on the package index.

The index is the one that pip is set up for. The headers are kept in the user's cache.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

from relama.errors import RelamaError

#: The oldest DuckDB with the stable API. Its headers have nothing newer, so nothing newer
#: can be used by mistake.
VERSION = "1.2.0"
SHA256 = "a5ce81828e6d1c3f06836d3bda38eef8355765f08ad5ce239abd6f56934dd1f8"
FILE = f"duckdb-{VERSION}.tar.gz"
HEADERS = ("duckdb.h", "duckdb_extension.h")

#: JSON (PEP 691) or, from an older index, HTML (PEP 503).
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
TIMEOUT = 60


def directory() -> Path:
    """The directory with DuckDB's headers; fetches them when it is not there.

    Raises RelamaError when no index can be reached or none has the right file.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "relama" / f"duckdb-{VERSION}"
    if all((directory / name).is_file() for name in HEADERS):
        return directory
    headers = _unpack(_download())
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in headers.items():
        # Another build may be doing the same.
        part = directory / f"{name}.{os.getpid()}.part"
        part.write_bytes(text)
        part.replace(directory / name)
    return directory


def _download() -> bytes:
    settings = _pip_settings()
    indexes = [
        *settings.get("index-url", "https://pypi.org/simple").split(),
        *settings.get("extra-index-url", "").split(),
    ]
    problems = []
    for index in indexes:
        page = index.rstrip("/") + "/duckdb/"
        try:
            content_type, body = _get(page, settings)
            link = _link(page, content_type, body)
            if link is None:
                problems.append(f"{_without_user(index)} has no {FILE}")
                continue
            archive = _get(link, settings)[1]
        except (OSError, ValueError, urllib.error.URLError) as error:
            problems.append(f"{_without_user(index)}: {error}")
            continue
        if hashlib.sha256(archive).hexdigest() != SHA256:
            problems.append(f"{_without_user(index)} has another {FILE} (SHA-256 differs)")
            continue
        return archive
    raise RelamaError(
        f"DuckDB's C headers cannot be had: {FILE} is not on the package index "
        f"({'; '.join(problems)}). Put {' and '.join(HEADERS)} of DuckDB {VERSION} into a "
        "directory, and name it with --headers. Without the native kernels, relama works in "
        "stock SQL, several times slower."
    )


def _pip_settings() -> dict[str, str]:
    """pip's settings, by their names without a section; the environment goes first."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section in ("global", "install", "download") or key not in settings:
            settings[key] = value.strip("'\"")
    for key in ("index-url", "extra-index-url", "cert"):
        variable = "PIP_" + key.upper().replace("-", "_")
        if variable in os.environ:
            settings[key] = os.environ[variable]
    return settings


def _get(url: str, settings: dict[str, str]) -> tuple[str, bytes]:
    """The content type and the body of a page or file."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Accept": ACCEPT}
    if parts.username:
        user = f"{urllib.parse.unquote(parts.username)}:"
        user += urllib.parse.unquote(parts.password or "")
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    request = urllib.request.Request(_without_user(url), headers=headers)
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if settings.get("cert"):
            context.load_verify_locations(settings["cert"])
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as answer:
        return answer.headers.get("Content-Type", ""), answer.read()


def _without_user(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _link(page: str, content_type: str, body: bytes) -> str | None:
    """The address of FILE on an index's page of a package."""
    if "json" in content_type:
        links: list[str] = [file["url"] for file in json.loads(body)["files"]]
    else:
        parser = _Links()
        parser.feed(body.decode())
        links = parser.links
    for link in links:
        if urllib.parse.urlsplit(link).path.rpartition("/")[2] == FILE:
            return urllib.parse.urljoin(page, link)
    return None


class _Links(HTMLParser):
    """The targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attributes if name == "href" and value]


def _unpack(archive: bytes) -> dict[str, bytes]:
    headers = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            if name in HEADERS and folder.endswith("src/include"):
                file = tar.extractfile(member)
                assert file is not None
                headers[name] = file.read()
    return headers
