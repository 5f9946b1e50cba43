import pytest

from services.core.audit import check_facts


class TestCheckFacts:
    def test_ids_codes_and_counts_pass(self) -> None:
        check_facts({"id": "0f8fad5b-d9cb-469f", "n": 3, "is_new": True, "none": None, "l": ["a"]})

    @pytest.mark.parametrize(
        "text", ["DOE^JANE", "Jane", "1.2.840.10008", "IM 1", "ct/1.dcm", "", "a" * 65]
    )
    def test_what_could_name_a_patient_does_not_and_is_not_quoted(self, text: str) -> None:
        for fact in (text, ["a", text]):
            with pytest.raises(ValueError, match=r"^the fact name is no id, code or count$"):
                check_facts({"name": fact})
