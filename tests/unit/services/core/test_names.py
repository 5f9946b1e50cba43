import unicodedata

import pytest

from services.core.names import MAX_NAME_LENGTH, checked_name, comparable_name


class TestCheckedName:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("Anna Meyer", "Anna Meyer"),
            ("Anna\N{NO-BREAK SPACE}Meyer", "Anna Meyer"),
            (" Anna \N{EM SPACE} Meyer\n", "Anna Meyer"),
            ("Zoe\N{COMBINING DIAERESIS} Mu\N{COMBINING DIAERESIS}ller", "Zoë Müller"),
            (
                "Dr. med. O\N{ACUTE ACCENT}Brien-Łoś, 2nd",
                "Dr. med. O\N{ACUTE ACCENT}Brien-Łoś, 2nd",
            ),
            ("王芳 Жанна", "王芳 Жанна"),
            ("x" * MAX_NAME_LENGTH, "x" * MAX_NAME_LENGTH),
        ],
        ids=range(7),
    )
    def test_a_name_is_kept_in_one_spelling(self, text: str, name: str) -> None:
        assert checked_name(text) == name
        assert checked_name(name) == name

    @pytest.mark.parametrize(
        "text",
        [
            "", " ", "\N{NO-BREAK SPACE}", "a\nb", "a\tb", "a\0b", "a\x85b", "a\x7fb", "a\ud800b",
            "x" * (MAX_NAME_LENGTH + 1), "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 30,
            *(
                f"Anna{hidden}Meyer"
                for hidden in (
                    "\N{ZERO WIDTH SPACE}", "\N{ZERO WIDTH JOINER}", "\N{SOFT HYPHEN}",
                    "\N{RIGHT-TO-LEFT OVERRIDE}", "\N{LEFT-TO-RIGHT ISOLATE}", "\N{WORD JOINER}",
                    "\N{ZERO WIDTH NO-BREAK SPACE}", "\N{LINE SEPARATOR}",
                    "\N{PARAGRAPH SEPARATOR}",
                    "\N{HANGUL FILLER}", "\N{HALFWIDTH HANGUL FILLER}", "\N{BRAILLE PATTERN BLANK}",
                    "\N{COMBINING GRAPHEME JOINER}", "\N{VARIATION SELECTOR-1}", "\ue000",
                    "\N{TAG LATIN SMALL LETTER A}", "\uffff",
                )
            ),
        ],
        ids=range(28),
    )  # fmt: skip
    def test_what_nobody_sees_is_no_part_of_a_name(self, text: str) -> None:
        with pytest.raises(ValueError, match="1 to 80 characters"):
            checked_name(text)


class TestComparableName:
    @pytest.mark.parametrize(
        "form",
        [
            "\N{FULLWIDTH LATIN CAPITAL LETTER A}nna",
            "Anna\N{IDEOGRAPHIC SPACE}Meyer",
            "\N{LATIN SMALL LIGATURE FI}",
        ],
    )
    def test_letters_of_another_width_are_the_same(self, form: str) -> None:
        plain = " ".join(unicodedata.normalize("NFKC", form).split())
        assert comparable_name(checked_name(form)) == comparable_name(plain) == plain
