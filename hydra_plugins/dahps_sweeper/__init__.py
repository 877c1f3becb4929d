"""The Hydra side of DAHPS: `hydra/sweeper=dahps`."""
