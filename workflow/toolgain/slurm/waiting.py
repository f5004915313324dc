"""Why a job waits, where that is more than a full cluster: squeue's reason, in a sentence."""

import re

USUAL = frozenset(
    {
        *("", "None", "Priority", "Resources", "Dependency", "BeginTime", "Cleaning", "Prolog"),
        *("JobArrayTaskLimit", "NonZeroExitCode", "FrontEndDown", "BlockMaxError"),
    }
)
"""Reasons that pass as jobs end, or that are none."""

MEANINGS = {
    # reason (a regular expression): what it means, and what to do
    r"PartitionDown|PartitionInactive": "its partition takes no jobs now; `sinfo -s` shows the "
    "partitions, SLURM_PARTITION or cluster.partition names another",
    r"ReqNodeNotAvail|NodeDown|.*DOWN, DRAINED.*": "the nodes that it needs are down, drained or "
    "reserved; `sinfo -R` says why, `scontrol show reservation` for how long",
    r"Licenses": "all licenses that it asks for are taken, or there are fewer; "
    "`scontrol show licenses`",
    r"JobHeldUser": "somebody with your rights holds it; `scontrol release` frees it",
    r"JobHeldAdmin|launch failed requeued held|JobHoldMaxRequeue|.*requeued held.*": "it is held "
    "until it is released; `scontrol release`, or the administrator, who knows why",
    r"(Partition|Assoc|QOS)\w*(TimeLimit|WallDuration\w*|PerJob\w*|NodeLimit)": "it asks for more "
    "than one job may have there; lower its size or time in `cluster`: it will never start",
    r"(Assoc|QOS)\w*(Minutes|Mins|RunMin\w*|Billing)\w*": "the computing time of its account is "
    "used up or reserved by running jobs; ask for more, or name another account",
    r"(Assoc|QOS)\w*(MaxJobs|MaxSubmit|MaxCpu|MaxGRES|MaxNode|MaxMem|MaxTRES|Grp)\w*|"
    r"MaxJobsPer\w*|\w*PerUser\w*|\w*PerAccount\w*": "a limit of its account, user or QOS is "
    "reached; it starts once other jobs have ended, unless it is above the limit by itself "
    "(`sacctmgr show assoc user=$USER`)",
    r"InvalidAccount|AccountNotAllowed|AccountingPolicy|InvalidQOS|QOSNotAllowed": "its account or "
    "QOS may not run there; correct SLURM_ACCOUNT, cluster.account or its qos: it will never start",
    r"BadConstraints|Constraints": "no node has what it asks for: it will never start",
    r"DependencyNeverSatisfied": "what it depends on has failed: it will never start",
    r"ReservationDeleted|Reservation|InactiveLimit": "its reservation is not there or not yet "
    "active; `scontrol show reservation`",
    r"DeadLine": "it cannot end before its deadline: it will never start",
    r"SystemFailure|RaisedSignal.*|burst_buffer.*": "Slurm itself has a fault; ask the "
    "administrator",
}


def why_it_waits(reason: str) -> str | None:
    """What keeps a waiting job, and what to do; None where it only waits for its turn.

    Args:
        reason: squeue's reason (`%r`), such as `ReqNodeNotAvail, UnavailableNodes:n1`.
    """
    first = reason.strip().strip("()")
    if first.split(",")[0] in USUAL:
        return None
    for pattern, meaning in MEANINGS.items():
        if re.match(rf"(?:{pattern})(?:$|[,: ])", first) or re.fullmatch(pattern, first):
            return meaning
    return "Slurm's manual of squeue explains this reason"
