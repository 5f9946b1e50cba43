import math

from ml.training.early_stopping import EarlyStopping


class TestEarlyStopping:
    def test_three_epochs_without_a_lower_loss_exhaust_it(self):
        stopping = EarlyStopping(patience=3)

        improved = [stopping.is_improved_by(loss) for loss in (1.0, 0.9, 0.9, 0.95, math.nan)]

        assert improved == [True, True, False, False, False]
        assert stopping.is_exhausted
        assert stopping.best_loss == 0.9

    def test_an_improvement_starts_the_count_again(self):
        stopping = EarlyStopping(patience=2)

        for loss in (1.0, 1.1, 0.9, 1.0):
            stopping.is_improved_by(loss)

        assert not stopping.is_exhausted
