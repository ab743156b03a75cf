"""How many processor cores this process may use."""


def count_cores() -> int:
    """The cores of the machine, or fewer if the affinity, a container's CPU quota or LOKY_MAX_CPU_COUNT says so."""
    from joblib import cpu_count

    return int(cpu_count())
