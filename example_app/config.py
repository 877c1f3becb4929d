"""The search space of `search.py`: one path from root to leaf for each combination, 20 in all."""

optimization_config = {
    "key": "learning_rate",
    "values": [1e-3, 3e-3],
    "default": {"key": "batch_size", "values": [32, 128], "default": None},
}

vit_config = {
    "key": "num_heads",
    "values": [2, 3],
    # each dimension is a multiple of its number of heads
    2: {"key": "embed_dim", "values": [16, 32], "default": optimization_config},
    3: {"key": "embed_dim", "values": [24], "default": optimization_config},
}

resnet_config = {"key": "depth", "values": [1, 2], "default": optimization_config}

experiment_config = {
    "root": {"key": "model", "values": ["vit", "resnet"], "vit": vit_config, "resnet": resnet_config},
    "check_unique": True,
    "repetitions": 1,
}
