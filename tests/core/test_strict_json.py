from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.core import strict_json
from tldr_highlight.errors import RequestError

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(values, st.booleans())
def test_what_json_can_say_is_read_as_it_is(value: object, escaped: bool) -> None:
    assert strict_json.parse(json.dumps(value, ensure_ascii=escaped).encode()) == value


HOSTILE = {
    "nothing": b"",
    "no JSON": b"{",
    "more than one": b"1 2",
    "NaN": b'{"a": NaN}',
    "infinity": b"[Infinity]",
    "minus infinity": b"[-Infinity]",
    "a float that is infinite": b'{"a": 1e400}',
    "64 bits": b"9223372036854775808",
    "64 bits below": b"-9223372036854775809",
    "5000 digits": b"1" * 5000,
    "half a pair": b'"\\ud800"',
    "the other half": b'{"a": ["\\udc00"]}',
    "half a pair as a name": b'{"\\ud800": 1}',
    "NUL": b'"a\\u0000"',
    "NUL as a name": b'{"\\u0000": 1}',
    "raw NUL": b'"\0"',
    "a name twice": b'{"a": 1, "a": 1}',
    "a name twice, differently written": b'{"a": 1, "\\u0061": 2}',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "latin-1": b'"\xe9"',
    "UTF-16": '"a"'.encode("utf-16"),
    "a mark": b'\xef\xbb\xbf{"a": 1}',
    "33 levels": b"[" * 33 + b"]" * 33,
    "33 levels of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "100 000 levels": b"[" * 100_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_databases_and_others_do_not_know_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        strict_json.parse(body)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"[" * 32 + b"]" * 32, b"9223372036854775807", b'"\\ud83d\\ude00"'])
def test_the_most_of_everything_is_taken(body: bytes) -> None:
    assert strict_json.parse(body) == json.loads(body)


def test_refusals_do_not_repeat_what_was_sent() -> None:
    for body in (b'{"password": "hunter22", "password": 1}', b'{"password": hunter22}'):
        with pytest.raises(RequestError) as caught:
            strict_json.parse(body)
        assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("body", [b"1" * 1_000_000, b'{"a":' * 150_000, b'["\\u0061",' * 90_000])
def test_a_megabyte_of_malice_is_refused_quickly(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(RequestError):
        strict_json.parse(body)
    assert time.process_time() - began < 1
