"""Text that others wrote, made harmless: words stay, and nothing in it leads, loads or hides; pure.

Two kinds of steps: the first make usual things read well (a link becomes its words), the later ones are the guarantee,
for any text and for any reader of Markdown or bare addresses. Those only replace or insert, so that nothing they take
away can join what stood around it into something new. Every pattern is linear in the text.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from urllib.parse import urlsplit

from metaagent.agent.words import bag

MARK = "\u2039link removed\u203a"
"""What stands for an address that leads elsewhere. None of its characters means anything to Markdown or in a URL."""

# --- what cannot be seen ---------------------------------------------------------------------------------------------

_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI: colours, the cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*+(?:\x07|\x1b\\|\x9c)?"  # strings: titles, OSC 8 links
    r"|\x1b[ -/]*+[0-~]"
)
_PLAIN: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "\x0b\x0c\r\x85\u2028\u2029"), "\n"),
    **dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
    **dict.fromkeys([0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0], None),
    **dict.fromkeys([*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)], None),
}
"""Line ends, spaces, and what Python takes for printable and nobody sees: fillers and variation selectors."""
_SEEN = bytes([*b"\n\t", *range(0x20, 0x7F), *range(0x80, 0xA0), *range(0xA1, 0xAD), *range(0xAE, 0x100)])
"""The bytes of Windows-1252 that can be seen; most texts are written in these."""
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u3000\u3164\ud800-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff]"
)
_HIDDEN_ABOVE = re.compile("[\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]")
"""A class of its own: Python looks a character up at once only in a class that ends below U+10000."""

# --- Markdown and HTML -----------------------------------------------------------------------------------------------

_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]*+)(?=[\s/>])[^<>]*+>")
_BREAKS = bag(
    """address article blockquote br dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol
    p pre section table tr ul"""
)
_TAGS = _BREAKS | bag(
    """a abbr area aside audio b base big body button canvas caption center cite code col colgroup data datalist del
    details dfn dialog em embed figcaption font frame frameset head html i iframe image img input ins kbd label legend
    link map mark marquee math meta meter noscript object optgroup option output param picture portal progress q rp rt
    ruby s samp script select slot small source span strike strong style sub summary sup svg tbody td template textarea
    tfoot th thead time title track tt u use var video wbr"""
)
_ANGLES = re.compile(r"<([A-Za-z/!?][^<>]*+)>")
_OPENS_TAG = re.compile(r"<(?=[A-Za-z/!?]|[^\s<>@\u2039]++@)")
"""`<1@example.com>` is a link too."""
_APOSTROPHE = re.compile(r"&#(?:0*+39|[xX]0*+27);")
_REFERENCE = re.compile(r"&(?=#[0-9xX]|(?!(?:amp|lt|gt|quot|apos|nbsp);)[A-Za-z][A-Za-z0-9]{1,31};)")
"""A character reference, which may stand for any part of an address; but the usual ones cannot."""
_DEFINITION = re.compile(
    r"^[ \t>]*+\[[^\[\]\n]++\]:[ \t]*+(?:[a-z][a-z0-9+.\-]*+:/|//|<|data:|javascript:|mailto:)\S*+"
    r"(?:[ \t]++[\"'(][^\n]*+)?[ \t]*+(?:\n|\Z)",
    re.IGNORECASE | re.MULTILINE,
)
_LINK = re.compile(
    r"!?\[([^\[\]]*+)(?P<target>\]\(\s*+(?=<?(?:[a-z][a-z0-9+.\-]*+:|[/\\#?.]|www\.))[^\s()]++(?:\s[^()]*+)?\))",
    re.IGNORECASE,
)
_LEADS = r"\s*+(?:[/<]|[A-Za-z0-9+.\-]*+[:&\\])"
"""A target that begins otherwise is a relative name, which leads nowhere: `handlers[i](event)`, `[ERROR]: timeout`."""
_JOINT = re.compile(rf"\](?=\((?!https?://){_LEADS}|:{_LEADS})", re.IGNORECASE)
_JOINT_TO_PAGE = re.compile(r"\](?=\(https?://)", re.IGNORECASE)

# --- addresses -------------------------------------------------------------------------------------------------------

_PATH = r"(?:[/?#][!#-'*-;=?-Z^_a-~]*+)?"
"""ASCII without white space, brackets, quotes and escapes: all readers agree where it ends."""
_OWN = re.compile(rf"[Hh][Tt][Tt][Pp][Ss]?://(?P<host>[^\s/?#<>()\[\]|^]*+){_PATH}")
"""An address that stands by itself."""
_PAGE = re.compile(rf"\]\([Hh][Tt][Tt][Pp][Ss]?://(?P<host>[^\s/?#<>()\[\]|^]*+){_PATH}\)")
"""The target of an inline link, when it may be an own page."""
_STOPS = r"\s<>\"'`|()\[\]{}\u2018-\u201f\u2039\u203a\u3001-\u3003\u3008-\u3011\uff01-\uff0f\uff1a-\uff20"
_PAUSES = r".,;:!?*_~"
_REST = re.compile(rf"(?:[{_PAUSES}]*+[^{_STOPS}{_PAUSES}]++)*+")
"""An address from where it begins, without the punctuation of the sentence it stands in."""
_HOST = rf"(?:[{_PAUSES}]*+[^{_STOPS}{_PAUSES}/?#^]++)*+"
_CLOSERS = r"\"'`)}\xbb\u2019\u201d\u203a\u3001\u3002\u3009\u300b\u300d\u300f\u3011\uff01\uff09\uff0c\uff1a\uff1b\uff1f"
_ENDS = rf"(?=\.?[/?#]|[{_PAUSES}{_CLOSERS}]*+(?:[\s\[\]|<>^]|\Z))"
"""Where a host surely ends for every reader: at what none can have in it, or where only the end of a phrase follows."""
_ADDRESS = re.compile(
    rf"(?<![a-z0-9])(?=[dfhjmvwx])(?:(?:https?://|(?=www\.\w))(?P<host>{_HOST}){_ENDS}"
    r"|(?:https?|wss?|ftps?)\\*:[/\\]"  # browsers need no second slash, and take backslashes
    r"|www\\*\.(?=\w)|(?:javascript|vbscript|mailto|xmpp):(?=\S)|data:(?=[\w.+\-]*+[/;,]))"
    r"|(?<![a-z0-9+.\-])[a-z0-9+.\-]++://(?=[^\s/]|/[/\\])"  # `webpack:///./main.js` names no host
    r"|(?<![\w:/\\.])//(?=[\w@%\-]++(?:\.[\w@%\-]++)++(?:[/:?#]|[^\w\s\[\]]*+(?:[\s\[\]]|\Z)))",
    re.IGNORECASE,
)
"""Where an address begins, and its host where that may be an own one."""
_TRIGGERS = ("//", ":/", ":\\", "www", "script:", "data:", "mailto:", "xmpp:")
_NAME = re.compile(r"[\w.\-]{1,253}(?::[0-9]{1,5})?")
_USUAL_PORTS = ("80", "443")


@lru_cache(maxsize=1_024)
def own_hosts(*urls: str | None) -> frozenset[str]:
    """The hosts of these URLs as `safe` takes them: lower case, ASCII, with the port where it is not a usual one."""
    found: set[str] = set()
    for url in urls:
        parts = urlsplit(url or "")
        host = (parts.hostname or "").rstrip(".")
        if host and ":" not in host:  # an IPv6 address is nobody's page
            name = ".".join(map(_ascii, host.split(".")))
            found.add(f"{name}:{parts.port}" if parts.port and str(parts.port) not in _USUAL_PORTS else name)
    return frozenset(found)


def safe(text: str, hosts: frozenset[str]) -> str:
    """`text` without images, tags, link definitions, hidden characters, and addresses of hosts other than `hosts`.

    `hosts` are as `own_hosts` gives them. A host is one of them when it equals it, port included, or is below it:
    whoever owns a name owns what is below it, and providers serve each customer from such a name. Hosts are compared
    as they are written. What would first have to be decoded or mapped (user names, percent signs, backslashes,
    look-alike letters) is another host. `safe(safe(text)) == safe(text)`.
    """
    text = _seen(text)
    if "<" in text:
        text = _TAG.sub(_untagged, _without_comments(text))
    if "]:" in text:
        text = _DEFINITION.sub("", text)
    if "](" in text:
        unlinked = partial(_unlinked, hosts)
        if (bare := _LINK.sub(unlinked, text)) != text:
            text = _LINK.sub(unlinked, bare)  # again: an image inside of a link is usual
    # From here on nothing is taken away without something in its place.
    if "<" in text:
        text = _OPENS_TAG.sub("\u2039", _ANGLES.sub("\u2039\\1\u203a", text))
    if "&" in text:
        text = _REFERENCE.sub("& ", _APOSTROPHE.sub("'", text))
    lower = text.lower()
    if any(trigger in lower for trigger in _TRIGGERS):
        text = _without_addresses(text, hosts)
    if "](" in text or "]:" in text:
        text = _JOINT_TO_PAGE.sub(partial(_parted, hosts), _JOINT.sub("] ", text))
        if "](" in text or "]:" in text:  # what leads nowhere stays, but no image
            text = text.replace("![", "! [")
    return text


@lru_cache(maxsize=4_096)
def words(text: str) -> str:
    """A short text, such as a title, without any address: titles come again and again."""
    return safe(text, frozenset())


def leads_home(url: str, hosts: frozenset[str]) -> bool:
    """Whether `url` is, as it is written, the address of a page of one of `hosts`."""
    page = _OWN.fullmatch(url)
    return page is not None and _is_own(page["host"], hosts)


def _seen(text: str) -> str:
    """Only what can be seen, with plain spaces and line ends."""
    try:
        if not text.encode("ascii" if text.isascii() else "cp1252").translate(None, _SEEN):
            return text
    except UnicodeEncodeError:
        if not _HIDDEN.search(text) and not _HIDDEN_ABOVE.search(text):
            return text
    text = _TERMINAL.sub("", text).replace("\r\n", "\n").translate(_PLAIN)
    return "".join([char for char in text if char.isprintable() or char in "\n\t"])


def _without_comments(text: str) -> str:
    """Without `<!-- … -->`: what a page would not show, a model must not read."""
    kept: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[at:start])
        at = end + 3
    return "".join([*kept, text[at:]])


def _untagged(tag: re.Match[str]) -> str:
    """Nothing, or a line end, instead of a tag of HTML; `List<String>` stays."""
    name = tag[1].lower()
    return "\n" if name in _BREAKS else "" if name in _TAGS else tag[0]


def _unlinked(hosts: frozenset[str], link: re.Match[str]) -> str:
    """The words of an image or of a link that leads elsewhere."""
    own = not link[0].startswith("!") and _own_page(link["target"], 0, hosts)
    return link[0] if own else link[1]


def _parted(hosts: frozenset[str], joint: re.Match[str]) -> str:
    """The bracket after a link's words, apart from its target unless that is an own page."""
    return "]" if _own_page(joint.string, joint.start(), hosts) else "] "


def _own_page(text: str, at: int, hosts: frozenset[str]) -> bool:
    page = _PAGE.match(text, at)
    return page is not None and _is_own(page["host"], hosts)


def _without_addresses(text: str, hosts: frozenset[str]) -> str:
    """A mark in the place of each address that leads elsewhere, also of one inside an own one."""
    kept: list[str] = []
    done = 0
    for found in _ADDRESS.finditer(text):
        start, host = found.start(), found["host"]
        if start < done or (host and _is_own(host, hosts)):
            continue
        rest = _REST.match(text, start)
        kept += text[done:start], MARK
        done = rest.end() if rest else found.end()
    return "".join([*kept, text[done:]])


@lru_cache(maxsize=1_024)
def _is_own(host: str, hosts: frozenset[str]) -> bool:
    """Whether a host as an address has it, port included, is one of `hosts` or below one."""
    if not _NAME.fullmatch(host):
        return False
    name, _, port = host.partition(":")
    labels = [label.lower() if label.isascii() else _ascii(label) for label in name.removesuffix(".").split(".")]
    end = f":{port}" if port and port not in _USUAL_PORTS else ""
    return any(".".join(labels[start:]) + end in hosts for start in range(len(labels)))


def _ascii(label: str) -> str:
    """RFC 3492 and no mapping before it: look-alikes stay different."""
    return label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
