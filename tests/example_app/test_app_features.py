import itertools
import math

import pytest
import torch

from features import Fourier, Pixels, Preprocessing, Shearlets, directional_filters

PREPROCESSINGS = [
    dict(zip(("normalize", "magphase", "symlog"), flags, strict=True))
    for flags in itertools.product([True, False], repeat=3)
]
PLAIN = {"normalize": False, "magphase": False, "symlog": False}


def grating(direction: float, size: int = 16, cycles_per_pixel: float = 0.25) -> torch.Tensor:
    """One image (1, 1, size, size) that varies along `direction` only."""
    place = torch.arange(size, dtype=torch.float32)
    down, right = torch.meshgrid(place, place, indexing="ij")
    along = right * math.cos(direction) + down * math.sin(direction)
    return torch.cos(2 * math.pi * cycles_per_pixel * along).view(1, 1, size, size)


def test_pixels_are_the_image() -> None:
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(Pixels()(images), images)


def test_the_spectrum_gives_the_image_back() -> None:
    images = torch.rand(5, 1, 8, 8)
    real, imaginary = Fourier(**PLAIN)(images).chunk(2, dim=1)
    spectrum = torch.fft.ifftshift(torch.complex(real, imaginary), dim=(-2, -1))
    torch.testing.assert_close(torch.fft.ifft2(spectrum, norm="ortho").real, images)


def test_frequency_zero_lies_in_the_middle() -> None:
    spectrum = Fourier(**PLAIN)(torch.ones(1, 1, 8, 8))[0]
    expected = torch.zeros(2, 8, 8)
    expected[0, 4, 4] = 8.0
    torch.testing.assert_close(spectrum, expected)


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=str)
@pytest.mark.parametrize("size", [8, 12, 16])
def test_every_preprocessing_gives_two_finite_channels_a_coefficient(
    preprocessing: dict[str, bool], size: int
) -> None:
    images = torch.rand(3, 1, size, size)
    for features, channels in [
        (Fourier(**preprocessing), 2),
        (Shearlets(size, n_shearlets=3, **preprocessing), 8),
    ]:
        seen = features(images)
        assert features.channels == channels
        assert seen.shape == (3, channels, size, size)
        assert seen.dtype == torch.float32
        assert seen.isfinite().all()


def test_magphase_gives_the_magnitude_and_the_phase() -> None:
    channels = Preprocessing(normalize=False, magphase=True, symlog=False)(torch.full((1, 1, 1, 1), -2j))
    torch.testing.assert_close(channels.flatten(), torch.tensor([2.0, -math.pi / 2]))


def test_symlog_keeps_the_sign_and_takes_the_logarithm() -> None:
    channels = Preprocessing(normalize=False, magphase=False, symlog=True)(torch.full((1, 1, 1, 1), 0 - 9j))
    torch.testing.assert_close(channels.flatten(), torch.tensor([0.0, -math.log(10)]))


def test_normalize_levels_each_channel_of_each_image() -> None:
    coefficients = torch.randn(4, 3, 8, 8, dtype=torch.complex64) * 50 + 7
    channels = Preprocessing(normalize=True, magphase=False, symlog=False)(coefficients)
    torch.testing.assert_close(channels.mean(dim=(2, 3)), torch.zeros(4, 6), atol=1e-4, rtol=0)
    torch.testing.assert_close(channels.std(dim=(2, 3), unbiased=False), torch.ones(4, 6), atol=1e-3, rtol=0)


@pytest.mark.parametrize("n", [3, 10])
def test_each_shearlet_answers_most_to_its_own_direction(n: int) -> None:
    shearlets = Shearlets(16, n, **PLAIN | {"magphase": True})
    for k in range(n):
        energy = shearlets(grating(k * math.pi / n)).square().mean(dim=(0, 2, 3))[: n + 1]
        assert energy.argmax() == k


def test_the_low_pass_filter_keeps_what_no_shearlet_sees() -> None:
    magnitudes = Shearlets(16, 3, **PLAIN | {"magphase": True})(torch.ones(1, 1, 16, 16))[0, :4]
    torch.testing.assert_close(magnitudes[:3], torch.zeros(3, 16, 16))
    torch.testing.assert_close(magnitudes[3], torch.ones(16, 16))


@pytest.mark.parametrize("n", [1, 3, 10])
@pytest.mark.parametrize("size", [8, 12, 16])
def test_the_filters_lose_no_frequency(n: int, size: int) -> None:
    total = directional_filters(n, size).sum(dim=0)
    # A real image has the same amplitude at f and at -f: one of the two must pass.
    mirrored = total.flip(0, 1).roll((1, 1), (0, 1))
    assert torch.maximum(total, mirrored).min() >= 0.5
