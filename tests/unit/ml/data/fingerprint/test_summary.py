from dataclasses import replace

import numpy as np
import pytest

from ml.data.fingerprint.case import CaseFingerprint, StructureFingerprint
from ml.data.fingerprint.summary import Finding, find_flags, robust_z, summarize
from ml.structures import CERVIX

VOLUMES = {"CTV-N": 300.0, "CTV-UV": 150.0, "Bladder": 200.0, "Rectum": 80.0}


def structure(volume_ml, **changes):
    facts = {
        "volume_ml": volume_ml,
        "slices": 20,
        "absent_share": 0.5,
        "gap_slices": 0,
        "above_lower_end_mm": 30.0,
        "below_upper_end_mm": 60.0,
        "touches_edge": False,
        "components": 1,
        "hu_mean": 10.0,
        "hu_sd": 5.0,
        "offset_mm": (0.0, 10.0, -5.0),
        "outside_crop": 0,
    }
    return StructureFingerprint(**(facts | changes))


def case(number=0, **changes):
    facts = {
        "case_id": f"c{number}",
        "patient_id": f"p{number}",
        "sha256": f"case {number}",
        "hu_sha256": f"image {number}",
        "shape": (40, 512, 512),
        "spacing_mm": (5.0, 0.98, 0.98),
        "extent_mm": (200.0, 500.0, 500.0),
        "body_found": True,
        "hu_percentiles": (-150.0, -110.0, -90.0, 10.0, 50.0, 200.0, 400.0),
        "identical_slices": (),
        "structures": {name: structure(volume) for name, volume in VOLUMES.items()},
    }
    return CaseFingerprint(**(facts | changes))


def with_bladder(number=0, volume_ml=200.0, **changes):
    bladder = structure(volume_ml, **changes)
    return case(number, structures={**case().structures, "Bladder": bladder})


def found(cases):
    return {(flag.finding, flag.case_ids) for flag in find_flags(cases, CERVIX)}


class TestRobustZ:
    def test_is_the_modified_z_score(self):
        # median 3, absolute deviations 2 1 0 1 97: their median is 1
        z = robust_z([1.0, 2.0, 3.0, 4.0, 100.0], floor=1e-9)
        np.testing.assert_allclose(z, np.array([-2, -1, 0, 1, 97]) / 1.4826)

    def test_falls_back_on_the_mean_where_most_values_agree(self):
        z = robust_z([5.0, 5.0, 5.0, 5.0, 3.0], floor=1e-9)
        np.testing.assert_allclose(z, [0, 0, 0, 0, -2 / (1.2533 * 0.4)])

    def test_rounding_is_no_deviation(self):
        assert max(map(abs, robust_z([0.9765625, 0.9766, 0.9766, 0.9766, 0.9766], 0.01))) < 0.01
        assert robust_z([2.0, 2.0], 0.1) == [0, 0]


class TestFlags:
    def test_like_cases_have_none(self):
        assert find_flags([case(n) for n in range(8)], CERVIX) == []

    def test_a_volume_far_from_the_others_is_an_outlier(self):
        volumes = (190.0, 195.0, 200.0, 205.0, 210.0, 215.0, 700.0)
        cases = [with_bladder(n, volume) for n, volume in enumerate(volumes)]

        (flag,) = find_flags(cases, CERVIX)

        assert (flag.finding, flag.case_ids) == (Finding.OUTLIER, ("c6",))
        # median 205, median deviation 10
        assert flag.facts == {
            "quantity": "Bladder volume_ml",
            "value": 700.0,
            "median": 205.0,
            "robust_z": round(495 / 14.826, 1),
        }

    @pytest.mark.parametrize(
        ("odd", "quantity"),
        [
            (with_bladder(9, hu_mean=90.0), "Bladder hu_mean"),
            (with_bladder(9, offset_mm=(0.0, 60.0, -5.0)), "Bladder offset_y_mm"),
            (case(9, spacing_mm=(2.0, 0.98, 0.98)), "slice_spacing_mm"),
            (case(9, hu_percentiles=(0.0, 0.0, 0.0, 900.0, 0.0, 0.0, 0.0)), "body_median_hu"),
        ],
    )
    def test_what_differs_where_all_others_agree_is_an_outlier(self, odd, quantity):
        flags = find_flags([*(case(n) for n in range(8)), odd], CERVIX)

        assert [(flag.case_ids, flag.facts["quantity"]) for flag in flags] == [(("c9",), quantity)]

    def test_of_a_few_cases_none_is_usual(self):
        assert find_flags([case(0), case(1), with_bladder(2, 700.0)], CERVIX) == []

    @pytest.mark.parametrize(
        ("odd", "finding"),
        [
            (with_bladder(touches_edge=True), Finding.TOUCHES_EDGE),
            (with_bladder(gap_slices=2), Finding.GAPS),
            (with_bladder(components=2), Finding.FRAGMENTS),
            (with_bladder(outside_crop=5), Finding.OUTSIDE_CROP),
            (with_bladder(volume_ml=5.0), Finding.IMPLAUSIBLE_VOLUME),
            (with_bladder(volume_ml=1500.0), Finding.IMPLAUSIBLE_VOLUME),
            (case(structures={**case().structures, "Bladder": None}), Finding.STRUCTURE_ABSENT),
            (case(identical_slices=(3,)), Finding.IDENTICAL_SLICES),
            (case(body_found=False), Finding.NO_BODY),
        ],
    )
    def test_what_is_odd_by_itself(self, odd, finding):
        structures = {name: s for name, s in odd.structures.items() if s is not None}
        assert found([replace(odd, structures=structures)]) == {(finding, ("c0",))}


class TestDuplicates:
    def test_equal_cases(self):
        twin = case(1, sha256="case 0", hu_sha256="image 0", patient_id="p0")
        assert found([case(0), twin, case(2)]) == {(Finding.EQUAL_CASES, ("c0", "c1"))}

    def test_equal_images_with_different_labels(self):
        twin = case(1, hu_sha256="image 0", patient_id="p0")
        assert found([case(0), twin, case(2)]) == {(Finding.EQUAL_IMAGES, ("c0", "c1"))}

    def test_equal_images_of_two_patients_could_cross_a_split(self):
        twin = case(1, hu_sha256="image 0")
        assert (Finding.PATIENT_OF_EQUAL_IMAGES, ("c0", "c1")) in found([case(0), twin])


class TestSummarize:
    def test_spreads_and_counts(self):
        cases = [with_bladder(n, volume) for n, volume in enumerate((100.0, 200.0, 400.0))]
        without = {name: s for name, s in case().structures.items() if name != "Rectum"}
        cases.append(case(3, patient_id="p0", structures=without))

        summary = summarize(cases, CERVIX)

        assert (summary["cases"], summary["patients"]) == (4, 3)
        assert summary["cases_with"] == {"CTV-N": 4, "CTV-UV": 4, "Bladder": 4, "Rectum": 3}
        assert summary["quantities"]["Bladder volume_ml"] == {
            "cases": 4, "min": 100.0, "p25": 175.0, "median": 200.0, "p75": 250.0, "max": 400.0,
        }  # fmt: skip
        assert summary["body_hu_percentiles"][3]["percentile"] == 50.0
        assert summary["body_hu_percentiles"][3]["median"] == 10.0

    def test_a_structure_of_no_case_has_no_spread(self):
        summary = summarize([case(structures={})], CERVIX)
        assert summary["quantities"]["Rectum volume_ml"] == {"cases": 0}
