"""Redaction: what is found, what is left alone, spans in bytes, surrogates, nothing told by the ledger."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import edits, identifiers, redact_dates
from curate.kernels import redact_scan
from curate.redact import Entity, Redact
from curate.stage import Workspace
from tests.curate.corpus import corpus, curate, sentences, write_lines
from tests.curate.drive import parts_of

ALL = frozenset(get_args(Entity))

FOUND = [
    ("email", "write to jo.o'neil+x@mail.example.org, please", "jo.o'neil+x@mail.example.org"),
    ("email", "schreib an jörg.müller@bücher.de.", "jörg.müller@bücher.de"),
    ("phone", "Dr. X at (301) 496-5248 today", "(301) 496-5248"),
    ("phone", "toll free 1-800-438-4380.", "1-800-438-4380"),
    ("phone", "Tel: 770.488.7100 ext. 12", "770.488.7100 ext. 12"),
    ("phone", "call 123-4567 for an appointment", "123-4567"),
    ("phone", "mobile +44 7700 900 123", "+44 7700 900 123"),
    ("fax", "his fax number is 831-5926.", "831-5926"),
    ("fax", "Fax: (212) 555-0100", "(212) 555-0100"),
    ("ssn", "number 219-09-9999 was", "219-09-9999"),
    ("ssn", "SSN: 219099999", "219099999"),
    ("mrn", "MRN 00123456, seen", "00123456"),
    ("mrn", "Medical Record #: AB-12345", "AB-12345"),
    ("health_plan", "Member ID: XYZ123456789", "XYZ123456789"),
    ("health_plan", "policy number 5551-2234", "5551-2234"),
    ("account", "Account No. 00456789", "00456789"),
    ("licence", "driver's license number is F162823540116", "F162823540116"),
    ("licence", "DEA: AB1234563", "AB1234563"),
    ("vehicle", "VIN 1HGCM82633A004352", "1HGCM82633A004352"),
    ("vehicle", "license plate number 7ABC123", "7ABC123"),
    ("device", "pacemaker Altrua, serial number 123456.", "123456"),
    ("device", "adapter 00:1A:2B:3C:4D:5E up", "00:1A:2B:3C:4D:5E"),
    ("url", "see https://a.example.com/b?c=d_(e).", "https://a.example.com/b?c=d_(e"),
    ("url", "see www.patient.co.uk/tinnitus", "www.patient.co.uk/tinnitus"),
    ("url", "the site heart.org has", "heart.org"),
    ("ip", "from 192.168.10.24 at", "192.168.10.24"),
    ("ip", "IP address: 5.6.7.8", "5.6.7.8"),
    ("ip", "host 4f8a:c99e:dc86:faf9:5988:5f63:375e:8a2a", "4f8a:c99e:dc86:faf9:5988:5f63:375e:8a2a"),
    ("date", "seen on 06/21/07.", "06/21/07"),
    ("date", "DOB 1962-04-14, male", "1962-04-14"),
    ("date", "at 2017-10-11 03:54:51 in", "2017-10-11 03:54:51"),
    ("date", "on 14.03.2004 in", "14.03.2004"),
    ("date", "an MI in 07/2003 and", "07/2003"),
    ("date", "surgery in 02/05.", "02/05"),
    ("date", "last seen in 10/96 and", "10/96"),
    ("date", "was discharged1/22/93 on ASA", "1/22/93"),
    ("date", "since March 10, 2009 she", "March 10, 2009"),
    ("date", "the 5th of March 2004", "5th of March 2004"),
    ("date", "on april 2nd he", "april 2nd"),
    ("date", "in June of 2006, status", "June of 2006"),
    ("date", "an EGD in October, which", "October"),
    ("age", "a 92-year-old female", "92"),
    ("age", "died at the age of 91 years", "91"),
    ("age", "my dad died at ninety one years of age", "ninety one"),
    ("zip", "East Orange, NJ 07018", "07018"),
    ("zip", "Bethesda, MD 20892-3655", "20892-3655"),
    ("zip", "my zip code is 35350", "35350"),
    ("credit_card", "card 4111 1111 1111 1111 was", "4111 1111 1111 1111"),
    ("iban", "IBAN GB82WEST12345698765432", "GB82WEST12345698765432"),
]

FINDINGS = """blood pressure 120/80, 5/5 strength, T4-5 and L4-5, Lortab 10/325 mg, C5-6, 2-0 Vicryl, 1.5-2.0 cm
24-48 hours; pH 7.35-7.45; 98.6; 20/20 vision; 3/4 of the limbs; ICD 250.00, E11.9, 723.1/723.4; CPT code 63076
ABG 7.38/67/86/97, para 1-0-0-1, G2 P2-0-0-2, 10-and-4/12-year-old, Vytorin 10/40 mg, Lortab 7.5/500, model #12345
1:100,000 epinephrine, platelets 152000, 140-190 and 232-1137, serial 7s, 4-5/10 pain, balance 13/16, INR 2.0-3.0
review in 2/52, LMP 2/52, MMSE 28/30, EC 3.4.21.26, see section 8.2.2.1, version 10.20.30.40, 1/2000 dilution
RP 60180, grant CA 95806, SC 19220, CAS 5633-20-5, call 911, 7 of 10/80 patients, walks 100 yards, in 5/82 (6%)
Parkinson disease, Crohn's disease, she may 5 mg, A-dec 2 tablets, he may march, 100 years ago, aged 90 or older
1234 5678 9012 3456 units, 0.4-2000 ug, 978-3-16-148410-0, 123456789012345, a 45-year-old with 90% stenosis
60/60/60 pounds, 19.9-21.5, 97-115 mm, 99 y; T 99-year survival; OR 1.24 (95% CI 1.10-1.39), June is her name
L1-2-3, C3/4, 1/2/3/4, 13/32/10, 31.31.2004, std::io::Error, 12:30:45, http is a protocol, a@b, 1.2.3.4""".splitlines()


def judge(texts: list[str], **keys: object) -> tuple[pl.DataFrame, list[str]]:
    """The edits, and the texts after them."""
    stage = Redact(**keys)
    frame = parts_of(texts)[0].frame
    given = stage.judge(frame)
    assert given.reason.is_null().all() and given.edits is not None
    after = edits.apply(frame["text"], given.edits) if given.edits.height else frame["text"]
    return given.edits, [new if new is not None else old for new, old in zip(after, texts, strict=True)]


@pytest.mark.parametrize(("entity", "text", "value"), FOUND)
def test_an_identifier_is_found_as_what_it_is_and_nothing_else_is(entity: str, text: str, value: str) -> None:
    made, (after,) = judge([text])
    assert made["reason"].to_list() == [entity]
    assert after == text.replace(value, f"[{entity.upper()}]")


@pytest.mark.parametrize(("entity", "text", "value"), FOUND)
def test_only_the_entities_named_are_replaced(entity: str, text: str, value: str) -> None:
    _, (after,) = judge([text], entities=[one for one in get_args(Entity) if one != entity])
    assert value in after or entity in ("phone", "fax", "credit_card", "iban")  # a number may then pass for another
    made, _ = judge([text], entities=[entity])
    assert made["reason"].to_list() == [entity]


@pytest.mark.parametrize("text", FINDINGS)
def test_findings_doses_and_eponyms_stay(text: str) -> None:
    made, (after,) = judge([text])
    assert after == text, made


def test_the_longest_of_overlapping_matches_wins() -> None:
    made, (after,) = judge(["https://x.org/2004-03-14/a@b.com then 03/14/2004"])
    assert made["reason"].to_list() == ["url", "date"] and after == "[URL] then [DATE]"


def test_edits_tell_no_identifier() -> None:
    made, _ = judge([text for _, text, _ in FOUND])
    told = made.select("reason", "detail", "after").write_ndjson()
    assert made["before"].null_count() == made.height == len(FOUND)
    for _, _, value in FOUND:
        assert f'"{value}"' not in told and (len(value) < 5 or value not in told)
    surrogates, texts = judge([text for _, text, _ in FOUND], replace="surrogate", seed=3)
    for (entity, _, value), after, text in zip(FOUND, surrogates["after"], texts, strict=True):
        assert value != after and (entity == "age" or value not in text)


def test_placeholders_are_redacted_to_themselves() -> None:
    _, once = judge([text for _, text, _ in FOUND] + FINDINGS)
    again, twice = judge(once)
    assert once == twice and again.height == 0


def test_surrogates_are_the_same_in_every_document_and_run_and_change_with_the_seed() -> None:
    texts = ["MRN 00123456 of jo@x.org", "again jo@x.org, mrn: 00123456", "JO@X.ORG and other@x.org"]
    _, first = judge(texts, replace="surrogate", seed=1)
    _, backwards = judge(texts[::-1], replace="surrogate", seed=1)
    assert first == backwards[::-1]
    _, other = judge(texts, replace="surrogate", seed=2)
    mails = [re.findall(r"\S+@\S+\.com", text) for text in first]
    assert mails[0][0] == mails[1][0] == mails[2][0] != mails[2][1]
    assert re.findall(r"\d{8}", first[0]) == re.findall(r"\d{8}", first[1]) != re.findall(r"\d{8}", other[0])


def test_shifted_dates_keep_their_format_and_intervals() -> None:
    text = "On 03/14/2004, 3/20/04, March 30th, 2004 and 2004-04-13 08:30:00; in 06/2005."
    _, (after,) = judge([text], replace="surrogate", seed=5)
    found = re.fullmatch(
        r"On (\d\d)/(\d\d)/(\d{4}), (\d{1,2})/(\d{1,2})/(\d\d), ([A-Z]\w+) (\d{1,2})(?:st|nd|rd|th), (\d{4}) and "
        r"(\d{4})-(\d\d)-(\d\d) 08:30:00; in (\d\d)/(\d{4})\.",
        after,
    )
    assert found, after
    g = found.groups()
    month = redact_dates.MONTHS.index(g[6].lower()) + 1
    days = [
        np.datetime64(f"{g[2]}-{g[0]}-{g[1]}"),
        np.datetime64(f"20{g[5]}-{int(g[3]):02d}-{int(g[4]):02d}"),
        np.datetime64(f"{g[8]}-{month:02d}-{int(g[7]):02d}"),
        np.datetime64(f"{g[9]}-{g[10]}-{g[11]}"),
    ]
    assert np.diff(np.array(days)).astype(int).tolist() == [6, 10, 14]
    assert days[0] != np.datetime64("2004-03-14")


def test_a_date_that_cannot_be_moved_gets_a_placeholder() -> None:
    assert judge(["March 5-7, 2004 and 02/31/2004"], replace="surrogate")[1] == ["[DATE] and [DATE]"]


@given(
    st.lists(
        st.sampled_from([text for _, text, _ in FOUND] + FINDINGS + ["é", "–", "日本", "🙂", "\u00a0", "ß"]), max_size=8
    ),
    st.text(max_size=30),
    st.sampled_from([" ", "\n", "", "–", "é"]),
)
@settings(max_examples=120, deadline=None)
def test_the_scan_misses_nothing_and_spans_are_bytes(pieces: list[str], noise: str, between: str) -> None:
    text = between.join([noise, *pieces, noise])
    data, bounds, positions, kinds = redact_scan.candidates(pl.Series([text], dtype=pl.String))
    view = memoryview(data)[: int(bounds[1])]  # type: ignore[arg-type]
    scanned = identifiers.find(view, list(zip(positions.tolist(), kinds.tolist(), strict=True)), ALL)
    everywhere = identifiers.find(view, [(at, redact_scan.EVERY) for at in range(len(view))], ALL)
    assert scanned == everywhere
    made, (after,) = judge([text])  # applying them would fail inside a character
    rebuilt, at = b"", 0
    for one in scanned:
        rebuilt, at = rebuilt + text.encode()[at : one.start] + f"[{one.entity.upper()}]".encode(), one.end
    assert (rebuilt + text.encode()[at:]).decode() == after and made.height == len(scanned)


def test_neighbours_in_memory_do_not_matter() -> None:
    texts = ["seen on 03/14/20", "04 and MRN", ": 12345678", "", "a@", "b.c"]
    made, after = judge(texts)
    assert [judge([text])[1][0] for text in texts] == after
    assert made["at"].to_list() == [0]


def test_a_run_keeps_identifiers_out_of_documents_and_ledgers(tmp_path: Path) -> None:
    noted = [{"id": f"n{k}", "text": f"{sentences(k, 8)} {text}"} for k, (_, text, _) in enumerate(FOUND)]
    noted.append({**noted[0], "id": "again"})
    root = corpus(tmp_path / "data", 30)
    write_lines(root / "domain" / "notes.jsonl.gz", noted)
    curate(root, tmp_path / "run", ["redact", "exact_dedup"])
    files = sorted((tmp_path / "run").rglob("*.parquet"))  # those of work/ as well: the stage runs while reading
    told = "".join(pl.read_parquet(path).write_ndjson() for path in files)
    assert {"documents", "removed", "edited", "work"} <= {path.relative_to(tmp_path / "run").parts[0] for path in files}
    edited = pl.read_parquet(sorted((tmp_path / "run" / "edited").rglob("*.parquet")))
    assert edited["before"].null_count() == edited.height >= len(FOUND) - 1
    assert set(edited["reason"]) == {entity for entity, _, _ in FOUND}
    for _, _, value in FOUND:
        assert len(value) < 6 or value not in told


def test_many_windows_and_candidates() -> None:
    text = "On 03/14/2004 at 120/80, jo@x.org. " * 40_000
    made, (after,) = judge([text])
    assert made.height == 80_000 and after == "On [DATE] at 120/80, [EMAIL]. " * 40_000


def test_names_need_what_the_error_says(tmp_path: Path) -> None:
    stage = Redact(recogniser="presidio", recogniser_model=str(tmp_path / "nothing"))
    stage._workspace = Workspace(tmp_path, [], [], False, "p.yaml: curate.stages[1].redact")
    with pytest.raises(ValueError, match=r"p\.yaml: curate\.stages\[1\]\.redact\.recogniser: .*[Ii]nstall"):
        stage.inputs()


def test_names_and_places_through_presidio_leave_eponyms(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pytest.importorskip("presidio_analyzer")
    nlp = spacy.blank("en")
    names = ["Zoë Müller", "Parkinson", "Crohn"]
    patterns = [{"label": "PERSON", "pattern": name} for name in names] + [{"label": "GPE", "pattern": "Málaga"}]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    nlp.to_disk(tmp_path / "model")
    keys = {"recogniser": "presidio", "recogniser_model": str(tmp_path / "model")}
    text = "Zoë Müller of Málaga has Parkinson disease, Crohn's and was seen on 03/14/2004 by Mr. Parkinson."
    expected = "[PERSON] of [LOCATION] has Parkinson disease, Crohn's and was seen on [DATE] by Mr. [PERSON]."
    assert judge([text], **keys)[1] == [expected]
    _, (one, two) = judge([text, text], replace="surrogate", seed=4, **keys)
    assert one.split(" of ")[0] == two.split(" of ")[0] not in names
