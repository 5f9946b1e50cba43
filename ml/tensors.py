"""Shape aliases for tensors: every tensor signature uses one of these names.

Axes are batch, channel, row, column; images are scaled to [0, 1] unless said otherwise.
"""

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

ImageBatch = Float[Tensor, "batch image_channels rows columns"]
GuardedBatch = Float[Tensor, "batch 1 rows columns"]
"""HU, clipped to the guard range around the window."""
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
ChannelWeights = Float[Tensor, "batch channels"]
AffineBatch = Float[Tensor, "batch 2 3"]
PerImage = Float[Tensor, "batch"]
PerClass = Float[Tensor, "classes"]
Scalar = Float[Tensor, ""]
