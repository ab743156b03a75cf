"""What the launcher is told, and what it tells: plain classes, which it loads in no time (view.py)."""

from netllama.sandbox.view import ViewEntry


class Limits:
    """What a script, with all processes that it starts, may use."""

    def __init__(
        self,
        *,
        wall_seconds: float = 120.0,
        cpu_seconds: float = 60.0,
        idle_seconds: float = float("inf"),
        memory_bytes: int = 4 * 2**30,
        processes: int = 64,
        open_files: int = 256,
        file_bytes: int = 2**28,
        folder_bytes: int = 2**29,
        folder_entries: int = 10_000,
        output_bytes: int = 2**24,
    ) -> None:
        self.wall_seconds = wall_seconds
        self.cpu_seconds = cpu_seconds
        """Of all its processes together. Unlike wall time it does not depend on what else the machine does."""
        self.idle_seconds = idle_seconds
        """In which all its processes sleep. What waits for the processor or the disk does not sleep, so that this does
        not depend on what else the machine does either."""
        self.memory_bytes = memory_bytes
        """Resident, of all its processes together; and of address space for each."""
        self.processes = processes
        """Threads count, too."""
        self.open_files = open_files
        self.file_bytes = file_bytes
        """Of the largest file that it may write."""
        self.folder_bytes = folder_bytes
        """By which its working folder may grow, with the other files that it can write."""
        self.folder_entries = folder_entries
        """Files and folders that it may add to them."""
        self.output_bytes = output_bytes
        """Of stdout and of stderr."""


class LaunchReport:
    """What the launcher tells about a script that has ended."""

    def __init__(
        self,
        *,
        status: int | None = None,
        ended: str = "exit",
        cpu_seconds: float = 0.0,
        peak_bytes: int = 0,
        unroutable: int | None = None,
        problem: str = "",
    ) -> None:
        self.status = status
        """The script's wait status; None where it was killed with the rest."""
        self.ended = ended
        """exit (by itself or by a signal), or what ended it: wall time, CPU time, idle time, memory, disk, output,
        stopped."""
        self.cpu_seconds, self.peak_bytes = cpu_seconds, peak_bytes
        """The most resident memory that was seen."""
        self.unroutable = unroutable
        """Packets and connections that found no route out of the script's network; None where they are not counted."""
        self.problem = problem
        """Why the script could not be started."""


class LaunchPlan:
    """How to start a script."""

    def __init__(
        self,
        *,
        level: str,
        entries: list[ViewEntry],
        base: str,
        folder: str,
        parent: int,
        command: list[str],
        environment: dict[str, str],
        limits: Limits,
    ) -> None:
        self.level = level
        self.entries = entries
        self.base = base
        """An empty folder, for the new root."""
        self.folder = folder
        """The working directory, as the script sees it."""
        self.parent = parent
        """The process that starts the launcher."""
        self.command, self.environment, self.limits = command, environment, limits
        self.user = 0
        """Whom the script runs as where the launcher is root's, who chooses."""


def pack_plan(plan: LaunchPlan) -> dict[str, object]:
    """Of types that marshal knows."""
    entries = [(entry.kind, entry.host, entry.inside) for entry in plan.entries]
    packed = vars(plan) | {"entries": entries, "limits": vars(plan.limits)}
    del packed["user"]
    return packed
