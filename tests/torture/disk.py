"""An ext4 file system in a file, whose power can be cut."""

import fcntl
import os
import struct
import subprocess

IMAGE_MIB = 512
# _IOR('X', 125, __u32): the file system stops as if the power had gone; the journal is not flushed.
EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


class Disk:
    def __init__(self, directory, mib=IMAGE_MIB):
        self.image = os.path.join(directory, "disk.img")
        self.root = os.path.join(directory, "disk")
        self.mounted = False
        os.makedirs(self.root, exist_ok=True)
        run("dd", "if=/dev/zero", "of=" + self.image, "bs=1M", f"count={mib}", "status=none")

    def format(self):
        self.unmount()
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        self.mount()

    def mount(self):
        run("mount", "-t", "ext4", "-o", "loop", self.image, self.root)
        self.mounted = True

    def unmount(self):
        if self.mounted:
            run("umount", self.root)
            self.mounted = False

    def cut(self):
        """What has not been synced by now is gone at the next mount."""
        fd = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)

    def free_mib(self):
        s = os.statvfs(self.root)
        return s.f_bavail * s.f_frsize >> 20
