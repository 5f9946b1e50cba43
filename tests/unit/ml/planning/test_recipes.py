import pytest

from ml.planning.recipes import OUR_RECIPE, PAPER_RECIPE, PARTS_OF_OURS, without


class TestRecipes:
    @pytest.mark.parametrize("part", PARTS_OF_OURS)
    def test_taking_a_part_away_changes_that_part_alone(self, part):
        ours, reduced = OUR_RECIPE.to_dict(), without(OUR_RECIPE, part).to_dict()

        changed = {
            f"{group}.{name}"
            for group in ("preprocessing", "network", "loss", "training", "postprocessing")
            for name in ours[group]
            if ours[group][name] != reduced[group][name]
        }
        assert changed
        assert changed <= set(PARTS_OF_OURS[part])

    def test_without_all_parts_ours_is_the_papers(self):
        bare = OUR_RECIPE
        for part in PARTS_OF_OURS:
            bare = without(bare, part)

        assert bare.preprocessing == PAPER_RECIPE.preprocessing
        assert bare.network == PAPER_RECIPE.network
        assert bare.loss == PAPER_RECIPE.loss
        assert bare.training == PAPER_RECIPE.training
