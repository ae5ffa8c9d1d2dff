import re
import unicodedata

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import words
from curate.kernels.folding import CODE_POINTS, folding_table
from curate.kernels.words import find_words, word_hashes


def hashes_of(texts, keep_digits=False):
    found = []
    for _, hashes, starts in word_hashes(pa.array(texts, pa.large_string()), keep_digits):
        found += [hashes[low:high].tolist() for low, high in zip(starts[:-1], starts[1:], strict=True)]
    return found


def plain_words(text):
    """The same folding in plain Python, for alphabets without marks of their own."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    text = "".join(character for character in text if not unicodedata.combining(character) and character != "\xad")
    return re.findall(r"[^\W\d_]*0|[^\W\d_]+", re.sub(r"\d+", "0", text))


LETTERS = st.characters(
    codec="utf-8", min_codepoint=32, max_codepoint=0x4FF, categories=("L", "N", "P", "S", "Zs"), exclude_characters="ͅ"
)


@given(st.lists(st.text(LETTERS, max_size=60), max_size=4), st.text("ab1 é٣", max_size=60))
@settings(max_examples=100, deadline=None)
def test_words_are_those_of_plain_python(texts, mixed):
    texts = [*texts, mixed]
    for text, hashes in zip(texts, hashes_of(texts), strict=True):
        expected = plain_words(text)
        alone = hashes_of(expected)
        assert [len(one) for one in alone] == [1] * len(expected)
        assert hashes == [one[0] for one in alone], (text, expected)
        assert len(set(hashes)) == len(set(expected))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Quick, brown fox!", "the quick brown FOX"),
        ("Straße", "STRASSE"),
        ("naïve café", "NAIVE CAFE"),
        ("cafe\u0301", "café"),
        ("ﬁne ｆｕｌｌ", "fine full"),
        ("don’t", "don't"),
        ("co\u00adoperate zero\u200bwidth", "cooperate zerowidth"),
        ("15mg of 1,000", "2 mg of 3.5"),
        ("२०२३", "1"),
        ("m²", "M3"),
        ("Ёлка", "елка"),
    ],
)
def test_ways_of_writing_are_one(one, other):
    first, second = hashes_of([one, other])
    assert first == second


@pytest.mark.parametrize(
    ("one", "other"), [("हिन्दी", "हनद"), ("你好世界", "世界你好"), ("ab c", "a bc"), ("a1", "1a"), ("word", "words")]
)
def test_what_differs_stays_different(one, other):
    first, second = hashes_of([one, other])
    assert first != second


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("你好世界", 4),
        ("東京tokyo大阪", 5),
        ("สวัสดี", 6),
        ("𠀀𠀁 x", 3),
        ("हिन्दी भाषा", 2),
        ("한국어 문서", 2),
        ("", 0),
        ("… — \n", 0),
    ],
)
def test_number_of_words(text, count):
    assert len(hashes_of([text])[0]) == count


def test_folding_at_most_doubles_a_character():
    _, sizes = folding_table()
    for code in range(CODE_POINTS):
        if not 0xD800 <= code <= 0xDFFF:
            assert sizes[code] & 127 <= 2 * len(chr(code).encode()) <= 8
    expanding = "\u0e33\u309f½ ß "
    assert hashes_of([expanding * words.BLOCK])[0] == hashes_of([expanding])[0] * words.BLOCK


def test_digits_may_be_kept():
    assert hashes_of(["15 mg"]) == hashes_of(["16 mg"])
    assert hashes_of(["15 mg"], keep_digits=True) != hashes_of(["16 mg"], keep_digits=True)
    assert hashes_of(["１５ mg"], keep_digits=True) == hashes_of(["15 mg"], keep_digits=True)


def test_long_documents_equal_their_pieces():
    draw = np.random.default_rng(0)
    vocabulary = ["heart", "naïve", "électrocardiogramme", "x", "3", "12", "末", "Ärzte", "a" * 70, "é" * 9]
    chosen = draw.choice(vocabulary, 40_000).tolist() + ["b" * (3 * words.BLOCK), "é" * words.BLOCK, "end"]
    alone = {word: one for word, one in zip(chosen, hashes_of(chosen), strict=True)}
    assert hashes_of([" ".join(chosen)])[0] == [value for word in chosen for value in alone[word]]


def test_documents_keep_their_places():
    texts = [f"document {'word ' * (k % 7)} {'é' * (k % 3)}" * (1 + 300 * (k % 11 == 0)) for k in range(5000)]
    together = hashes_of(texts)
    assert together[::500] == [hashes_of([text])[0] for text in texts[::500]]
    sliced = pa.array(["skip", *texts[:20], None, "skip"])[1:22]
    in_chunks = pa.chunked_array([sliced[:5], sliced[5:]])
    from_polars = pl.Series([*texts[:20], None])
    for column in (sliced, in_chunks, from_polars):
        [(first, hashes, starts)] = list(word_hashes(column))
        assert first == 0
        assert [hashes[low:high].tolist() for low, high in zip(starts[:-1], starts[1:], strict=True)] == [
            *together[:20],
            [],
        ]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_found_words_are_the_words_asked_for(texts):
    hashes = hashes_of(texts, keep_digits=True)
    asked = [
        (document, first, last)
        for document, words in enumerate(hashes)
        for last in range(len(words), 0, -1)
        for first in range(last)
    ]
    documents, firsts, lasts = np.array(asked, np.int64).reshape(-1, 3).T.copy()
    begins, ends = find_words(pa.array(texts), documents, firsts, lasts)
    for (document, first, last), begin, end in zip(asked, begins, ends, strict=True):
        cut = hashes_of([texts[document].encode()[begin:end].decode()], keep_digits=True)[0]
        wanted = hashes[document][first:last]
        # one character may be several words ("½" is 1 and 2): then the cut holds all of them
        assert any(cut[k : k + len(wanted)] == wanted for k in range(len(cut) - len(wanted) + 1))
