import pytest
import torch
from sklearn.datasets import load_digits

from data import center_crop, digits, random_crop


def test_the_split_is_disjoint_and_whole() -> None:
    train, validation = digits(8)
    pixels = torch.from_numpy(load_digits().data).float() / 16
    rows = [torch.cat([part.images.flatten(1) for part in (train, validation)]), pixels]
    split, whole = (sorted(map(tuple, table.tolist())) for table in rows)
    assert len(set(whole)) == len(whole)  # else equality of the lists would not show disjointness
    assert split == whole


def test_the_split_does_not_depend_on_the_seed() -> None:
    before = digits(8)[1].images
    torch.manual_seed(1)
    assert torch.equal(digits(8)[1].images, before)


def test_each_digit_has_its_share_of_the_validation_set() -> None:
    train, validation = digits(8)
    in_all = torch.cat([train.labels, validation.labels]).bincount()
    torch.testing.assert_close(
        validation.labels.bincount() / in_all, torch.full((10,), 0.2), atol=0.01, rtol=0
    )


@pytest.mark.parametrize("image_size", [8, 10, 12, 16])
def test_images_have_the_size_asked_for_and_pixels_from_0_to_1(image_size: int) -> None:
    images = digits(image_size)[0].images
    assert images.shape == (1437, 1, image_size, image_size)
    assert images.min() == 0
    assert images.max() <= 1


def test_crops_are_windows_of_the_image() -> None:
    images = torch.arange(36.0).view(1, 1, 6, 6)
    windows = images.unfold(2, 4, 1).unfold(3, 4, 1).reshape(-1, 4, 4).tolist()
    taken = [windows.index(random_crop(images, 4)[0, 0].tolist()) for _ in range(200)]
    assert sorted(set(taken)) == list(range(9))
    assert center_crop(images, 4)[0, 0].tolist() == windows[4]
    assert torch.equal(random_crop(images, 6), images)
