"""A process that has imported everything, and forks one that runs a study for each line it reads.

A line is ``FOLDER N``; the child's process number is printed. With N > 0 the child stops between
the writing and the renaming of its N-th part, and says so, until it is killed.
"""

import os
import sys
import time

import torch

torch.set_num_threads(1)

from xaiutils.evidence.study import open_study, run_study  # noqa: E402


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def child(folder: str, pause: int) -> None:
    seen, rename = 0, os.replace

    def stop(source, target):
        nonlocal seen
        seen += "part-" in str(target) and "parts" in str(target)
        if seen == pause:
            say("between")
            time.sleep(60)
        rename(source, target)

    if pause:
        os.replace = stop
    run_study(open_study(folder))
    say("done")


if __name__ == "__main__":
    say("ready")
    for line in sys.stdin:
        folder, pause = line.rsplit(maxsplit=1)
        number = os.fork()
        if number == 0:
            child(folder, int(pause))
            os._exit(0)
        say(str(number))
        os.waitpid(number, 0)
        say("ended")
