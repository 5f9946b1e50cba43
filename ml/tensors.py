"""Shape aliases for tensors: every tensor signature uses one of these names.

Axes are batch, channel, row, column; images are scaled to [0, 1] unless said otherwise.
"""

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

ImageBatch = Float[Tensor, "batch image_channels rows columns"]
ContextBatch = Float[Tensor, "batch offsets rows columns"]
"""HU of every image at its heights of context, clipped to the guard range around the windows."""
FeatureMaps = Float[Tensor, "batch channels rows columns"]
OutputMaps = Float[Tensor, "batch out_channels out_rows out_columns"]
SkipMaps = Float[Tensor, "batch skip_channels out_rows out_columns"]
AnyMaps = Float[Tensor, "_ _ _ _"]
"""Maps among others of different sizes."""
GateMaps = Float[Tensor, "batch gate_channels rows columns"]
LogitBatch = Float[Tensor, "batch classes rows columns"]
FineLogitBatch = Float[Tensor, "batch classes fine_rows fine_columns"]
ProbabilityBatch = Float[Tensor, "batch classes rows columns"]
LabelBatch = Int[Tensor, "batch rows columns"]
ByteLabelBatch = UInt8[Tensor, "batch rows columns"]
MaskBatch = Bool[Tensor, "batch rows columns"]
ClassMaps = Float[Tensor, "batch rows columns"]
"""One value a pixel, of one class."""
PixelValues = Float[Tensor, "pixels"]
PixelMask = Bool[Tensor, "pixels"]
PixelIndices = Int[Tensor, "pixels"]
PresenceLogits = Float[Tensor, "batch structures"]
"""Log odds that the slice shows a structure, numbered from class 1."""
PresenceProbabilities = Float[Tensor, "batch structures"]
AnyPresence = Float[Tensor, "_ structures"]
"""Presence probabilities of a batch among others of different sizes."""
PresenceBatch = Bool[Tensor, "batch structures"]
ChannelWeights = Float[Tensor, "batch channels"]
SpatialWeights = Float[Tensor, "batch 1 rows columns"]
AffineBatch = Float[Tensor, "batch 2 3"]
"""From output to input positions (x, y), both in [-1, 1] across the image's edges."""
PointMoves = Float[Tensor, "batch 3 2"]
"""Moves (x, y) of the three points that fix an affine map, in halves of the image's edge."""
NoiseLattice = Float[Tensor, "batch 2 lattice lattice"]
"""White noise of both directions (x, y)."""
DisplacementBatch = Float[Tensor, "batch 2 rows columns"]
"""Moves (x, y) of every pixel, in halves of the image's edge."""
GridBatch = Float[Tensor, "batch rows columns 2"]
"""Input position (x, y) of every output pixel, in [-1, 1] across the image's edges."""
PerImage = Float[Tensor, "batch"]
ImageMask = Bool[Tensor, "batch"]
PerClass = Float[Tensor, "classes"]
Scalar = Float[Tensor, ""]
