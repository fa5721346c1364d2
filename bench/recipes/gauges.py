"""CPU time and memory of processes, from Linux's /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LISTENING = "0A"
#: If Docker runs the server, only this process listens on its port.
_NOT_A_SERVER = "docker-proxy"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A process by the name that it has in the report."""

    name: str
    pid: int

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, to 10 ms."""
        # The second field is the command's name in brackets and may hold anything.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def rss_mib(self) -> float:
        resident = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return resident * _PAGE_BYTES / 2**20


def listening_pid(host: str, port: int) -> int | None:
    """The process that listens on this port, None if it is on another machine or cannot be seen."""
    if host not in ("127.0.0.1", "localhost", "::1"):
        return None
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for folder in Path("/proc").glob("[0-9]*") if sockets else ():
        try:
            holds = any(str(each.readlink()) in sockets for each in (folder / "fd").iterdir())
            if holds and (folder / "comm").read_text().strip() != _NOT_A_SERVER:
                return int(folder.name)
        except OSError:
            # The process has ended meanwhile, or belongs to another user.
            continue
    return None


def _listening_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes
