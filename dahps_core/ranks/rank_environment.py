"""Where a rank's child finds itself: the environment that torch.distributed reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from dahps_core.environment.batch_job import BatchJob
from dahps_core.ranks.channel import Channel

T = TypeVar("T")


def in_place(
    function: Callable[[], T], batch: BatchJob, address: str, port: int, inherited: Sequence[Channel]
) -> Callable[[], T]:
    """Wrap the function for a forked child of a rank.

    Args:
        function: What the child is to run.
        batch: Of this rank.
        address: Rank 0's, as seen from here.
        port: For rank 0's child to listen on.
        inherited: The parent's channels, which are not the child's business.
    """

    def placed() -> T:
        # Held open here, and in what the trial starts, they would hide the parent's death from the others.
        for channel in inherited:
            channel.close()
        # torchrun's own store would be taken for the one of this attempt.
        for name in [name for name in os.environ if name.startswith("TORCHELASTIC_")]:
            del os.environ[name]
        os.environ.update(
            RANK=str(batch.rank),
            WORLD_SIZE=str(batch.size),
            LOCAL_RANK=str(batch.local_rank),
            LOCAL_WORLD_SIZE=str(batch.local_size),
            MASTER_ADDR=address,
            MASTER_PORT=str(port),
        )
        return function()

    return placed
