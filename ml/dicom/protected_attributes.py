"""What a de-identified object keeps: a list of what is allowed, everything else is left out.

PS3.15 table E.1-1 says what must go; it cannot say what a private element, a standard element in
the wrong place, or one of the next edition holds. So nothing is kept for being absent from that
table. What is kept has a closed set of values (numbers, defined terms, keyed pseudonyms), never
free text; a test holds the outcome against every row of the table.
"""

from collections.abc import Callable, Mapping

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from ml.dicom.encoding import NUMBER_CHARACTERS, raw_value
from ml.dicom.rtstruct_items import as_text, items, raw_numbers

Rule = Callable[[bytes], bytes | None]
"""Returns what is kept of a value; None drops the element."""
Schema = Mapping[str, "Rule | Schema"]
"""Rules by keyword, and the schemas of the items of sequences."""

SHORT_BYTES = 2

METHOD = "PS3.15 Basic Profile; only listed attributes kept"
_METHOD_CODE = {
    "CodeValue": "113100",
    "CodingSchemeDesignator": "DCM",
    "CodeMeaning": "Basic Application Confidentiality Profile",
}


def numbers(value: bytes) -> bytes | None:
    """Keep decimal and integer strings."""
    return None if value.translate(None, NUMBER_CHARACTERS) else value


def needed_numbers(value: bytes) -> bytes:
    """Keep decimal and integer strings; filtered() refuses anything else in their place."""
    return value


def one_short(value: bytes) -> bytes | None:
    """Keep one binary 16-bit number."""
    return value if len(value) == SHORT_BYTES else None


def empty(_value: bytes) -> bytes:
    """Keep the element, not its value."""
    return b""


def always(text: str) -> Rule:
    """Return the rule that gives an element one value."""
    return lambda _value: text.encode("ascii")


def only_one(*terms: str) -> Rule:
    """Return the rule that keeps a single defined term; one of several values means none."""
    allowed = {term.encode("ascii") for term in terms}

    def keep(value: bytes) -> bytes | None:
        word = value.strip(b" \0")
        return word if word in allowed else None

    return keep


def only(*terms: str) -> Rule:
    """Return the rule that keeps those of the values that are among defined terms."""
    allowed = {term.encode("ascii") for term in terms}

    def keep(value: bytes) -> bytes | None:
        kept = [word for part in value.split(b"\\") if (word := part.strip(b" \0")) in allowed]
        return b"\\".join(kept) or None

    return keep


def mapped(name: Callable[[str], str]) -> Rule:
    """Return the rule that gives a text another one; an empty text stays empty."""

    def rename(value: bytes) -> bytes:
        text = as_text(value)
        return name(text).encode("ascii") if text else b""

    return rename


def filtered(source: Dataset, schema: Schema, encoding: tuple[bool, bool]) -> Dataset:
    """Return what a schema keeps of a data set, its raw values unchanged where they are kept.

    Args:
        source: as read, undecoded.
        schema: rules that give an absent or empty element a value add it.
        encoding: whether the result is written in implicit VR, and in little endian; of binary
            values the source's own.

    Raises:
        one of PARSE_ERRORS: damaged sequences, and anything else where needed_numbers rule.
    """
    kept = new_dataset(encoding)
    for keyword, rule in schema.items():
        tag = Tag(tag_for_keyword(keyword) or 0)
        if isinstance(rule, Mapping):
            if keyword in source:
                content = [filtered(item, rule, encoding) for item in items(source, keyword)]
                kept[tag] = DataElement(tag, "SQ", Sequence(content))
            continue
        value = rule(_value_for(rule, source, keyword))
        if value is not None and (value or rule is empty or keyword in source):
            put_raw(kept, keyword, value, encoding, vr=_short_vr(source, keyword))
    return kept


def new_dataset(encoding: tuple[bool, bool]) -> Dataset:
    """Return a data set whose raw values pydicom writes as they are."""
    dataset = Dataset()
    dataset.set_original_encoding(*encoding, character_encoding="iso8859")
    return dataset


def put_raw(
    dataset: Dataset,
    keyword: str,
    value: bytes,
    encoding: tuple[bool, bool],
    *,
    vr: str | None = None,
) -> None:
    """Put an undecoded value into a data set, padded to even length.

    vr: the dictionary's without it.
    """
    vr, tag = vr or dictionary_VR(keyword), Tag(tag_for_keyword(keyword) or 0)
    padded = value + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    raw = RawDataElement(tag, vr, len(padded), padded, 0, *encoding)
    dataset[tag] = raw


def say_deidentified(dataset: Dataset, encoding: tuple[bool, bool]) -> None:
    """Write into a data set what was done to it, PS3.15 E.1.1 and PS3.3 C.12."""
    put_raw(dataset, "PatientIdentityRemoved", b"YES", encoding)
    put_raw(dataset, "DeidentificationMethod", METHOD.encode("ascii"), encoding)
    put_raw(dataset, "LongitudinalTemporalInformationModified", b"REMOVED", encoding)
    item = new_dataset(encoding)
    for keyword, text in _METHOD_CODE.items():
        put_raw(item, keyword, text.encode("ascii"), encoding)
    dataset.DeidentificationMethodCodeSequence = Sequence([item])


def _short_vr(source: Dataset, keyword: str) -> str | None:
    """Return the VR of a 16-bit number whose sign the dictionary leaves open."""
    if dictionary_VR(keyword) != "US or SS":
        return None
    return "SS" if source.get_item(Tag(tag_for_keyword(keyword) or 0)).VR == "SS" else "US"


def _value_for(rule: Rule, source: Dataset, keyword: str) -> bytes:
    if rule is needed_numbers:
        return raw_numbers(source, keyword)
    try:
        return raw_value(source, keyword)
    except ValueError:  # a sequence in the place of a value: nothing in it is kept
        return b""
