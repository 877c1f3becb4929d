"""What scripts need that train one model by several processes of torch.distributed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import torch.distributed as dist

if dist.is_available():
    # The process group at the time of import is the permanent default of its functions. Imported later, as
    # DistributedDataParallel does, it would keep the group's threads past destroy_process_group, and PyTorch
    # aborts a process whose interpreter has ended before them.
    import torch.distributed.nn.functional  # noqa: F401

from dahps_core.errors import ConfigurationError

if TYPE_CHECKING:
    from dahps_core.script.search import ScriptSearch

Agent = TypeVar("Agent", bound="ScriptSearch")


def sync_parameters(rank: int, agent: Agent, group: dist.ProcessGroup | None = None) -> Agent:
    """Give all ranks the combination that rank 0 has claimed; all of them call this, before each trial.

    It goes over the process group, as JSON: no file is written or read. Afterwards `agent.combination`,
    `agent.current`, `agent.load_checkpoint` and the checkpoint folder are the same on all ranks, while what
    records does nothing on other ranks than 0.

    Args:
        rank: Of this process in the group, from 0.
        agent: This process's.
        group: Of the processes that train together; None: all of them. Any backend.

    Returns:
        The agent that was passed.

    Raises:
        SearchExhausted: On all ranks: there is nothing left to evaluate.
        ConfigurationError: There is no process group, though the job has several ranks; or the rank is not
            that of the group.
        RanksError: The ranks cannot reach each other.
    """
    if not (dist.is_available() and dist.is_initialized()):
        _refuse_several(agent._hand.size)
        agent._hand.share(_from_first, 0, 1)
        return agent
    actual = dist.get_rank(group)
    if rank != actual:
        raise ConfigurationError(
            f"sync_parameters got rank={rank}, but this is rank {actual} of its process group",
            hint="Pass torch.distributed.get_rank(), which is the variable RANK under torchrun",
        )
    agent._hand.share(lambda state: _from_first(state, group), rank, dist.get_world_size(group))
    return agent


def _refuse_several(size: int) -> None:
    if size > 1:
        raise ConfigurationError(
            f"this is one of {size} ranks, and they have no process group",
            hint="Call torch.distributed.init_process_group() before sync_parameters; or, if each process is "
            'to search on its own, pass ranks="independent" to from_config',
        )


def _from_first(state: dict[str, Any] | None, group: dist.ProcessGroup | None = None) -> dict[str, Any]:
    # As one string: integers and floats stay exactly what they are, whatever the backend.
    texts = [json.dumps(state)]
    source = 0 if group is None else dist.get_global_rank(group, 0)
    dist.broadcast_object_list(texts, src=source, group=group)
    shared: dict[str, Any] = json.loads(texts[0])
    return shared
