"""A worker whose network tells structures by their Hounsfield units.

Everything around the network is the real thing: crop, resampling, components, way back, RTSTRUCT.
What the network should find is therefore known exactly, in millimetres.
"""

from services.core.settings import load_settings
from services.worker.assembly import create_worker
from services.worker.networks import LoadedNetwork, NetworkOptions

STRUCTURE_HU = (150, 110, 70, 30)
"""Of the structures of ml.structures.CERVIX, in order; they lie apart in fat."""

FAT_HU = -90

STEP_HU = STRUCTURE_HU[0] - STRUCTURE_HU[1]


def load_intensity_network(options: NetworkOptions) -> LoadedNetwork:
    # Imported in the forked child, as services.worker.networks explains.
    import torch  # noqa: PLC0415

    from ml.checkpoint import Checkpoint, CheckpointCard  # noqa: PLC0415
    from ml.config import NetworkConfig, PreprocessingConfig, RunConfig  # noqa: PLC0415
    from ml.inference.predictor import Predictor  # noqa: PLC0415
    from ml.networks.base import SegmentationNetwork  # noqa: PLC0415
    from ml.structures import CERVIX  # noqa: PLC0415

    preprocessing = PreprocessingConfig()
    window = preprocessing.windows[0]
    low = window.level_hu - window.width_hu / 2

    class IntensityNetwork(SegmentationNetwork):
        """The brightest pixel nearby says which structure, half its height says where it ends."""

        size_multiple = 1

        def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [images]

        def decode(self, maps: list[torch.Tensor]) -> torch.Tensor:
            hu = maps[0] * window.width_hu + low
            plateau = torch.nn.functional.max_pool2d(hu, 5, stride=1, padding=2)
            inside = hu - (plateau + FAT_HU) / 2
            is_near = [(plateau - value).abs() < STEP_HU / 2 for value in STRUCTURE_HU]
            logits = [torch.where(near, inside, -1000.0) for near in is_near]
            return torch.cat([torch.zeros_like(hu), *logits], dim=1)

    class IntensityCheckpoint(Checkpoint):
        def build_network(self) -> SegmentationNetwork:
            return IntensityNetwork(NetworkConfig(), 1).eval()

    checkpoint = IntensityCheckpoint(
        run_config=RunConfig(preprocessing=preprocessing),
        card=CheckpointCard(model_version="intensity", intended_use="tests"),
        weights={},
        sha256="0" * 64,
    )
    predictor = Predictor(checkpoint, device=options.device, batch_size=options.batch_size)
    return LoadedNetwork(
        predictor=predictor, structures=CERVIX, model_version="intensity", weights_sha256="0" * 64
    )


app = create_worker(load_settings(), load_intensity_network)
