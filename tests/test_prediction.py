"""From files of any size to answers: known photographs of known digits, and tiny networks."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from conftest import real_data
from striate import prediction
from striate.errors import DataError, RunError
from striate.images import DecodedImage
from striate.prediction import (
    NO_FIGURE,
    Reader,
    adapt,
    predict_files,
)
from striate.preparation import InputSpec, fit, normalize, resize

ALONE = {"mean": (0.2,), "std": (0.4,), "background": (0.0,)}
DIGITS = InputSpec(channels=1, image_size=(8, 8), input_size=(8, 8), figure_extent=1.0, **ALONE)
MNIST = InputSpec(
    channels=1, image_size=(28, 28), input_size=(32, 32), figure_extent=5 / 7, **ALONE
)
PHOTO = InputSpec(
    channels=3, image_size=(30, 40), input_size=(32, 44),
    mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), background=(0.25, 0.5, 0.75),
)  # fmt: skip
WINDOW = PHOTO.model_copy(update={"image_size": (12, 16), "input_size": (8, 8)})


def photograph(digit, height, width, side, place, *, paper=200, ink=60, light=20, noise=5, seed=0):
    """A page with one enlarged digit of values in [0, 1], under a slope of light, with noise."""
    page = np.zeros((height, width), np.float32)
    row, column = place
    large = Image.fromarray(digit.astype(np.float32)).resize((side, side), Image.BICUBIC)
    page[row : row + side, column : column + side] = np.array(large).clip(0, 1)
    page = paper + (ink - paper) * page
    page += np.linspace(-light, light, width, dtype=np.float32)
    page += np.linspace(light / 2, -light / 2, height, dtype=np.float32)[:, None]
    page += noise * np.random.default_rng(seed).standard_normal(page.shape, dtype=np.float32)
    return DecodedImage(page.round().clip(0, 255).astype(np.uint8)[..., None], 255, ())


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    return bunch.images / 16, bunch.target


@pytest.fixture(scope="module")
def mnist():
    path = real_data("mnist") / "t10k-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28) / 255


def nearest(images, known, labels):
    distances = torch.cdist(images.flatten(1), torch.tensor(known, dtype=torch.float32).flatten(1))
    return labels[distances.argmin(dim=1).numpy()]


def test_photographed_digits_are_recognised_by_their_nearest_neighbour(digits):
    images, labels = digits
    adapted = []
    for number in range(40):
        place = (5 + 3 * number, 240 - 4 * number)
        page = photograph(images[number], 310, 407, 120, place, seed=number)
        adapted.append(adapt(page, DIGITS)[0])
    found = nearest(torch.cat(adapted), images[40:], labels[40:])
    assert (found == labels[:40]).mean() >= 0.85  # 0.95 of the originals themselves
    plain = [adapt(photograph(image, 310, 407, 120, (5, 5)), DIGITS, invert=False)[0]
             for image in images[:40]]  # fmt: skip
    assert (nearest(torch.cat(plain), images[40:], labels[40:]) == labels[:40]).mean() < 0.5


def test_a_photograph_of_40_megapixels_becomes_the_digit_it_shows(digits):
    images, labels = digits
    page = photograph(images[42], 5504, 7300, 2400, (2900, 4500))
    adapted, notes = adapt(page, DIGITS)
    assert 0 <= adapted.min() <= adapted.max() <= 1
    assert (adapted[0, 0] - torch.tensor(images[42])).abs().mean() < 0.1  # another digit: 0.3
    assert nearest(adapted, images[:42], labels[:42])[0] == labels[42]
    assert notes[0] == "inverted (dark on light)"
    assert notes[1] == "uneven light taken off"
    assert notes[2].startswith("contrast stretched from 0.")
    assert notes[3].startswith("cropped to the figure ")
    assert notes[4] == "resized 7300×5504 → 8×8"


def test_photographed_digits_of_mnist_come_back_in_their_size_and_place(mnist):
    differences = []
    for number in range(40):
        page = photograph(mnist[number], 350, 410, 224, (3 * number, 180 - 4 * number))
        adapted = adapt(page, MNIST)[0]
        assert adapted.shape == (1, 1, 28, 28)
        differences.append((adapted[0, 0] - torch.tensor(mnist[number])).abs().mean().item())
    assert np.mean(differences) < 0.04  # another digit is 0.15 away
    assert max(differences) < 0.07


def block(height, width, top, left, tall, wide, ground=0, ink=255) -> DecodedImage:
    pixels = np.full((height, width, 1), ground, np.uint8)
    pixels[top : top + tall, left : left + wide] = ink
    return DecodedImage(pixels, 255, ("a note of the file",))


@pytest.mark.parametrize("times", [1, 7])
def test_the_longer_side_gets_the_extent_and_the_centre_of_mass_the_middle_pixel(times):
    numbers = [times * number for number in (300, 500, 40, 310, 100, 50)]
    adapted, notes = adapt(block(*numbers), MNIST)
    columns, rows = adapted[0, 0].sum(dim=0), adapted[0, 0].sum(dim=1)
    assert adapted.sum() == pytest.approx(200, rel=0.01)  # 20 × 10 pixels of ink
    middle = torch.arange(28) + 0.5
    assert float(rows @ middle / rows.sum()) == pytest.approx(14.5, abs=0.11)
    assert float(columns @ middle / columns.sum()) == pytest.approx(14.5, abs=0.11)
    assert notes == (
        "a note of the file",
        f"cropped to the figure {50 * times}×{100 * times} at ({310 * times}, {40 * times})",
        f"resized {500 * times}×{300 * times} → 28×28",
    )


def test_a_figure_whose_mass_would_push_it_out_is_centred_by_its_box():
    image = block(200, 200, 40, 40, 100, 100, ink=100)
    image.pixels[120:140, 40:140] = 255  # heavy at the foot
    adapted = adapt(image, MNIST.model_copy(update={"figure_extent": 25 / 28}))[0][0, 0]
    rows = (adapted > 0.05).any(dim=1).nonzero().flatten()
    assert rows.tolist() == list(range(1, 27))  # 25 pixels from 1.5 to 26.5
    light = adapt(image, MNIST)[0][0, 0]
    rows = (light > 0.05).any(dim=1).nonzero().flatten()
    assert rows.tolist() == list(range(2, 23))  # 20 pixels around 14.5 - 1.9


def test_figures_that_fill_their_training_images_are_centred_by_their_box():
    image = block(200, 200, 40, 60, 100, 50, ink=150)
    image.pixels[40:140, 60:70] = 255  # heavy on the left
    adapted = adapt(image, DIGITS)[0][0, 0]
    assert (adapted > 0.05).any(dim=0).nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 6]


def test_what_is_fainter_than_the_box_is_kept_around_it():
    image = block(50, 40, 11, 9, 22, 22, ink=40)
    image.pixels[12:32, 10:30] = 255
    adapted = adapt(image, MNIST)[0][0, 0]
    faint = (adapted - 40 / 255).abs() < 1e-6
    assert int(faint.sum()) == 22 * 22 - 20 * 20
    assert int((adapted == 1).sum()) == 20 * 20


def test_noise_half_as_strong_as_the_ink_does_not_hide_a_figure(digits):
    images, labels = digits
    page = photograph(images[1], 410, 507, 300, (60, 70), noise=60)
    adapted, notes = adapt(page, DIGITS)
    assert notes[-2].startswith("cropped to the figure ")
    assert nearest(adapted, images[2:], labels[2:])[0] == labels[1]


@pytest.mark.parametrize(
    ("ground", "ink"), [(255, 0), (200, 90), (30, 90), (0, 90), (120, 255), (13, 255)]
)
def test_any_ground_and_ink_become_those_of_training(ground, ink):
    expected = adapt(block(300, 500, 40, 310, 100, 50), MNIST)[0]
    adapted, notes = adapt(block(300, 500, 40, 310, 100, 50, ground, ink), MNIST)
    torch.testing.assert_close(adapted, expected, atol=0.03, rtol=0)
    assert ("inverted (dark on light)" in notes) == (ground > ink)
    low, high = sorted((ground / 255, ink / 255))
    stretched = f"contrast stretched from {low:.2f}..{high:.2f}"
    assert (stretched in notes) == ((ground, ink) != (255, 0))
    onto_paper = MNIST.model_copy(update={"background": (1.0,)})
    turned, notes = adapt(block(300, 500, 40, 310, 100, 50, ground, ink), onto_paper)
    torch.testing.assert_close(turned, 1 - expected, atol=0.03, rtol=0)
    assert ("inverted (light on dark)" in notes) == (ground < ink)


def test_at_training_size_only_dark_and_light_are_exchanged():
    image = block(28, 28, 3, 2, 7, 11, ground=200, ink=90)
    adapted, notes = adapt(image, MNIST)
    assert torch.equal(adapted[0, 0], 1 - torch.tensor(image.pixels[..., 0] / np.float32(255)))
    assert notes == ("a note of the file", "inverted (dark on light)")
    left, notes = adapt(image, MNIST, invert=False)
    torch.testing.assert_close(left, 1 - adapted)
    assert notes == ("a note of the file",)
    dark = block(28, 28, 3, 2, 7, 11)
    assert adapt(dark, MNIST, invert=True)[1] == ("a note of the file", "inverted, as asked")
    assert torch.equal(1 - adapt(dark, MNIST)[0], adapt(dark, MNIST, invert=True)[0])


def test_a_blank_page_is_resized_whole_and_said():
    adapted, notes = adapt(block(60, 50, 0, 0, 0, 0, ground=255), MNIST)
    assert not adapted.any()
    assert notes[1:] == (
        *("inverted (dark on light)", NO_FIGURE),
        "resized 50×60 → 28×28, padded",
    )


def test_other_images_are_resized_whole_with_their_aspect_kept():
    pixels = np.random.default_rng(3).integers(0, 65_536, (61, 80, 3), dtype=np.uint16)
    adapted, notes = adapt(DecodedImage(pixels, 65_535, ()), PHOTO)
    unit = torch.tensor(pixels / np.float32(65_535)).permute(2, 0, 1)[None]
    torch.testing.assert_close(adapted, resize(unit, (30, 40)))  # 1.7 % off: no frame
    assert notes == ("resized 80×61 → 40×30",)
    wide, notes = adapt(DecodedImage(pixels[:31], 65_535, ()), PHOTO, invert=True)
    assert notes == ("inverted, as asked", "resized 80×31 → 40×30, padded")
    torch.testing.assert_close(wide[:, :, 7:23], 1 - resize(unit[:, :, :31], (16, 40)))
    for channel, ground in enumerate(PHOTO.background):
        assert (wide[0, channel, :7] == ground).all()
        assert (wide[0, channel, 23:] == ground).all()


def test_where_the_network_reads_a_window_the_shorter_side_is_resized_without_a_frame():
    pixels = np.random.default_rng(2).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    image, notes = adapt(DecodedImage(pixels, 255, ()), WINDOW)
    unit = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    assert torch.allclose(image, resize(unit, (12, 20)), atol=1e-6)
    assert notes == ("resized 50×30 → 20×12",)


@pytest.fixture
def network():
    torch.manual_seed(4)
    layers = [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.9), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)).train()


CLASSES = ("ant", "bee", "cat, wild", "dog")


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(5)
    files = []
    for number in range(7):
        shade = rng.integers(0, 256, 3)
        pixels = rng.integers(0, 1 + shade, (14 + number, 33, 3)).astype(np.uint8)
        files.append(tmp_path / f"{number}, odd.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def test_files_are_classified_as_by_hand_and_bad_ones_reported(
    network, paths, tmp_path, monkeypatch
):
    monkeypatch.setattr(prediction, "BATCH_SIZE", 3)
    network[2].eval()  # a part may be in another mode than the whole
    modes = [module.training for module in network.modules()]
    (tmp_path / "bad.png").write_bytes(b"not an image")
    seen = []
    found, errors = predict_files(
        Reader(network, PHOTO, CLASSES), [*paths[:3], tmp_path / "bad.png", *paths[3:]],
        top=3, progress=lambda done, all_: seen.append((done, all_)),
    )  # fmt: skip
    assert [module.training for module in network.modules()] == modes
    assert seen == [(3, 8), (6, 8), (8, 8)]
    assert [answer.path for answer in found] == [str(path) for path in paths]
    assert [type(error) for error in errors] == [DataError]
    assert "bad.png holds text" in str(errors[0])
    network.eval()
    for path, answer in zip(paths, found, strict=True):
        pixels = torch.tensor(np.array(Image.open(path)) / np.float32(255)).permute(2, 0, 1)
        image = adapt(DecodedImage(np.array(Image.open(path)), 255, ()), PHOTO)[0]
        inner = (round(pixels.shape[1] * 40 / 33), 40)
        top = (30 - inner[0]) // 2
        torch.testing.assert_close(image[:, :, top : top + inner[0]], resize(pixels[None], inner))
        scores = network(normalize(fit(image, PHOTO), PHOTO))[0].detach()
        shares = torch.exp(scores) / torch.exp(scores).sum()
        best = sorted(zip(CLASSES, shares.tolist(), strict=True), key=lambda pair: -pair[1])[:3]
        assert [label for label, _ in answer.top] == [label for label, _ in best]
        assert [share for _, share in answer.top] == pytest.approx([s for _, s in best])
        assert (answer.label, answer.probability) == answer.top[0]
        assert answer.notes[-1].endswith("40×30, padded")


@pytest.mark.parametrize("spec", [PHOTO, WINDOW])
def test_batches_do_not_change_the_answers_and_the_mode_returns_after_a_failure(
    network, paths, spec, monkeypatch
):
    all_, _ = predict_files(Reader(network, spec, CLASSES), paths)
    monkeypatch.setattr(prediction, "BATCH_SIZE", 1)
    one, _ = predict_files(Reader(network, spec, CLASSES), paths)
    assert [p.label for p in one] == [p.label for p in all_]
    for single, together in zip(one, all_, strict=True):
        assert single.probability == pytest.approx(together.probability, rel=1e-5)
        assert len(together.top) == 4  # five were asked for
    with pytest.raises(RunError, match=r"scores of shape \(4,\) for 3 classes; use it with"):
        predict_files(Reader(network, PHOTO, CLASSES[:3]), paths)
    nn.init.constant_(network[-1].bias, float("nan"))
    with pytest.raises(RunError, match="scores are not finite"):
        predict_files(Reader(network, PHOTO, CLASSES), paths)
    assert network.training


def test_a_file_of_other_channels_is_reported_by_name(network, tmp_path):
    path = tmp_path / "two.png"
    Image.fromarray(np.zeros((5, 6, 2), np.uint8), "LA").save(path)
    five = PHOTO.model_copy(update={"channels": 5})
    found, errors = predict_files(Reader(network, five, CLASSES), [path])
    assert found == []
    assert str(errors[0]).startswith(f"{path}: the image has 1 channels, the network reads 5")


def test_an_image_of_the_training_size_is_resized_as_training_did():
    spec = InputSpec(
        channels=1, image_size=(20, 20), input_size=(24, 24), mean=(0.1,), std=(0.3,),
        background=(0.0,), training_size=(8, 8), figure_extent=0.9,
    )  # fmt: skip
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[1:4, 0:3] = 180  # off the middle and faint: not to be centred or stretched
    image, notes = adapt(DecodedImage(pixels, 255, ()), spec)
    plain = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
    assert torch.equal(image, resize(plain, (20, 20)))
    assert notes == ("resized 8×8 → 20×20",)


def test_a_figure_in_a_file_of_twelve_bits_is_brightened_and_found():
    wide = np.zeros((60, 48, 1), np.uint16)
    wide[10:50, 20:26] = 65_520
    image, notes = adapt(DecodedImage(wide // 16, 65_535, ()), DIGITS)
    assert notes[0] == "brightened: its values end at 4095 of 65535"
    assert torch.allclose(image, adapt(DecodedImage(wide, 65_535, ()), DIGITS)[0], atol=0.02)
