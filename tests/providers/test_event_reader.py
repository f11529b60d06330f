"""The reader of server-sent events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers import ProviderError
from services.worker.providers.replies.openai_chunks import ChatReply
from services.worker.providers.replies.stream_reader import MAX_EVENT_BYTES, WHOLE_MAX_BYTES, EventReader

lines = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)


@given(
    events=st.lists(st.lists(lines, min_size=1, max_size=3), max_size=4),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(min_value=1, max_value=9), max_size=20),
)
def test_chunks_may_be_cut_anywhere(events: list[list[str]], ending: str, cuts: list[int]) -> None:
    """The same events come out with any line ends and any cuts by the network, also inside a character."""
    body = "".join("".join(f"data: {line}{ending}" for line in event) + f": hm{ending}{ending}" for event in events)
    rest, reader, found = body.encode(), EventReader(), []
    for cut in cuts:
        found += reader.feed(rest[:cut])
        rest = rest[cut:]
    # A lone carriage return at the very end waits for its line feed.
    found += reader.feed(rest + b":\n")
    assert [data.decode() for data in found] == ["\n".join(event) for event in events if event != [""]]


def test_lines_that_are_no_event() -> None:
    """Events without data, as some servers keep a connection alive, and a byte order mark are not data."""
    reader = EventReader()
    assert reader.feed(b"\xef\xbb\xbfdata: 1\n\ndata:\n\ndata: \n\ndata\n\nevent: ping\nid: 7\n\n") == [b"1"]
    assert reader.feed(b"data:2\n\n") == [b"2"]


def test_lines_without_blanks_between_them() -> None:
    """Lines of JSON that no blank line divides come as soon as the next begins, with the names before them."""
    reader = EventReader()
    assert reader.feed(b'data: {"a": 1}\ndata: {"b"') == [b'{"a": 1}']
    assert reader.feed(b": 2}\n") == []
    assert reader.feed(b'event: error\ndata: {"c": 3}\n') == [b'{"b": 2}']
    assert reader.feed(b"event: x\n: hm\nda") == []
    assert reader.feed(b"ta: [DONE]") == [b'{"type":"error","error":{"c": 3}}']
    assert reader.end() == [b"[DONE]"]


def test_a_body_that_is_no_stream() -> None:
    """JSON from its first byte on is kept whole with any content, up to a bound."""
    reader = EventReader()
    for chunk in (b"\n", b' {"a":\n\n', b'"data: 1\n\n"}'):
        assert reader.feed(chunk) == []
    assert (reader.whole, reader.end(), bytes(reader.left)) == (True, [], b'\n {"a":\n\n"data: 1\n\n"}')
    with pytest.raises(ProviderError):
        reader.feed(b"x" * WHOLE_MAX_BYTES)


def test_half_a_character_in_bytes() -> None:
    """UTF-8 that was cut between two pieces is put together; a byte that is in no text makes the piece unreadable."""
    reply = ChatReply()
    rocket = "\U0001f680".encode()
    for half, text in ((rocket[:2], ""), (rocket[2:] + b"!", "\U0001f680!"), (b"\xc3", ""), (b"x", "\ufffdx")):
        assert reply.take(b'{"choices": [{"delta": {"content": "%b"}}]}' % half) == text
    with pytest.raises(ProviderError):
        reply.take(b'{"choices": [{"delta": {"content": "\xff"}}]}')


def test_an_event_without_end() -> None:
    """A body that never ends an event does not fill the memory."""
    reader = EventReader()
    half = b"x" * (MAX_EVENT_BYTES // 2)
    assert reader.feed(half) == reader.feed(half) == []
    with pytest.raises(ProviderError):
        reader.feed(b"x")
