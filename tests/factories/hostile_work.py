"""What parsers do to a process when a file is made for it."""

import ctypes
import os
import resource
import signal
import time
from pathlib import Path

from ml.dicom.errors import DicomError, DicomErrorCode
from services.api.edited_rtstructs.errors import WrongFrameOfReferenceError
from tests.waiting import wait_until


def add(left: int, right: int) -> int:
    return left + right


def process_id() -> int:
    return os.getpid()


def limits() -> dict[str, int]:
    kinds = {"core": resource.RLIMIT_CORE, "files": resource.RLIMIT_NOFILE}
    kinds |= {"cpu": resource.RLIMIT_CPU, "memory": resource.RLIMIT_AS}
    return {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()} | {
        "niceness": os.getpriority(os.PRIO_PROCESS, 0)
    }


def spin(started: Path) -> None:
    started.write_text(str(os.getpid()))
    while True:
        pass


def hold_the_interpreter(fifo: Path) -> None:
    """Do what a native parser in a loop does, until somebody writes into the FIFO.

    ctypes.PyDLL keeps the interpreter's lock.
    """
    reader = os.open(fifo, os.O_RDONLY)
    ctypes.PyDLL(None).read(reader, ctypes.create_string_buffer(1), 1)
    os.close(reader)


def meet(folder: Path) -> int:
    """Return the process once another one has come to the folder, too."""
    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    return os.getpid()


def swell() -> int:
    return len(bytearray(16 << 30))


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse() -> None:
    raise DicomError(
        DicomErrorCode.NOT_CT, "no CT", sop_instance_uids=["1.2"], facts={"modality": "MR"}
    )


def refuse_with_arguments() -> None:
    raise WrongFrameOfReferenceError("1.2", ["1.3"])


def note_once_there(text: str, notes: Path, awaited: Path) -> None:
    while not awaited.exists():
        time.sleep(0.001)
    with notes.open("a") as file:
        file.write(f"{text}\n")


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
