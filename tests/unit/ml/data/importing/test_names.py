import pytest

from ml.data.importing.names import MappingError, NameMap, read_mapping
from ml.data.importing.refusals import CaseRefusedError, ImportRefusal
from ml.structures import CERVIX

BLADDER, RECTUM = CERVIX.get("Bladder"), CERVIX.get("Rectum")


def chosen(names, *candidates):
    found, unmatched = names.choose([(name, number) for number, name in enumerate(candidates)])
    return {structure.name: name for structure, (name, _) in found.items()}, unmatched


def mapping(tmp_path, text):
    path = tmp_path / "names.toml"
    path.write_text(text, encoding="utf-8")
    return read_mapping(path)


class TestChoose:
    def test_knows_common_names_whatever_their_case_and_punctuation(self):
        assert chosen(NameMap(), "HARNBLASE", "ctv_n", "Rektum", "CTVt", "External") == (
            {"Bladder": "HARNBLASE", "CTV-N": "ctv_n", "Rectum": "Rektum", "CTV-UV": "CTVt"},
            ["External"],
        )

    def test_refuses_two_names_of_one_structure_and_names_both(self):
        with pytest.raises(CaseRefusedError) as caught:
            chosen(NameMap(), "Bladder", "Rectum", "Blase")
        assert caught.value.code is ImportRefusal.AMBIGUOUS_STRUCTURE
        assert caught.value.facts == {"structure": "Bladder", "names": ["Bladder", "Blase"]}

    def test_refuses_the_same_name_twice(self):
        with pytest.raises(CaseRefusedError, match="'Rectum' and 'Rectum' both mean Rectum"):
            chosen(NameMap(), "Rectum", "Rectum")

    def test_the_mapping_decides_by_its_order(self):
        names = NameMap(names={"Bladder": ("bladder_full", "Bladder")})
        assert chosen(names, "Bladder", "Bladder full") == ({"Bladder": "Bladder full"}, [])
        assert chosen(names, "BLADDER") == ({"Bladder": "BLADDER"}, [])

    def test_the_mapping_replaces_the_common_names(self):
        assert chosen(NameMap(names={"Bladder": ("Organ 7",)}), "Blase") == ({}, ["Blase"])

    def test_patterns_fit_whole_names_in_any_case(self):
        names = NameMap(names={"Bladder": ("/bladder.*/",)})
        assert chosen(names, "PTV bladder", "Bladder_v2") == (
            {"Bladder": "Bladder_v2"},
            ["PTV bladder"],
        )

    def test_a_pattern_that_fits_two_names_is_ambiguous(self):
        with pytest.raises(CaseRefusedError, match="both mean Bladder"):
            chosen(NameMap(names={"Bladder": ("/blad.*/",)}), "Bladder_1", "Bladder_2")

    def test_ignored_names_are_no_candidates_and_not_reported(self):
        names = NameMap(ignored=("Blase", "/.*_opt/"))
        assert chosen(names, "Blase", "Rectum_opt", "Bladder") == ({"Bladder": "Bladder"}, [])


class TestFindPatient:
    def test_takes_the_group_of_the_pattern(self):
        names = NameMap(patient_pattern="^([^/]+)/")
        assert names.find_patient("p7/2020/rs.dcm") == "p7"
        assert names.find_patient("rs.dcm") is None
        assert NameMap().find_patient("p7/rs.dcm") is None


class TestReadMapping:
    def test_reads_names_values_and_patterns(self, tmp_path):
        names = mapping(
            tmp_path,
            'ignore = ["PTV"]\npatient_pattern = "^(p[0-9]+)"\n'
            '[structures]\n"blase" = ["Bladder full", "/b.*/"]\n'
            '[labels]\n"Rectum" = 5\n"CTV-N" = [1, 2]\n',
        )
        assert names.ignored == ("PTV",)
        assert names.names == {"Bladder": ("Bladder full", "/b.*/")}
        assert names.label_values == {"Rectum": (5,), "CTV-N": (1, 2)}
        assert names.patient_pattern == "^(p[0-9]+)"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("[structures", "cannot be read"),
            ('[structures]\n"Liver" = "Leber"', "Liver"),
            ('[structures]\n"Bladder" = "a"\n"Blase" = "b"', "Bladder stands there twice"),
            ('[structures]\n"Bladder" = 3', "must be a str"),
            ('structures = "Bladder"', "must be a table"),
            ('[structures]\n"Bladder" = "/(/"', "is no pattern"),
            ('[structures]\n"Bladder" = "--"', "no letter or digit"),
            ('[labels]\n"Bladder" = "3"', "must be a int"),
            ('[labels]\n"Bladder" = true', "must be a int"),
            ('[labels]\n"Bladder" = 0', "must be positive"),
            ('[labels]\n"Bladder" = 3\n"Rectum" = [4, 3]', "each for one structure"),
            ('patient_pattern = "p"', "one group"),
            ('patient_pattern = "("', "no pattern"),
            ("patient_pattern = 3", "no pattern"),
            ('synonyms = "x"', "do not exist: synonyms"),
        ],
    )
    def test_refuses_what_it_would_misread(self, tmp_path, text, reason):
        with pytest.raises(MappingError, match=reason):
            mapping(tmp_path, text)

    def test_refuses_other_encodings(self, tmp_path):
        (tmp_path / "names.toml").write_bytes('ignore = ["Würzburg"]'.encode("latin-1"))
        with pytest.raises(MappingError, match="cannot be read"):
            read_mapping(tmp_path / "names.toml")
