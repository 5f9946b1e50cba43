"""When further epochs are not worth their time."""

import math
from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class EarlyStopping:
    """Counts epochs without a lower validation loss; a loss that is not a number is none."""

    patience: int
    best_loss: float = math.inf
    epochs_without_improvement: int = 0

    def is_improved_by(self, loss: float) -> bool:
        """Take in an epoch's loss and tell whether it is the lowest so far."""
        if loss < self.best_loss:
            self.best_loss = loss
            self.epochs_without_improvement = 0
            return True
        self.epochs_without_improvement += 1
        return False

    @property
    def is_exhausted(self) -> bool:
        """Tell whether patience has run out."""
        return self.epochs_without_improvement >= self.patience
