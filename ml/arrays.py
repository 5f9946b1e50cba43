"""Shape aliases for numpy arrays: every array signature of the rim uses one of these names.

Arrays are indexed slice, row, column (z, y, x); points are x, y, z in patient LPS millimetres.
"""

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Int, Int16, Integer, UInt8

HuVolume = Int16[np.ndarray, "slices rows columns"]
HuSlice = Int16[np.ndarray, "rows columns"]
AnyMask = Bool[np.ndarray, "..."]
"""A mask of any rank."""
AnyImage = Float32[np.ndarray, "..."]
"""Real values of any rank."""
PartNumbers = Integer[np.ndarray, "..."]
"""Number of the connected part at every voxel; 0 outside all."""
MaskVolume = Bool[np.ndarray, "slices rows columns"]
MaskSlice = Bool[np.ndarray, "rows columns"]
LabelVolume = UInt8[np.ndarray, "slices rows columns"]
ByteVolume = UInt8[np.ndarray, "slices rows columns"]
ImageVolume = Float32[np.ndarray, "slices rows columns"]
CropVolume = Float32[np.ndarray, "slices crop_rows crop_columns"]
CoveredLabelVolume = UInt8[np.ndarray, "slices covered_rows covered_columns"]
"""Labels of the CT pixels that lie inside the crop."""
CropLabelVolume = UInt8[np.ndarray, "slices crop_rows crop_columns"]
PointsMm = Float[np.ndarray, "_ 3"]
"""Points in patient LPS millimetres, x y z; lists of several lengths may meet in one call."""
CoordinatesMm = Float[np.ndarray, "_"]
"""One patient coordinate of every row, column or slice."""
PositionMask = Bool[np.ndarray, "_"]
PixelPoints = Float[np.ndarray, "_ 2"]
"""In-plane positions as (column, row), integers at pixel centres; any count, as above."""
VectorMm = Float[np.ndarray, "3"]
Indices = Int[np.ndarray, "_"]
"""Whole-number positions along one axis."""
ResamplingMatrix = Float32[np.ndarray, "out_positions in_positions"]
"""Weights of one axis' resampling; every row belongs to one output position."""
ContextVolume = Float32[np.ndarray, "slices offsets crop_rows crop_columns"]
"""For every slice the slices at the heights of its context."""
ChannelVolume = Float32[np.ndarray, "slices channels crop_rows crop_columns"]
"""The network's input."""
ContextIndices = Int[np.ndarray, "slices offsets"]
ContextShares = Float32[np.ndarray, "slices offsets"]
ByteVolumeOfFours = UInt8[np.ndarray, "slices half_rows half_columns 4"]
"""Every 2 x 2 block of a slice."""
Statistics = Float[np.ndarray, "_"]
"""A number for every resample."""
PatientDraws = Int[np.ndarray, "resamples patients"]
"""Which patients a resample holds, or how often."""
LogitVolume = Float16[np.ndarray, "slices classes crop_rows crop_columns"]
LogitSlice = Float16[np.ndarray, "classes rows columns"]
LabelSlice = UInt8[np.ndarray, "rows columns"]
ClassOffsets = Float32[np.ndarray, "classes"]
SlicePresence = Float32[np.ndarray, "slices structures"]
"""Probability that a slice shows a structure; structures count from class 1."""
SliceValues = Float[np.ndarray, "slices"]
SliceMask = Bool[np.ndarray, "slices"]
DistanceSlice = Float[np.ndarray, "rows columns"]
"""Distances in mm."""
AnyCounts = Float[np.ndarray, "..."]
"""How often something was seen, or the share of it, in cells of any rank."""
AnyLabels = UInt8[np.ndarray, "..."]
AnyIndices = Int[np.ndarray, "..."]
