from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.config import LovaszClasses
from ml.losses.functional import (
    cross_entropy,
    dice_loss,
    lovasz_softmax,
    presence_loss,
    presence_of,
    soft_dice_per_class,
    symmetric_cross_entropy,
)

FOUR_PIXELS = torch.tensor([0.9, 0.4, 0.3, 0.1])
FOUR_LABELS = torch.tensor([1, 1, 0, 0]).reshape(1, 1, 4)
ONE_PIXEL = torch.tensor([2.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
FIRST_CLASS = torch.zeros(1, 1, 1, dtype=torch.long)
PRESENT, ALL = LovaszClasses.PRESENT, LovaszClasses.ALL


@pytest.fixture
def four_pixels() -> torch.Tensor:
    return torch.stack([1 - FOUR_PIXELS, FOUR_PIXELS]).reshape(1, 2, 1, 4)


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def drawn(seed: int, classes: int = 4, pixels: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and labels of one row of pixels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, classes, 1, pixels, generator=generator)
    return logits.softmax(1), torch.randint(0, classes, (1, 1, pixels), generator=generator)


class TestCrossEntropy:
    def test_one_pixel_by_hand(self):
        assert cross_entropy(ONE_PIXEL, FIRST_CLASS).item() == pytest.approx(0.239545, abs=1e-6)

    def test_weights_are_divided_by_those_of_the_labels(self):
        logits = torch.tensor([[0.0, 0.0], [1.0, 3.0]]).T.reshape(1, 2, 1, 2)
        labels = torch.tensor([[[0, 1]]])
        weights = torch.tensor([1.0, 4.0])

        found = cross_entropy(logits, labels, weights).item()

        by_hand = (1 * np.log(2) + 4 * np.log1p(np.exp(-2))) / 5
        assert found == pytest.approx(by_hand, abs=1e-6)

    def test_a_common_factor_of_the_weights_has_no_effect(self):
        logits, labels = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
        weights = torch.tensor([0.1, 1.0, 2.0])

        torch.testing.assert_close(
            cross_entropy(logits, labels, 10 * weights), cross_entropy(logits, labels, weights)
        )


class TestSymmetricCrossEntropy:
    @pytest.mark.parametrize(
        ("alpha", "beta", "log_zero", "expected"),
        [
            (1.0, 0.0, -4.0, 0.239545),
            (0.0, 1.0, -9.210340, 1.961931),
            (0.1, 1.0, -9.210340, 1.985886),
            (1.0, 1.0, -9.210340, 2.201476),
            (0.0, 1.0, -4.0, 0.852056),
            (1.0, 0.1, -4.0, 0.239545 + 0.0852056),
        ],
    )
    def test_one_pixel_by_hand(self, alpha, beta, log_zero, expected):
        loss = symmetric_cross_entropy(
            ONE_PIXEL, FIRST_CLASS, alpha=alpha, beta=beta, log_zero=log_zero
        )

        assert loss.item() == pytest.approx(expected, abs=1e-6)

    def test_a_wrong_label_costs_at_most_the_logarithm_of_zero(self):
        confident = torch.tensor([60.0, 0.0]).reshape(1, 2, 1, 1)
        wrong = torch.ones(1, 1, 1, dtype=torch.long)

        loss = symmetric_cross_entropy(confident, wrong, alpha=0.0, beta=1.0, log_zero=-4.0)

        assert loss.item() == pytest.approx(4.0)

    def test_class_weights_weigh_both_parts(self):
        logits, labels = torch.randn(1, 2, 1, 2), torch.tensor([[[0, 1]]])
        loss = partial(symmetric_cross_entropy, alpha=0.7, beta=0.4, log_zero=-4.0)

        only_first = loss(logits, labels, class_weights=torch.tensor([1.0, 0.0]))

        alone = loss(logits[..., :1], labels[..., :1])
        torch.testing.assert_close(only_first, alone)


class TestSoftDice:
    def test_four_pixels_by_hand(self, four_pixels):
        per_class = soft_dice_per_class(four_pixels, FOUR_LABELS, smooth=0.0)

        torch.testing.assert_close(per_class, torch.tensor([0.744186, 0.702703]), atol=1e-6, rtol=0)
        assert 1 - per_class.mean().item() == pytest.approx(0.276556, abs=1e-6)

    def test_background_is_no_part_of_the_loss(self, four_pixels):
        loss = dice_loss(four_pixels, FOUR_LABELS, smooth=0.0)

        assert loss.item() == pytest.approx(1 - 0.702703, abs=1e-6)

    @pytest.mark.parametrize(("smooth", "expected"), [(1e-5, 1.6666e-5), (1.0, 0.625)])
    def test_an_absent_class_by_hand(self, smooth, expected):
        probabilities = torch.tensor([[0.8, 0.8, 0.8], [0.2, 0.2, 0.2]]).reshape(1, 2, 1, 3)
        nothing = torch.zeros(1, 1, 3, dtype=torch.long)

        found = soft_dice_per_class(probabilities, nothing, smooth=smooth)[1].item()

        assert found == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize(("smooth", "learns"), [(1e-5, False), (1.0, True)])
    def test_an_absent_class_has_a_gradient_if_smoothed(self, smooth, learns):
        probabilities = torch.full((1, 2, 1, 3), 0.2, requires_grad=True)

        dice_loss(probabilities, torch.zeros(1, 1, 3, dtype=torch.long), smooth=smooth).backward()

        assert probabilities.grad is not None
        assert bool((probabilities.grad[:, 1] > 0.01).all()) is learns

    def test_the_batch_counts_as_one(self):
        probabilities, labels = drawn(0)
        halves = probabilities.reshape(4, 2, 1, 20).movedim(1, 0)
        parts = labels.reshape(2, 1, 20)

        loss = dice_loss(halves, parts, smooth=1.0)

        torch.testing.assert_close(loss, dice_loss(probabilities, labels, smooth=1.0))

    def test_a_perfect_answer_costs_nothing(self):
        labels = torch.randint(0, 3, (2, 4, 4))

        assert dice_loss(one_hot(labels, 3), labels, smooth=1.0).item() == pytest.approx(0)

    def test_the_order_of_pixels_does_not_matter(self):
        probabilities, labels = drawn(1)
        order = torch.randperm(40)

        shuffled = dice_loss(probabilities[..., order], labels[..., order], smooth=1.0)

        torch.testing.assert_close(shuffled, dice_loss(probabilities, labels, smooth=1.0))


def lovasz_by_definition(errors: np.ndarray, truth: np.ndarray) -> float:
    """Equation 9 of Berman et al.: errors, largest first, times differences of the Jaccard loss."""
    order = np.argsort(-errors, kind="stable")

    def jaccard_loss(count: int) -> float:
        wrong = np.zeros(len(errors), bool)
        wrong[order[:count]] = True
        return np.count_nonzero(wrong) / max(1, np.count_nonzero(wrong | truth))

    steps = [jaccard_loss(i + 1) - jaccard_loss(i) for i in range(len(errors))]
    return float(errors[order] @ np.array(steps))


class TestLovaszSoftmax:
    def test_four_pixels_by_hand(self, four_pixels):
        found = lovasz_softmax(four_pixels, FOUR_LABELS, classes=PRESENT).item()

        assert found == pytest.approx((0.333333 + 0.383333) / 2, abs=1e-6)

    @pytest.mark.parametrize(("classes", "expected"), [(PRESENT, 0.325), (ALL, 0.316667)])
    def test_an_absent_class_by_hand(self, classes, expected):
        rows = torch.tensor([[0.7, 0.1, 0.2], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3]])
        labels = torch.tensor([0, 1, 1]).reshape(1, 1, 3)

        found = lovasz_softmax(rows.T.reshape(1, 3, 1, 3), labels, classes=classes).item()

        assert found == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("classes", "expected"), [(PRESENT, [0.0, 0.0, 0.0]), (ALL, [0.0, 0.0, 1 / 3])]
    )
    def test_of_an_absent_class_at_most_the_worst_pixel_is_told(self, classes, expected):
        rows = torch.tensor([[0.7, 0.1, 0.2], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3]])
        probabilities = rows.T.reshape(1, 3, 1, 3).clone().requires_grad_()

        labels = torch.tensor([0, 1, 1]).reshape(1, 1, 3)
        lovasz_softmax(probabilities, labels, classes=classes).backward()

        assert probabilities.grad is not None
        torch.testing.assert_close(probabilities.grad[0, 2, 0], torch.tensor(expected))

    def test_the_name_of_the_classes_may_be_any_equal_string(self, four_pixels):
        absent = torch.zeros(1, 1, 4, dtype=torch.long)
        name = "".join(["pre", "sent"])

        found = lovasz_softmax(four_pixels, absent, classes=LovaszClasses(name))

        assert found.item() == pytest.approx(FOUR_PIXELS.mean().item(), abs=1e-6)

    def test_a_perfect_answer_costs_nothing(self):
        labels = torch.randint(0, 3, (2, 4, 4))

        assert lovasz_softmax(one_hot(labels, 3), labels, classes=ALL).item() == 0

    def test_all_wrong_costs_one(self):
        labels = torch.tensor([[[0, 1, 2, 0, 1, 2]]])

        found = lovasz_softmax(one_hot((labels + 1) % 3, 3), labels, classes=PRESENT)

        assert found.item() == pytest.approx(1)

    @given(seed=st.integers(0, 10_000))
    def test_of_hard_answers_it_is_one_minus_jaccard(self, seed):
        _, labels = drawn(seed, classes=3)
        _, answer = drawn(seed + 1, classes=3)

        found = lovasz_softmax(one_hot(answer, 3), labels, classes=PRESENT).item()

        jaccard = [
            ((answer == c) & (labels == c)).sum() / ((answer == c) | (labels == c)).sum()
            for c in labels.unique()
        ]
        assert found == pytest.approx(1 - float(torch.stack(jaccard).mean()), abs=1e-5)

    @given(seed=st.integers(0, 10_000), pixels=st.integers(1, 60))
    def test_it_is_the_definition_at_any_probabilities(self, seed, pixels):
        probabilities, labels = drawn(seed, pixels=pixels)

        found = lovasz_softmax(probabilities, labels, classes=PRESENT).item()

        by_definition = []
        for number in labels.unique().tolist():
            truth = (labels == number).flatten().numpy()
            errors = np.abs(truth - probabilities[0, number].flatten().numpy().astype(float))
            by_definition.append(lovasz_by_definition(errors, truth))
        assert found == pytest.approx(np.mean(by_definition), abs=1e-5)

    def test_the_order_of_pixels_does_not_matter(self):
        probabilities, labels = drawn(2)
        order = torch.randperm(40)

        shuffled = lovasz_softmax(probabilities[..., order], labels[..., order], classes=ALL)

        torch.testing.assert_close(shuffled, lovasz_softmax(probabilities, labels, classes=ALL))

    def test_slices_count_together(self):
        probabilities, labels = drawn(3)
        halves = probabilities.reshape(4, 2, 1, 20).movedim(1, 0)
        parts = labels.reshape(2, 1, 20)

        loss = lovasz_softmax(halves, parts, classes=PRESENT)

        torch.testing.assert_close(loss, lovasz_softmax(probabilities, labels, classes=PRESENT))

    def test_between_two_answers_of_one_order_it_is_linear(self):
        labels = torch.tensor([[[1, 0, 1, 0]]])
        first, second = (
            torch.stack([1 - p, p]).reshape(1, 2, 1, 4)
            for p in (torch.tensor([0.1, 0.8, 0.5, 0.2]), torch.tensor([0.3, 0.6, 0.5, 0.4]))
        )

        middle = lovasz_softmax((first + second) / 2, labels, classes=PRESENT)

        ends = [lovasz_softmax(p, labels, classes=PRESENT) for p in (first, second)]
        torch.testing.assert_close(middle, sum(ends) / 2)

    def test_both_number_formats_sort_alike(self):
        probabilities, labels = drawn(4, pixels=500)
        narrow, wide = probabilities.requires_grad_(), probabilities.detach().double()
        wide.requires_grad_()

        lovasz_softmax(narrow, labels, classes=PRESENT).backward()
        lovasz_softmax(wide, labels, classes=PRESENT).backward()

        assert wide.grad is not None
        torch.testing.assert_close(narrow.grad, wide.grad.float(), atol=1e-7, rtol=1e-4)

    def test_a_batch_of_one_class_alone_learns_from_every_pixel(self):
        probabilities = torch.full((1, 2, 1, 4), 0.5, requires_grad=True)

        nothing = torch.zeros(1, 1, 4, dtype=torch.long)
        lovasz_softmax(probabilities, nothing, classes=PRESENT).backward()

        assert probabilities.grad is not None
        torch.testing.assert_close(probabilities.grad[0, 0, 0], torch.full((4,), -0.25))


class TestPresence:
    def test_a_structure_is_present_from_one_pixel_on(self):
        labels = torch.zeros(2, 4, 4, dtype=torch.long)
        labels[0, 1, 1], labels[1, 0] = 3, 1

        assert presence_of(labels, 3).tolist() == [[False, False, True], [True, False, False]]

    def test_the_loss_by_hand(self):
        labels = torch.zeros(1, 2, 2, dtype=torch.long)
        labels[0, 0, 0] = 1
        odds = torch.tensor([[1.0, 2.0]])

        by_hand = (np.log1p(np.exp(-1)) + np.log1p(np.exp(2))) / 2
        assert presence_loss(odds, labels).item() == pytest.approx(by_hand, abs=1e-6)

    def test_certain_right_answers_cost_nothing(self):
        labels = torch.tensor([[[0, 2]], [[1, 1]]])
        odds = torch.tensor([[-40.0, 40.0], [40.0, -40.0]])

        assert presence_loss(odds, labels).item() == pytest.approx(0, abs=1e-6)
