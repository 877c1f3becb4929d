"""The search space that DAHPS was first made for: as it was written, and with its three slips corrected."""

_AS_WRITTEN = """
# handles the low resolution datasets
low_res_config = {
    'key': 'image_size',
    'values': [64, 128],
    'default': {
        'key': 'crop_size',
        'values': [16, 32, 64],
        'default': None
    }
}
# handles the high resolution datasets
high_res_config = {
    'key': 'image_size',
    'values': [128, 256],
    'default': {
        'key': 'crop_size',
        'values': [16, 32, 64, 128],
        'default': None
    }
}

dataset_config = {
    'key': 'dataset',
    'values': ['caltech101', 'caltech256', 'food101', 'inat2021', 'cifar10', 'cifar100'],
    'default': high_res_config,
    'cifar10': low_res_config,
    'cifar100': low_res_config
},

optimization_config = {
    'key': 'learning_rate',
    'values': [1e-3, 1e-4],
    'default': {
        'key': 'batch_size',
        'values': [64, 128, 256, 512],
        'default': dataset_config
    }
}

deit_config = {
    'key': 'activation',
    'values': [],
    'default': {
        'key': 'patch_size',
        'values': [1, 2, 4, 16],
        'default': {
            'key': 'num_heads',
            'values': [3, 6, 12],
            'default': {
                'key': 'embed_dim',
                'values': [192, 384, 768],
                'default': {
                    'key': 'conv_first',
                    'values': [True, False],
                    'default': optimization_config
                }
            }
        }
    }
}

resnet_config = {
    'key': 'model',
    'values': ['complex_resnet18', 'complex_resnet34', 'complex_resnet50', 'complex_resnet101'],
    'default': optimization_config
}

model_config = {
    'key': 'model_type',
    'values': ['deit', 'resnet'],
    'default': resnet_config,
    'deit': deit_config
}

preprocessing_config = {
    'key': 'normalize',
    'values': [True, False],
    'default': {
        'key': 'magphase',
        'values': [True, False],
        'default': {
            'key': 'symlog',
            'values': [True, False],
            'default': model_config
        }
    }
}

experiment_config = {
    'root': {
        'key': 'experiment_type',
        'values': ['shearlet', 'fourier', 'baseline'],
        'default': model_config,
        'shearlet': {
            'key': 'n_shearlets',
            'value': [1, 3, 10],
            'default': preprocessing_config
        },
        'fourier': preprocessing_config
    },
    'check_unique': True,
    'repetitions': 1
}
"""

#: What is wrong, and what it should be.
_SLIPS = [
    ("'cifar100': low_res_config\n},", "'cifar100': low_res_config\n}"),
    ("'key': 'activation',\n    'values': []", "'key': 'activation',\n    'values': ['relu', 'gelu']"),
    ("'value': [1, 3, 10]", "'values': [1, 3, 10]"),
]

#: How many combinations the corrected tree has, counted by the program that it was made for.
SIZE = 1_719_168


def as_written():
    return _run(_AS_WRITTEN)


def corrected():
    return _run(mended_text())


def mended_text():
    text = _AS_WRITTEN
    for slip, right in _SLIPS:
        assert text.count(slip) == 1
        text = text.replace(slip, right)
    return text


def _run(text):
    names = {}
    exec(text, names)
    return names["experiment_config"]
