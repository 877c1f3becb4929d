import pytest
import torch

from models import N_CLASSES, ResNet, VisionTransformer


@pytest.mark.parametrize(("num_heads", "embed_dim"), [(2, 32), (2, 64), (3, 24), (3, 48)])
@pytest.mark.parametrize(("patch_size", "image_size"), [(2, 8), (4, 8), (4, 12), (4, 16)])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_vit_gives_a_logit_for_each_class(
    num_heads: int, embed_dim: int, patch_size: int, image_size: int, activation: str
) -> None:
    vit = VisionTransformer(2, image_size, patch_size, embed_dim, num_heads, activation, depth=2)
    assert vit(torch.rand(5, 2, image_size, image_size)).shape == (5, N_CLASSES)


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("image_size", [8, 12, 16])
def test_a_resnet_gives_a_logit_for_each_class(width: int, depth: int, image_size: int) -> None:
    resnet = ResNet(22, width, depth)
    assert resnet(torch.rand(5, 22, image_size, image_size)).shape == (5, N_CLASSES)


def test_patches_that_do_not_tile_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="patches of 4 pixels do not tile an image of 10"):
        VisionTransformer(1, 10, 4, embed_dim=32, num_heads=2, activation="relu", depth=1)


def test_a_vit_tells_the_places_of_patches_apart() -> None:
    vit = VisionTransformer(1, 8, 4, embed_dim=32, num_heads=2, activation="relu", depth=1)
    images = torch.rand(1, 1, 8, 8)
    assert not torch.allclose(vit(images), vit(images.roll(4, dims=-1)), atol=1e-4)


def test_depth_adds_blocks_to_both_stages() -> None:
    assert [len(ResNet(1, 8, depth).stages) for depth in (1, 2)] == [2, 4]
