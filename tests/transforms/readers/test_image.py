"""Reading: every kind of file becomes float32 (H, W, C) in [0, 1], or a DataError that names it."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import SHARED
from write_files import write_dicom

from resdx.errors import DataError, RecipeError
from resdx.records import from_record, to_record
from resdx.transforms.readers.dicom import ReadDicom, read_header
from resdx.transforms.readers.image import ReadImage
from resdx.transforms.readers.nifti import ReadNifti
from resdx.transforms.readers.paths import file_kind, split_index

DICOM = SHARED / "data" / "dicom"
RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOURS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], -1)


def read(path, **settings):
    image = ReadImage(**settings)(str(path))
    assert image.dtype == np.float32 and image.ndim == 3 and 0 <= image.min() <= image.max() <= 1
    return image


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


# Pictures


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm", "gif"])
def test_grey_is_one_channel_in_every_format(tmp_path, suffix):
    image = read(save(tmp_path / f"a.{suffix}", RAMP))
    np.testing.assert_allclose(image[..., 0], RAMP / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_colour_is_three_channels(tmp_path, suffix):
    np.testing.assert_allclose(read(save(tmp_path / f"a.{suffix}", COLOURS)), COLOURS / 255, atol=1e-6)


def test_colour_file_with_equal_channels_is_grey(tmp_path):
    image = read(save(tmp_path / "a.png", np.stack([RAMP] * 3, -1)))
    np.testing.assert_allclose(image[..., 0], RAMP / 255, atol=1e-6)
    assert image.shape == (3, 4, 1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path, suffix):
    stored = RAMP.astype(np.uint16) * 256 + 7
    image = read(save(tmp_path / f"a.{suffix}", stored))
    np.testing.assert_allclose(image[..., 0], stored / 65535, atol=1e-7)


def test_twelve_bit_values_in_a_sixteen_bit_file_can_be_stretched(tmp_path):
    path = save(tmp_path / "a.png", np.array([[0, 2047, 4095, 5000]], np.uint16))
    np.testing.assert_allclose(read(path, bits=12)[0, :, 0], [0, 2047 / 4095, 1, 1], atol=1e-6)


def test_one_bit_picture_is_black_and_white(tmp_path):
    path = save(tmp_path / "a.png", RAMP > 100)
    np.testing.assert_array_equal(read(path)[..., 0], RAMP > 100)


def test_palette_gives_its_colours(tmp_path):
    picture = Image.fromarray(COLOURS).quantize(16)
    picture.save(tmp_path / "a.png")
    np.testing.assert_allclose(read(tmp_path / "a.png"), np.asarray(picture.convert("RGB")) / 255, atol=1e-6)


def test_transparent_pixels_lie_on_black(tmp_path):
    alpha = np.where(RAMP > 100, 255, 0).astype(np.uint8)
    image = read(save(tmp_path / "a.png", np.dstack([COLOURS, alpha])))
    np.testing.assert_allclose(image, COLOURS / 255 * (RAMP > 100)[..., None], atol=1e-6)


def test_grey_with_alpha_stays_one_channel(tmp_path):
    assert read(save(tmp_path / "a.png", np.dstack([RAMP, RAMP]))).shape == (3, 4, 1)


def test_exif_turn_is_undone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to show
    path = save(tmp_path / "a.png", RAMP, exif=exif)
    np.testing.assert_allclose(read(path)[..., 0], np.rot90(RAMP, -1) / 255, atol=1e-6)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_allclose(read(tmp_path / "a.tif")[0, 0], [1, 0, 0], atol=0.02)


def test_floats_run_from_minimum_to_maximum(tmp_path):
    path = save(tmp_path / "a.tif", np.array([[-1000.0, 0.0, 1000.0]], np.float32))
    np.testing.assert_allclose(read(path)[0, :, 0], [0, 0.5, 1])


def test_floats_that_are_not_finite_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", np.array([[0.0, np.nan]], np.float32))
    with pytest.raises(DataError, match=r"a\.tif holds values that are not finite"):
        read(path)


def test_frame_is_chosen_by_the_path_or_the_step(tmp_path):
    first, second = Image.fromarray(RAMP), Image.fromarray(255 - RAMP)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    np.testing.assert_allclose(read(tmp_path / "a.tif")[..., 0], RAMP / 255, atol=1e-6)
    np.testing.assert_array_equal(read(f"{tmp_path}/a.tif#1"), read(tmp_path / "a.tif", frame=1))
    with pytest.raises(DataError, match="has 2 frames, counted from 0, so there is no frame 2"):
        read(f"{tmp_path}/a.tif#2")
    with pytest.raises(DataError, match="'x' is not the number of a frame"):
        read(f"{tmp_path}/a.tif#x")


def test_hash_in_a_file_name_is_not_an_index(tmp_path):
    path = save(tmp_path / "film #3.png", RAMP)
    assert split_index(str(path)) == (str(path), "")
    assert read(path).shape == (3, 4, 1)


def test_truncated_jpeg_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    whole = save(tmp_path / "a.jpg", noise).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg cannot be read as an image \(.*truncated.*\); copy it again"):
        read(tmp_path / "cut.jpg")


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.nii.gz", "a.npz"])
def test_empty_and_foreign_files_are_named(tmp_path, name):
    path = tmp_path / name
    suffix = "#train/0" if name == "a.npz" else "#0"
    for content in (b"", b"this is text, whatever it is called"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            read(f"{path}{suffix}")


def test_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png is not there"):
        read(tmp_path / "gone.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 20_000])
def test_decompression_bomb_is_not_opened(tmp_path, side):
    small = save(tmp_path / "small.png", RAMP).read_bytes()
    header = b"IHDR" + struct.pack(">II", side, side) + small[24:29]
    path = tmp_path / "bomb.png"  # says that it unfolds to 100 or 400 million pixels
    path.write_bytes(small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:])
    with pytest.raises(DataError, match=r"bomb\.png is larger than it is safe to open"):
        read(path)


def test_wrong_settings_are_refused_when_written():
    with pytest.raises(RecipeError, match=r"ReadImage.frame cannot be -1: it takes a whole number of at least 0"):
        ReadImage(frame=-1)
    with pytest.raises(RecipeError, match=r"ReadImage\.bits cannot be \d+: it takes a whole number from 8 to 16"):
        ReadImage(bits=32)
    for reader in (ReadNifti, ReadDicom):
        with pytest.raises(RecipeError, match=f"{reader.__name__} needs low below high"):
            reader(low=100)
        with pytest.raises(RecipeError, match="low below high"):
            reader(low=100, high=100)


def test_readers_are_records():
    for step in (ReadImage(frame=2), ReadDicom(), ReadNifti(-1000, 400)):
        assert from_record(to_record(step)) == step


# Sets and volumes


def test_medmnist_image_is_read_by_part_and_number(tmp_path):
    images = np.stack([RAMP, 255 - RAMP])
    np.savez(tmp_path / "set.npz", train_images=images, test_images=np.stack([COLOURS]))
    np.testing.assert_allclose(read(f"{tmp_path}/set.npz#train/1")[..., 0], (255 - RAMP) / 255, atol=1e-6)
    np.testing.assert_allclose(read(f"{tmp_path}/set.npz#test/0"), COLOURS / 255, atol=1e-6)
    for index, what in (("train/2", "has 2 images"), ("val/0", "no array 'val_images'"), ("3", "holds many images")):
        with pytest.raises(DataError, match=what):
            read(f"{tmp_path}/set.npz#{index}")


def test_nifti_slice_is_shown_as_radiologists_see_it(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((4, 5, 2), np.float32)  # with this affine x grows to the patient's right, y to the front
    volume[3, 4, 1] = 500  # right, front
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "v.nii.gz")
    image = read(f"{tmp_path}/v.nii.gz#1")
    assert image.shape == (5, 4, 1)
    assert np.argwhere(image[..., 0] == 1).tolist() == [[0, 0]]
    half = ReadNifti(low=0, high=1000)(f"{tmp_path}/v.nii.gz#1")
    assert half.max() == 0.5
    with pytest.raises(DataError, match="has 2 slices, counted from 0"):
        read(f"{tmp_path}/v.nii.gz#2")
    with pytest.raises(DataError, match="is a volume; name a slice"):
        read(f"{tmp_path}/v.nii.gz")


def test_nifti_looks_alike_however_it_is_stored(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    straight = nibabel.Nifti1Image(values, np.eye(4))
    turned = straight.as_reoriented([[1, -1], [0, 1], [2, -1]])
    nibabel.save(straight, tmp_path / "a.nii")
    nibabel.save(turned, tmp_path / "b.nii")
    np.testing.assert_allclose(read(f"{tmp_path}/a.nii#0"), read(f"{tmp_path}/b.nii#0"))


def test_absent_extra_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)  # as where it is not installed
    (tmp_path / "v.nii").touch()
    with pytest.raises(DataError, match=r'reading NIfTI files needs nibabel, .* pip install "resdx\[nifti\]"'):
        read(f"{tmp_path}/v.nii#0")


# DICOM

HU = np.array([[-1024, -200], [40, 1000]], np.int16)


def test_dicom_window_follows_the_standard(tmp_path):
    stored = (HU + 1024).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    expected = np.clip((HU - (40 - 0.5)) / (400 - 1) + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    np.testing.assert_allclose(read(path)[..., 0], expected, atol=1e-4)


def test_dicom_without_window_runs_from_minimum_to_maximum(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", HU)
    np.testing.assert_allclose(read(path)[..., 0], (HU + 1024) / 2024, atol=1e-6)


def test_padding_is_black_and_does_not_stretch_the_rest(tmp_path):
    stored = np.array([[-2000, 0], [50, 100]], np.int16)
    path = write_dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=-2000)
    np.testing.assert_allclose(read(path)[..., 0], [[0, 0], [0.5, 1]])


def test_monochrome1_is_inverted(tmp_path):
    plain = read(write_dicom(tmp_path / "a.dcm", RAMP))
    np.testing.assert_allclose(read(write_dicom(tmp_path / "b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")), 1 - plain)


def test_dicom_is_known_by_its_content(tmp_path):
    path = write_dicom(tmp_path / "IM0001", RAMP)
    assert file_kind(str(path)) == "dicom"
    np.testing.assert_array_equal(read(path), ReadDicom()(str(path)))


def test_frames_of_a_dicom_file_are_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.stack([RAMP, 220 - RAMP]))
    np.testing.assert_allclose(read(f"{path}#1")[..., 0], (220 - RAMP) / 220, atol=1e-6)
    with pytest.raises(DataError, match=r"has 2 frames; name one, such as a\.dcm#0"):
        read(path)
    with pytest.raises(DataError, match="there is no frame 2"):
        read(f"{path}#2")


def test_dicom_without_pixels_is_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, PixelData=None, Modality="SR")
    with pytest.raises(DataError, match=r"a\.dcm holds no pixel data \(modality SR\)"):
        read(path)


def test_truncated_dicom_is_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.zeros((32, 32), np.uint16))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"a\.dcm cannot be read as a DICOM image .*copy the file again"):
        read(path)


SHAPES = {  # of the last frame, for every file of the set
    **dict.fromkeys(["693_J2KR", "bad_sequence", "explicit_VR-UN", "liver", "liver_expb", "liver_j2k"], (512, 512, 1)),
    **dict.fromkeys(["liver_nonbyte_aligned", "liver_nonbyte_aligned_j2k"], (510, 510, 1)),
    **dict.fromkeys(["JLSL_08_07_0_1F", "JLSL_16_15_1_1F", "parametric_map_double_float", "parametric_map_float"], (128, 128, 1)),
    **dict.fromkeys(["JLSL_RGB_ILV0", "JLSL_RGB_ILV1", "JLSL_RGB_ILV2", "JLSN_RGB_ILV0"], (256, 256, 3)),
    **dict.fromkeys(["OBXXXX1A_rle", "OBXXXX1A_rle_2frame"], (600, 800, 3)),
    **dict.fromkeys(["US1_J2KI", "US1_J2KR"], (480, 640, 3)),
    **dict.fromkeys(["color-pl", "color-px"], (120, 256, 3)),
    "JPEG-LL": (1024, 256, 1),
    "MR2_J2KI": (1024, 1024, 1),
    "SC_rgb*": (100, 100, 3),
    "SC_ybr*": (100, 100, 3),
    "emri_small*": (64, 64, 1),
}
REFUSED = {  # these cannot be decoded by any decoder there is, and must say so
    "emri_small_jpeg_2k_lossless_too_short": "cut off",
    "liver_deflate": "Transfer Syntax",
    "liver_nonbyte_aligned_deflate": "Transfer Syntax",
    "liver_nonbyte_aligned_rle": "RLE Lossless",
    "liver_rle": "RLE Lossless",
}


@pytest.mark.skipif(not DICOM.is_dir(), reason="the shared DICOM files are not here")
@pytest.mark.filterwarnings("ignore")
def test_every_shared_dicom_file_has_its_expected_result():
    for package in ("gdcm", "openjpeg", "jpeg_ls"):
        pytest.importorskip(package, reason='needs the decoders of pip install "resdx[dicom]"')
    files = sorted(DICOM.glob("*.dcm"))
    assert len(files) == 52
    for file in files:
        path = _last_frame(file)
        if file.stem in REFUSED:
            with pytest.raises(DataError, match=REFUSED[file.stem]):
                read(path)
            continue
        expected = SHAPES.get(file.stem) or next(shape for name, shape in SHAPES.items() if file.match(f"{name}.dcm"))
        image = read(path)
        assert image.shape == expected, file.name
        assert image.max() > 0.9 and image.std() > 0.01, file.name


def _last_frame(file: Path) -> str:
    frames = int(read_header(str(file), ["NumberOfFrames"]).get("NumberOfFrames") or 1)
    return f"{file}#{frames - 1}" if frames > 1 else str(file)


@pytest.mark.skipif(not DICOM.is_dir(), reason="the shared DICOM files are not here")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "copies", [("SC_rgb.dcm", "SC_rgb_expb.dcm", "SC_rgb_16bit.dcm"), ("emri_small.dcm#9", "emri_small_RLE.dcm#9")]
)
def test_one_picture_in_many_encodings_is_one_picture(copies):
    first, *others = [read(f"{DICOM}/{copy}") for copy in copies]
    for other in others:
        np.testing.assert_allclose(other, first, atol=1 / 255)
