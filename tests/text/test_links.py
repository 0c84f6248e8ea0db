# ruff: noqa: RUF001 - people type in many scripts
"""Addresses are said as the hosts that they lead to."""

from __future__ import annotations

import pytest

from tests.text.typed import heard


@pytest.mark.parametrize(
    ("typed", "spoken"),
    [
        # beyond ASCII
        ("https://ja.wikipedia.org/wiki/日本", "link to ja.wikipedia.org"),
        ("https://müller.de/", "link to müller.de"),
        ("https://пример.рф/путь", "link to пример.рф"),
        ("https://例え.jp/パス?q=é#ü", "link to 例え.jp"),
        ("https://उदाहरण.भारत/क", "link to उदाहरण.भारत"),
        ("https://example.com/👍/a now", "link to example.com now"),
        ("見て：https://example.jp/日本。次は", "見て：link to example.jp。次は"),
        # without a scheme
        ("discord.gg/abc", "link to discord.gg"),
        ("youtube.com/watch?v=a_b&t=1", "link to youtube.com"),
        ("Join discord.gg/AbC123!", "Join link to discord.gg!"),
        ("youtu.be/x, open.spotify.com/a?b=2", "link to youtu.be, link to open.spotify.com"),
        ("bbc.co.uk/news", "link to bbc.co.uk"),
        ("müller.de/weg пример.рф/путь", "link to müller.de link to пример.рф"),
        ("example.com:8080/x", "link to example.com"),
        ("見てyoutube.com/abc", "見て link to youtube.com"),
        ("www.müller.de", "link to müller.de"),
        # with a title, or brackets in the label
        ('[docs](https://x.com "title") here', "docs here"),
        ("[docs](<https://x.com> 'a title')", "docs"),
        ("[docs](https://x.com (title))", "docs"),
        ("[a [b]](https://x.com)", "a [b]"),
        ("[a [b [c]] d](https://x.com/e_(f))g", "a [b [c]] d g"),
        ("![a cat](https://x.com/cat.png)", "a cat"),
        ("[mail](mailto:me@example.com) [x](discord.gg/abc)", "mail x"),
        # other schemes
        ("steam://connect/1.2.3.4:27015", "link to steam"),
        ("spotify://track/5 now", "link to spotify now"),
        ("ftp://example.com/x", "link to example.com"),
        ("magnet:?xt=urn:btih:abc&dn=x", "link to magnet"),
        # punctuation around them
        ("(https://en.wikipedia.org/wiki/A_(b)).", "(link to en.wikipedia.org)."),
        ('"https://example.com", he said', '"link to example.com", he said'),
        ("<https://example.com/a.>", "link to example.com"),
        ("https://example.com**", "link to example.com"),
        ("5https://example.com/5", "5 link to example.com"),
        ("https://example.com/?a[]=1&b={x}", "link to example.com"),
        ("{https://example.com/[a]}.", "{link to example.com}."),
        ("https://a.example/1,http://b.example/2", "link to a.example, link to b.example"),
        ("https://web.archive.org/web/2020/https://a.example", "link to web.archive.org"),
        ("https://https://example.com/a", "link to example.com"),
        # no addresses
        ("ASP.NET/Core", "ASP.NET/Core"),
        ("Node.js/React", "Node.js/React"),
        ("and/or 1.5/2 e.g./i.e.", "and/or 1.5/2 e.g./i.e."),
        ("Mr.Smith/Jones", "Mr.Smith/Jones"),
        ("me@example.com/x", "me@example.com/x"),
        ("example.com is nice", "example.com is nice"),
        ("a [b] (c)", "a [b] (c)"),
        ("f[i](x)", "f[i](x)"),
        ("https://", ""),
    ],
)  # fmt: skip
def test_a_link_is_said_as_its_host(typed: str, spoken: str) -> None:
    assert heard(typed) == spoken
