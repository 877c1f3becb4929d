"""The search as a script of one's own, without Hydra; one process trains a model, or several do.

Alone:   python search.py
By two:  torchrun --nproc-per-node=2 search.py

Start it as often as you like, here or on other hosts: all of them draw from one ledger.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from torch import nn

from config import experiment_config
from dahps_core import DistributedAsynchronousRandomSearch
from data import digits
from models import ResNet, VisionTransformer
from ranks import together
from training import fit

IMAGE_SIZE = 8


def create_parser() -> ArgumentParser:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, default="dahps/search", help="the ledger's folder")
    parser.add_argument("--epochs", type=int, default=10, help="of training (default: %(default)s)")
    parser.add_argument("--k", type=int, help="so many combinations, drawn at random (default: all)")
    return parser


def build_model(args: Namespace) -> nn.Module:
    if args.model == "resnet":
        return ResNet(in_channels=1, width=8, depth=args.depth)
    return VisionTransformer(
        in_channels=1,
        image_size=IMAGE_SIZE,
        patch_size=2,
        embed_dim=args.embed_dim,
        num_heads=args.num_heads,
        activation="gelu",
        depth=2,
    )


def main(args: Namespace) -> None:
    torch.set_num_threads(1)
    training_set, validation_set = digits(IMAGE_SIZE)
    with together():
        search = DistributedAsynchronousRandomSearch.from_config(
            args.path, experiment_config, k=args.k, direction="maximize"
        )
        for trial in search:  # on each rank the same ones
            torch.manual_seed(trial.repetition)
            chosen = search.to_namespace(trial.combination, args)
            model = build_model(chosen)
            accuracy = fit(
                model,
                torch.optim.AdamW(model.parameters(), lr=chosen.learning_rate),
                training_set,
                validation_set,
                epochs=args.epochs,
                crop_size=IMAGE_SIZE,
                batch_size=chosen.batch_size,
                trial=trial,
            )
            search.finish_combination(accuracy)


if __name__ == "__main__":
    main(create_parser().parse_args())
