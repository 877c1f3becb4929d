"""Several processes that agree by sync_parameters: FOLDER SIZE LAUNCHER WAY; each tells what it holds.

LAUNCHER is "torchrun", whose environment tells each process its place; "spawn", where nothing does but the
process group; or "early spawn", where the agents are made before that.
"""

import json
import os
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing

from dahps_core import DahpsError, DistributedAsynchronousGridSearch, SearchExhausted, current_trial
from dahps_core.torch_utils import sync_parameters

#: What a float, a name in a path, or careless JSON would change.
VALUES = [2**60 + 1, 0.1, float("inf"), True, None, "größer / kleiner", [1, [2.0]], {"a": {"b": False}}]
CONFIG = {"root": {"key": "x", "values": VALUES, "cases": {}, "default": None}}


def place(rank, port):
    """The environment that torchrun would give."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "TORCHELASTIC_RUN_ID": "none"}
    os.environ |= {"WORLD_SIZE": str(SIZE), "LOCAL_WORLD_SIZE": str(SIZE), "MASTER_PORT": str(port)}


def tell(rank, **facts):
    (FOLDER / f"told.{rank}").write_text(json.dumps(facts))


def new_agent(folder, **options):
    return DistributedAsynchronousGridSearch.from_config(
        folder / "ledger", CONFIG, heartbeat=0.5, lease=3, **options
    )


def search(rank, agent):
    """All combinations, as long as there are some."""
    held, numbers = [], []
    while True:
        try:
            assert sync_parameters(rank, agent) is agent
        except SearchExhausted as error:
            assert agent.combination is None
            tell(rank, held=held, numbers=numbers, why=str(error))
            break
        assert current_trial() is agent.current
        held.append(agent.combination["x"])
        numbers.append(agent.current.number)
        agent.report(1.0, 0)
        agent.finish_combination(float(len(held)))
        agent.get_new_combination()
    dist.barrier()


def ask_too_early(rank, agent):
    try:
        tell(rank, held=agent.combination["x"])
    except DahpsError as error:
        tell(rank, error=str(error))
    dist.barrier()
    if rank == 0:
        agent.finish_combination(0.0)


def mistake_the_rank(rank, agent):
    try:
        sync_parameters(1 - rank, agent)
    except DahpsError as error:
        tell(rank, error=str(error))
    if rank == 0:
        agent.finish_combination(0.0)


def forget_the_group(rank, agent):
    dist.destroy_process_group()
    try:
        sync_parameters(rank, agent)
    except DahpsError as error:
        tell(rank, error=str(error))
    if rank == 0:
        agent.finish_combination(0.0)


def die_before(rank, agent):
    dist.barrier()
    if rank == 1:
        os._exit(1)
    sync_parameters(rank, agent)


def wait_long(rank, agent):
    """The search is paused, for longer than the process group waits for anything."""
    if rank == 0:
        threading.Timer(2 * GROUP_TIMEOUT_S, (FOLDER / "waited").touch).start()
    sync_parameters(rank, agent)
    tell(rank, held=agent.combination["x"])
    agent.finish_combination(0.0)


def main(rank, port):
    if LAUNCHER == "torchrun":
        place(rank, port)
    early = new_agent(FOLDER) if LAUNCHER == "early spawn" else None
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=SIZE,
        timeout=timedelta(seconds=GROUP_TIMEOUT_S),
    )
    globals()[WAY](rank, early or new_agent(FOLDER))


if __name__ in ("__main__", "__mp_main__"):
    FOLDER, SIZE, LAUNCHER, WAY = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    GROUP_TIMEOUT_S = 5 if WAY == "wait_long" else 60

if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    # Where it makes no difference they are forked: each interpreter would import torch anew.
    method = "fork" if LAUNCHER == "torchrun" else "spawn"
    torch.multiprocessing.start_processes(main, (port,), nprocs=SIZE, start_method=method)
