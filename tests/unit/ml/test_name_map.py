import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml.name_map import (
    MAX_NAME_LENGTH,
    MAX_NAMES,
    AmbiguousNamesError,
    MappingError,
    NameMap,
    parse_mapping,
    read_mapping,
)
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
        with pytest.raises(AmbiguousNamesError) as caught:
            chosen(NameMap(), "Bladder", "Rectum", "Blase")
        assert caught.value.structure == "Bladder"
        assert caught.value.names == ("Bladder", "Blase")

    def test_refuses_the_same_name_twice(self):
        with pytest.raises(AmbiguousNamesError, match="'Rectum' and 'Rectum' both mean Rectum"):
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
        with pytest.raises(AmbiguousNamesError, match="both mean Bladder"):
            chosen(NameMap(names={"Bladder": ("/blad.*/",)}), "Bladder_1", "Bladder_2")

    @pytest.mark.parametrize("pattern", ["/(a+)+$/", "/(a|aa)+$/", "/(.*a){20}/"])
    def test_every_pattern_comes_to_an_end(self, pattern):
        # a backtracking search would not in a lifetime, and so run into the limit of a test
        names = NameMap(names={"Bladder": (pattern,)})
        assert chosen(names, "a" * 5000 + "b") == ({}, ["a" * 5000 + "b"])

    def test_names_that_cannot_be_encoded_fit_nothing(self):
        names = NameMap(names={"Bladder": ("/blase/",)}, patient_pattern="^(p7)/")
        assert chosen(names, "\udcff") == ({}, ["\udcff"])
        assert names.find_patient("p7/\udcff.dcm") == "p7"

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
            ('[structures]\n"Bladder" = 3', "Bladder: all values must be text"),
            ('structures = "Bladder"', "must be a table"),
            ('[structures]\n"Bladder" = "/(/"', "is no pattern"),
            ('[structures]\n"Bladder" = "--"', "no letter or digit"),
            ('[labels]\n"Bladder" = "3"', "must be whole numbers"),
            ('[labels]\n"Bladder" = true', "must be whole numbers"),
            ('[labels]\n"Bladder" = 0', "must lie in 1 to 255"),
            ('[labels]\n"Bladder" = 256', "must lie in 1 to 255"),
            ('[labels]\n"Bladder" = 3\n"Rectum" = [4, 3]', "each for one structure"),
            ('patient_pattern = "p"', "one group"),
            ('patient_pattern = "("', "no pattern"),
            ("patient_pattern = 3", "must be text"),
            ('synonyms = "x"', "do not exist: 'synonyms'"),
        ],
    )
    def test_refuses_what_it_would_misread(self, tmp_path, text, reason):
        with pytest.raises(MappingError, match=reason):
            mapping(tmp_path, text)

    def test_refuses_other_encodings(self, tmp_path):
        (tmp_path / "names.toml").write_bytes('ignore = ["Würzburg"]'.encode("latin-1"))
        with pytest.raises(MappingError, match="cannot be read"):
            read_mapping(tmp_path / "names.toml")

    def test_names_the_file(self, tmp_path):
        with pytest.raises(MappingError, match=r"names\.toml: patient_pattern"):
            mapping(tmp_path, 'patient_pattern = "p"')


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(["/(/", "/a{9}/", "/(?P<x>a)/", "(a)", "Bladder", "/\\N{x}/", "/(?au)x/"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["Bladder", "blase", "Rectum", "CTV-N"]) | st.text() | st.integers(),
            inner,
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["ignore", "patient_pattern", "structures", "labels"])
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


class TestParseMapping:
    # "possible nested set": python's own remark on some patterns, which are none of ours
    @pytest.mark.filterwarnings("ignore::FutureWarning")
    @given(st.dictionaries(KEYS | st.text() | st.integers(), ANYTHING) | ANYTHING)
    @example({"ignore": "/a{99999999999999999999}/"})
    @example({"ignore": "/" + "(" * 99 + ")" * 99 + "/"})
    @example({"ignore": "/(?L)a/"})
    @example({3: "a", "ignore": []})
    @example({"structures": {3: "a"}})
    @example({"structures": {"Bladder": {"Bladder": "a"}}})
    @example({"labels": {"Bladder": [1, float("nan")]}})
    @example({"labels": {"Bladder": 10**5000}})
    def test_whatever_it_is_given_it_reads_or_refuses(self, values):
        try:
            names = parse_mapping(values)
        except MappingError:
            return
        names.choose([("Bladder", 1), ("PTV", 2)])
        names.find_patient("p1/rs.dcm")
        assert parse_mapping(names.to_dict()) == names

    @pytest.mark.parametrize("key", ["ignore", "structures", "labels", "x"])
    def test_a_sentence_does_not_repeat_what_is_very_long(self, key):
        for value in ("x" * 10**6, {"x" * 10**6: 1}):
            with pytest.raises(MappingError) as caught:
                parse_mapping({key: value, "x" * 10**6: 1})
            assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ([], "a mapping must be a table"),
            ({"ignore": None}, "ignore: all values must be text"),
            ({"ignore": ["a", ["b"]]}, "ignore: all values must be text"),
            ({"structures": {"Bladder": None}}, "Bladder: all values must be text"),
            ({"structures": {"Bladder": ["a", 1]}}, "Bladder: all values must be text"),
            ({"labels": {"Bladder": [1.0]}}, "Bladder: all values must be whole numbers"),
            ({"labels": []}, "labels must be a table"),
            ({7: "a"}, "must be text"),
            ({"ignore": "a\0b"}, "cannot be printed"),
            ({"patient_pattern": "(\ud800)"}, "cannot be printed"),
            ({"ignore": ["/a{1001}/"]}, "is no pattern"),
            ({"ignore": ["/(?=a)/"]}, "is no pattern"),
            ({"ignore": [r"/(a)\1/"]}, "is no pattern"),
            ({"ignore": ["/((a{100}){100}){100}/"]}, "is no pattern"),
        ],
    )
    def test_wrong_types_are_refused_in_a_sentence(self, values, reason):
        with pytest.raises(MappingError, match=reason):
            parse_mapping(values)

    def test_lengths_have_limits(self):
        longest = "a" * MAX_NAME_LENGTH
        for values in (
            {"ignore": longest},
            {"structures": {"Bladder": longest}},
            {"patient_pattern": f"({longest[2:]})"},
        ):
            parse_mapping(values)
        for values in (
            {"ignore": longest + "a"},
            {"ignore": f"/{longest}/"},
            {"structures": {"Bladder": longest + "a"}},
            {"patient_pattern": f"({longest})"},
        ):
            with pytest.raises(MappingError, match=f"more than {MAX_NAME_LENGTH} characters"):
                parse_mapping(values)

    def test_counts_have_limits(self):
        names = [f"name {number}" for number in range(MAX_NAMES)]
        assert len(parse_mapping({"structures": {"Bladder": names}}).names["Bladder"]) == MAX_NAMES
        for values in ({"structures": {"Bladder": [*names, "x"]}}, {"ignore": [*names, "x"]}):
            with pytest.raises(MappingError, match=f"201 values are more than {MAX_NAMES}"):
                parse_mapping(values)

    def test_the_order_of_a_table_leaves_no_trace(self):
        values = {"Bladder": ["a"], "CTV-N": ["b"]}
        turned = dict(reversed(values.items()))
        assert repr(parse_mapping({"structures": values})) == repr(
            parse_mapping({"structures": turned})
        )

    @given(
        st.dictionaries(st.sampled_from(CERVIX.names), st.lists(TEXT, max_size=3)),
        st.dictionaries(st.sampled_from(CERVIX.names), st.sets(st.integers(1, 255), max_size=3)),
        st.none() | st.just("^([^/]+)/"),
    )
    def test_reads_back_what_it_read(self, names, labels, pattern):
        first = {"structures": names, "labels": {k: sorted(v) for k, v in labels.items()}}
        first |= {"ignore": ["PTV", "/x.*/"], "patient_pattern": pattern}
        try:
            read = parse_mapping(first)
        except MappingError:
            return  # the names and values drawn are none: another test's business

        values = json.loads(json.dumps(read.to_dict()))

        assert parse_mapping(values) == read
        assert read.ignored == ("PTV", "/x.*/")
        assert read.patient_pattern == pattern
