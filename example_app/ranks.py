"""The processes that train one model together: started by torchrun, or as the ranks of a trial."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed
import torch.distributed.nn.functional  # imported later, by DistributedDataParallel, it would keep the group
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@contextmanager
def together() -> Iterator[None]:
    """Join the others, whom the environment names; a process alone needs nobody."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    torch.distributed.init_process_group("gloo")
    try:
        yield
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def rank() -> int:
    """Which of them this process is, from 0."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def size() -> int:
    """How many they are."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def share(items: Tensor) -> Tensor:
    """This process's share: as large as all others', so the first items may come twice."""
    whole = torch.cat([items, items[: -len(items) % size()]])
    return whole[rank() :: size()]


def averaging(model: nn.Module) -> nn.Module:
    """The model, with the gradients of all processes."""
    return model if size() == 1 else DistributedDataParallel(model)


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, for all of them."""
    made = [make() if rank() == 0 else None]
    if size() > 1:
        torch.distributed.broadcast_object_list(made)
    return made[0]  # type: ignore[return-value]
