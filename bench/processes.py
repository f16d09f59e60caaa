"""Whole `vqcodec` processes, one or several at once: what they take of the machine."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import click

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in one of ru_maxrss


class Used(NamedTuple):
    """What a process took: seconds of wall clock, of all cores, and of the codec alone."""

    wall: float
    cores: float
    codec: float
    peak: int  # bytes


def measure(*arguments: object) -> Used:
    """Run `vqcodec ARGUMENTS -v` in a process of its own."""
    return measure_together([arguments])[0]


def measure_together(commands: Sequence[Sequence[object]]) -> list[Used]:
    """Run `vqcodec COMMAND -v` for each, all at once. A process's wall clock ends no earlier than
    that of the one before it."""
    start = time.perf_counter()
    with ExitStack() as files:
        begun = []
        for arguments in commands:
            said = files.enter_context(tempfile.TemporaryFile("w+"))
            line = [sys.executable, "-m", "vqcodec", *map(str, arguments), "-v"]
            begun.append((subprocess.Popen(line, stdout=said, stderr=said), said))
        return [_finished(process, said, start) for process, said in begun]


def _finished(process: subprocess.Popen, said, start: float) -> Used:
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    said.seek(0)
    text = said.read()
    found = re.search(r"; ([0-9.]+) s, ", text)
    if process.returncode or not found:
        name = process.args[3]
        raise click.ClickException(f"`vqcodec {name}` gave {process.returncode}: {text}")
    cores = usage.ru_utime + usage.ru_stime
    return Used(wall, cores, float(found[1]), usage.ru_maxrss * PEAK_UNIT)
