import math

from ml.planning.ranking import RunOutcome, rank


def outcome(label: str, dice: float, *, seed: int = 0, failure: str | None = None) -> RunOutcome:
    return RunOutcome(
        label=label,
        seed=seed,
        validation_loss=1.0,
        validation_dice={"Bladder": dice, "Rectum": dice},
        epochs=4,
        failure=failure,
    )


class TestRank:
    def test_the_highest_mean_over_seeds_comes_first(self):
        ranks = rank(
            [
                outcome("a", 0.9),
                outcome("a", 0.5, seed=1),
                outcome("b", 0.8),
                outcome("b", 0.7, seed=1),
            ]
        )

        assert [r.label for r in ranks] == ["b", "a"]
        assert [round(r.spread, 3) for r in ranks] == [0.1, 0.4]

    def test_failed_runs_are_counted_and_come_last(self):
        ranks = rank(
            [
                outcome("failed", 0.9, failure="the loss became nan"),
                outcome("half", 0.4),
                outcome("half", 0.9, seed=1, failure="killed"),
            ]
        )

        assert [(r.label, r.succeeded, r.failed) for r in ranks] == [
            ("half", 1, 1),
            ("failed", 0, 1),
        ]
        assert math.isnan(ranks[1].mean_dice)

    def test_structures_without_a_case_are_left_out_of_the_mean(self):
        only_bladder = RunOutcome(
            label="x",
            seed=0,
            validation_loss=1.0,
            validation_dice={"Bladder": 0.5, "Rectum": math.nan},
            epochs=1,
        )

        assert rank([only_bladder])[0].mean_dice == 0.5

    def test_ties_keep_the_order_of_the_plan(self):
        assert [r.label for r in rank([outcome("z", 0.5), outcome("a", 0.5)])] == ["z", "a"]
