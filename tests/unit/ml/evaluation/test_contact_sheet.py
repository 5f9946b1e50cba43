import numpy as np
import pytest
from PIL import Image

from ml.evaluation.contact_sheet import Layer, LineStyle, SheetOptions, write_contact_sheet
from ml.evaluation.phantom_sheet import main
from ml.geometry import LEFT, POSTERIOR, Volume, VolumeGeometry
from ml.phantom.orientation import PatientPosition, reorient
from ml.structures import CERVIX

OPTIONS = SheetOptions(slice_count=4, columns=2, tile_px=96)
YELLOW = CERVIX.get("Bladder").color_rgb


@pytest.fixture
def volume():
    positions = np.tile([0.0, 0.0, 0.0], (6, 1))
    positions[:, 2] = 5.0 * np.arange(6)
    geometry = VolumeGeometry(
        rows=24,
        columns=32,
        pixel_spacing_mm=(2.0, 2.0),
        row_direction=LEFT,
        column_direction=POSTERIOR,
        slice_positions_mm=positions,
    )
    hu = np.full((6, 24, 32), -1000, np.int16)
    hu[:, 4:20, 4:28] = 50
    return Volume(hu=hu, geometry=geometry)


@pytest.fixture
def labels():
    array = np.zeros((6, 24, 32), np.uint8)
    array[1:5, 8:14, 6:14] = CERVIX.get("Bladder").number
    return array


def count(path, color):
    with Image.open(path) as image:
        pixels = np.asarray(image)[24:]  # below the legend
    return int((pixels == color).all(axis=-1).sum())


def test_the_sheet_has_a_tile_for_each_chosen_slice(volume, labels, tmp_path):
    path = tmp_path / "sheet.png"
    write_contact_sheet(volume, [Layer(name="truth", labels=labels)], path, OPTIONS)
    with Image.open(path) as image:
        assert image.size == (192, 22 + 2 * (72 + 16))
    assert count(path, YELLOW) > 4 * 2 * (15 + 20)


def test_dashed_outlines_show_about_half_of_the_solid_ones(volume, labels, tmp_path):
    solid, dashed = tmp_path / "solid.png", tmp_path / "dashed.png"
    write_contact_sheet(volume, [Layer(name="p", labels=labels)], solid, OPTIONS)
    layer = Layer(name="t", labels=labels, style=LineStyle.DASHED)
    write_contact_sheet(volume, [layer], dashed, OPTIONS)
    assert 0.3 < count(dashed, YELLOW) / count(solid, YELLOW) < 0.7


@pytest.mark.parametrize("position", PatientPosition)
def test_the_picture_is_the_same_however_the_patient_lay(volume, labels, tmp_path, position):
    straight, turned = tmp_path / "a.png", tmp_path / "b.png"
    write_contact_sheet(volume, [Layer(name="truth", labels=labels)], straight, OPTIONS)
    geometry, way = reorient(volume.geometry, position)
    other = Volume(hu=way.array(volume.hu), geometry=geometry)
    write_contact_sheet(other, [Layer(name="truth", labels=way.array(labels))], turned, OPTIONS)
    with Image.open(straight) as one, Image.open(turned) as two:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_a_margin_shows_only_the_surroundings_of_the_outlines(volume, labels, tmp_path):
    path = tmp_path / "sheet.png"
    options = SheetOptions(slice_count=4, columns=2, tile_px=96, margin_mm=4.0)
    write_contact_sheet(volume, [Layer(name="truth", labels=labels)], path, options)
    with Image.open(path) as image:
        # 6 x 8 labelled pixels with 2 around them on every side: 10 x 12
        assert image.size == (192, 22 + 2 * (80 + 16))


def test_a_volume_without_structures_still_gives_a_sheet(volume, labels, tmp_path):
    path = tmp_path / "sheet.png"
    layer = Layer(name="none", labels=np.zeros_like(labels))
    write_contact_sheet(volume, [layer], path, OPTIONS)
    assert count(path, YELLOW) == 0


def test_a_layer_of_another_shape_is_refused(volume, labels, tmp_path):
    with pytest.raises(ValueError, match="'truth'"):
        write_contact_sheet(volume, [Layer(name="truth", labels=labels[1:])], tmp_path / "x.png")


def test_the_command_line_draws_a_phantom(tmp_path, capsys):
    path = tmp_path / "sheet.png"
    main(["--seed", "2", "--tier", "tiny", "--out", str(path)])
    assert capsys.readouterr().out == f"{path}\n"
    assert all(count(path, s.color_rgb) > 0 for s in CERVIX.structures)
