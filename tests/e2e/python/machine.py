"""A machine that loses power, cannot write, or has its clock set, for one house (machine.c)."""

import errno
import mmap
import shutil
import struct
import subprocess
import uuid
from pathlib import Path

from house import House

SOURCE = Path(__file__).with_name("machine.c")
SECOND_NS = 1_000_000_000


class Machine:
    """Runs a house so that its disk and its clock obey the test."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = folder / "data"
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.boot_id = folder / "boot_id"
        dials = folder / "dials"
        dials.write_bytes(bytes(16))
        with dials.open("r+b") as file:
            self.dials = mmap.mmap(file.fileno(), 16)
        library = folder / "machine.so"
        command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self.environment = {
            "LD_PRELOAD": str(library),
            "MACHINE_FOLDER": str(self.data),
            "MACHINE_DISK": str(self.disk),
            "MACHINE_DIALS": str(dials),
            "MACHINE_BOOT_ID": str(self.boot_id),
        }
        self.boot()

    def boot(self) -> None:
        self.boot_id.write_text(f"{uuid.uuid4()}\n")

    def house(self, **more) -> House:
        return House(self.folder, **more, **self.environment)

    def flush(self) -> None:
        """All files as they are reach the disk, and all deletions; while no house runs."""
        for file in self.disk.iterdir():
            file.unlink()
        for file in self.data.iterdir():
            if file.is_file():
                shutil.copy(file, self.disk / file.name)

    def lose_power(self) -> None:
        """Of a house that was killed nothing is left but what was synced; the machine starts anew."""
        for file in self.data.iterdir():
            file.unlink()
        for file in self.disk.iterdir():
            if not file.name.endswith(".being-made"):
                shutil.copy(file, self.data / file.name)
                (self.data / file.name).chmod(0o600)
        self.boot()

    def refuse_writes(self, why: int = errno.EROFS) -> None:
        self.dials[:8] = struct.pack("q", why)

    def allow_writes(self) -> None:
        self.refuse_writes(0)

    def set_clock_ahead(self, seconds: float) -> None:
        self.dials[8:] = struct.pack("q", int(seconds * SECOND_NS))
