"""What a network sees of an image: its pixels, its spectrum, or its directional parts."""

import math

import torch
from torch import Tensor, nn

LOW_PASS = 0.1  #: where the low-pass filter has fallen to 1/e, in cycles per pixel


class Pixels(nn.Module):
    """The image as it is."""

    channels = 1

    def forward(self, images: Tensor) -> Tensor:
        return images


class Preprocessing(nn.Module):
    """Complex coefficients (batch, n, height, width) as real channels (batch, 2n, height, width).

    Args:
        magphase: The two channels of a coefficient are its magnitude and its phase in [-pi, pi];
            else its real and its imaginary part.
        symlog: Each channel x becomes sign(x) * log(1 + |x|), so that a few large coefficients,
            such as the mean of the image, do not drown the small ones.
        normalize: At last each channel of each image gets mean 0 and standard deviation 1.
    """

    def __init__(self, *, normalize: bool, magphase: bool, symlog: bool) -> None:
        super().__init__()
        self.normalize = normalize
        self.magphase = magphase
        self.symlog = symlog

    def forward(self, coefficients: Tensor) -> Tensor:
        parts = (
            (coefficients.abs(), coefficients.angle())
            if self.magphase
            else (coefficients.real, coefficients.imag)
        )
        channels = torch.cat(parts, dim=1)
        if self.symlog:
            channels = channels.sign() * channels.abs().log1p()
        return nn.functional.instance_norm(channels) if self.normalize else channels


class Fourier(nn.Module):
    """The two-dimensional spectrum of the image, unitary, with frequency 0 in the middle.

    Args:
        preprocessing: The arguments of `Preprocessing`.
    """

    channels = 2

    def __init__(self, **preprocessing: bool) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(**preprocessing)

    def forward(self, images: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(images, norm="ortho")
        return self.preprocessing(torch.fft.fftshift(spectrum, dim=(-2, -1)))


class Shearlets(nn.Module):
    """The image through a bank of directional filters, and what is left at low frequencies.

    The filters let pass one side of the spectrum only, so their answers are complex: the magnitude says
    how strongly the image varies in a direction at a place, the phase says where the edge lies.

    Args:
        size: The side of the images, in pixels.
        n_shearlets: How many directions.
        preprocessing: The arguments of `Preprocessing`.
    """

    def __init__(self, size: int, n_shearlets: int, **preprocessing: bool) -> None:
        super().__init__()
        self.channels = 2 * (n_shearlets + 1)
        self.preprocessing = Preprocessing(**preprocessing)
        self.register_buffer("filters", directional_filters(n_shearlets, size), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(images)
        return self.preprocessing(torch.fft.ifft2(spectrum * self.filters))


def directional_filters(n: int, size: int) -> Tensor:
    """Frequency responses of `n` wedges and a low-pass filter, (n + 1, size, size), in the order of `fft2`.

    Wedge k looks in the direction k * pi / n, counted from the horizontal axis to the vertical one that
    points downwards, and fades out towards the directions of its neighbours. Half of the plane is enough,
    for the other half of a real image's spectrum mirrors it.

    Args:
        n: How many wedges.
        size: The side of the images, in pixels.
    """
    frequencies = torch.fft.fftfreq(size)
    # -1/2 and 1/2 are one frequency, and the wedges lie on the positive side.
    frequencies[frequencies == -0.5] = 0.5
    vertical, horizontal = torch.meshgrid(frequencies, frequencies, indexing="ij")
    low = torch.exp(-(vertical**2 + horizontal**2) / LOW_PASS**2)
    directions = torch.arange(n).view(n, 1, 1) * math.pi / n
    offset = torch.remainder(torch.atan2(vertical, horizontal) - directions + math.pi, 2 * math.pi) - math.pi
    wedges = torch.cos(n * offset.clamp(-math.pi / n, math.pi / n) / 2) ** 2
    return torch.cat([wedges * (1 - low), low.unsqueeze(0)])
