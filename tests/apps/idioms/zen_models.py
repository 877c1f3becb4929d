"""What the configs of the hydra-zen app build: by its name, so that jobs of other processes find it."""


def vit(heads: int = 2) -> str:
    return f"vit of {heads}"


def resnet(depth: int = 18) -> str:
    return f"resnet of {depth}"
