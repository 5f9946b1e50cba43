"""What all networks have in common: how they are called, and which sizes they take."""

from abc import ABC, abstractmethod

from torch import nn

from ml.config import NetworkConfig
from ml.tensors import AnyMaps, ImageBatch, LogitBatch, PresenceLogits


class ImageSizeError(ValueError):
    """Rows or columns cannot be halved as often as the network does."""

    def __init__(self, rows: int, columns: int, multiple: int) -> None:
        super().__init__(f"the network takes multiples of {multiple} px, not {rows}x{columns}")
        self.rows = rows
        self.columns = columns
        self.multiple = multiple


class NoPresenceHeadError(TypeError):
    """A network was asked for presence that was built without its head."""

    def __init__(self) -> None:
        super().__init__("the network was built without a presence head")


class SegmentationNetwork(nn.Module, ABC):
    """Slices in, one logit per class and pixel out; on request which structures they show.

    The presence head is the mean over the bottleneck's pixels, then a linear map to one logit for
    every structure.
    """

    size_multiple: int
    """Rows and columns of images must be multiples of this many pixels."""

    def __init__(self, config: NetworkConfig, bottleneck_channels: int) -> None:
        super().__init__()
        structure_count = config.class_count - 1
        self.presence = (
            nn.Linear(bottleneck_channels, structure_count) if config.presence_head else None
        )

    def forward(self, images: ImageBatch) -> LogitBatch:
        """Return the logits at the size of the images.

        Raises:
            ImageSizeError: rows or columns are no multiples of size_multiple.
        """
        return self.decode(self.encode_checked(images))

    def forward_with_presence(self, images: ImageBatch) -> tuple[LogitBatch, PresenceLogits]:
        """Return logits of pixels, and of every structure's presence in the slice.

        Raises:
            ImageSizeError: rows or columns are no multiples of size_multiple.
            NoPresenceHeadError: the configuration has no presence head.
        """
        if self.presence is None:
            raise NoPresenceHeadError
        maps = self.encode_checked(images)
        return self.decode(maps), self.presence(maps[-1].mean(dim=(2, 3)))

    def encode_checked(self, images: ImageBatch) -> list[AnyMaps]:
        """Check the size of images, then encode them."""
        rows, columns = images.shape[-2:]
        if rows % self.size_multiple or columns % self.size_multiple:
            raise ImageSizeError(rows, columns, self.size_multiple)
        return self.encode(images)

    @abstractmethod
    def encode(self, images: ImageBatch) -> list[AnyMaps]:
        """Return the encoder's feature maps, from the finest to the bottleneck."""

    @abstractmethod
    def decode(self, maps: list[AnyMaps]) -> LogitBatch:
        """Return logits from the encoder's feature maps."""
