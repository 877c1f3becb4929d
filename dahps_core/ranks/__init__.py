"""Several processes that evaluate one trial together, as torch.distributed does: the ranks of a job.

Rank 0 is the leader: it is the worker, which claims and records. The followers evaluate what it starts. They
speak over TCP, by JSON alone; the leader's address is in a file in the ledger's folder.
"""

from dahps_core.ranks.follower import follow
from dahps_core.ranks.leader import Leader
from dahps_core.ranks.ranked_trial_process import RankedChild

__all__ = ["Leader", "RankedChild", "follow"]
