"""URLs as they are in the data: the request target is sent byte for byte.

A signed link is valid in one spelling only, so nothing is quoted, unquoted or normalised. Three
things can't be part of a request, and are handled as browsers do it (https://url.spec.whatwg.org):
blanks around the URL and line ends in it are removed, the fragment is not sent, and spaces, control
characters and non-ASCII characters are percent-encoded as UTF-8. A host name is written in lower
case, and one with other letters as its IDNA form.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin

from yarl import URL

PARTS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?", re.DOTALL)
OTHER_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
UNSENDABLE = re.compile(r"[^!-~]")  # all but visible ASCII characters
LINE_ENDS = str.maketrans("", "", "\t\r\n")
BLANKS = "".join(map(chr, range(33)))  # control characters and the space


def parse_url(text: str) -> URL:
    """Returns a URL whose `raw_path_qs` is what the text has after the host.

    Raises:
        ValueError: if it is no absolute URL, or host or port can't be.
    """
    text = text.strip(BLANKS).translate(LINE_ENDS)
    parts = PARTS.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text[:80]!r} is not absolute")
    scheme, authority, target = parts.groups()
    # yarl writes the host; user and password stay as they are, because they are signed as well
    origin = URL(f"{scheme.lower()}://{authority.rpartition('@')[2]}")
    if not origin.raw_host:
        raise ValueError(f"{text[:80]!r} has no host")
    user = authority.rpartition("@")[0]
    # a browser takes "\\" for "/", so the host would not be the one that was checked
    if "\\" in authority or UNSENDABLE.search(f"{user}{origin.raw_authority}"):
        raise ValueError(f"the host of {text[:80]!r} has characters that a host can't have")
    # The query stays in the path: yarl would drop the "?" of an empty one.
    target = UNSENDABLE.sub(_encoded, target)
    return URL.build(
        scheme=origin.scheme,
        authority=f"{user}@{origin.raw_authority}" if user else origin.raw_authority,
        path=target if target.startswith("/") else f"/{target}",
        encoded=True,
    )


def redirected(url: URL, location: str) -> URL:
    """Returns the URL that the header `Location` of an answer for `url` means (RFC 3986, 5.2).

    Raises:
        ValueError: as `parse_url`.
    """
    location = location.strip(BLANKS).translate(LINE_ENDS).partition("#")[0]
    if PARTS.fullmatch(location):
        return parse_url(location)
    if OTHER_SCHEME.match(location):
        raise ValueError(f"{location[:80]!r} is no http or https URL")
    if location.startswith("//"):
        return parse_url(f"{url.scheme}:{location}")
    base = url.raw_path_qs.partition("?")[0]
    path, mark, query = location.partition("?")
    if not path:
        path = base
    elif not path.startswith("/"):
        path = urljoin(base, path)
    return parse_url(f"{url.scheme}://{url.raw_authority}{path}{mark}{query}")


def _encoded(found: re.Match[str]) -> str:
    # a header's bytes that are not UTF-8 come as lone surrogates
    character = found.group()
    try:
        data = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = character.encode("utf-8", "replace")
    return "".join(f"%{byte:02X}" for byte in data)
