#!/usr/bin/env python3
"""Power cuts under load: nothing that was acknowledged may be lost, old or unopenable afterwards.

The store, the anchor and the audit file lie on ext4 in a loop device. Writers put secrets of 200 B
to 200 KiB over TLS; at a random moment the daemon is stopped, the file system is shut down without
flushing its journal, the daemon is killed, the file system is mounted again, the daemon is started
and unsealed, and every key is compared with what was tried and what was acknowledged. Some cuts
come while the vault seals, some while it opens after the cut before.

With --broken the writing daemon's syncs are answered by strace without being done: a disk that
lies. Then losses must be seen, or this harness sees nothing.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

from disk import Disk
from torture import BACKENDS, Torture
from vault import Unopenable

# A broken daemon writes this long, in seconds: strace is slow.
BROKEN_SOONEST, BROKEN_LATEST = 0.5, 1.0
# With less space than this the store starts anew.
ROOM_MIB = 128
SYNCS = ["fdatasync", "fsync", "syncfs", "sync_file_range"]
LYING_DISK = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=" + ",".join(SYNCS)]
for call in SYNCS:
    LYING_DISK += ["-e", f"inject={call}:retval=0"]


class PowerCut(Torture):
    def __init__(self, binary, backend, disk, directory, seed):
        super().__init__(binary, backend, disk.root, directory, seed)
        self.disk = disk

    def empty(self):
        self.disk.format()

    def strike(self, daemon):
        daemon.freeze()
        # Whatever was sent before this point was acknowledged; nothing after it counts.
        self.history.stop_counting()
        self.disk.cut()
        daemon.kill()
        self.disk.unmount()
        self.disk.mount()

    def run_broken(self, cuts):
        """How many cuts lost something although the disk had promised to keep it."""
        seen = 0
        while self.blows < cuts:
            self.renew()
            daemon = self.start(LYING_DISK)
            daemon.unseal(self.share)
            self.blow_while_writing(daemon, BROKEN_SOONEST, BROKEN_LATEST)
            before = self.tally.bad
            try:
                self.reopen().kill()
                seen += self.tally.bad > before
            except Unopenable:
                self.unopenable += 1
                seen += 1
        return seen


def probe():
    """Why power cuts cannot be made here; None when they can."""
    directory = tempfile.mkdtemp(prefix="powercut-")
    disk = None
    try:
        disk = Disk(directory, 16)
        disk.format()
        kept, gone = (os.path.join(disk.root, name) for name in ("kept", "gone"))
        with open(kept, "w") as f:
            f.write("x")
        os.sync()
        with open(gone, "w") as f:
            f.write("x")
        disk.cut()
        disk.unmount()
        disk.mount()
        if not os.path.exists(kept) or os.path.exists(gone):
            return "the cut did not take what was not synced"
        return None
    except OSError as e:
        return str(e)
    finally:
        if disk:
            disk.unmount()
        shutil.rmtree(directory, ignore_errors=True)


def one_backend(args, backend):
    directory = tempfile.mkdtemp(prefix="powercut-")
    disk = None
    began = time.monotonic()
    try:
        disk = Disk(directory)
        torture = PowerCut(args.vaultd, backend, disk, directory, args.seed)
        if args.broken:
            seen = torture.run_broken(args.cuts)
            torture.report("D2-broken", "cuts", time.monotonic() - began)
            print(f"D2-broken backend={backend}: {seen} of {args.cuts} cuts lost something", flush=True)
            return seen > 0
        torture.run(args.cuts, room=lambda: disk.free_mib() > ROOM_MIB)
        torture.report("D2", "cuts", time.monotonic() - began)
        torture.examples()
        return torture.good
    finally:
        if disk:
            disk.unmount()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", action="store_true", help="only tell whether this machine can do it")
    parser.add_argument("--vaultd", help="the binary")
    parser.add_argument("--cuts", type=int, default=20, help="per backend")
    parser.add_argument("--backend", choices=BACKENDS, help="default: each")
    parser.add_argument("--broken", action="store_true", help="take the syncs out, and demand losses")
    parser.add_argument("--seed", type=int)
    args = parser.parse_args()
    if args.probe:
        why = probe()
        if why:
            print(f"no power cuts here: {why}")
        return 1 if why else 0
    if not args.vaultd:
        parser.error("--vaultd is needed")
    backends = [args.backend] if args.backend else BACKENDS
    return 0 if all([one_backend(args, backend) for backend in backends]) else 1


if __name__ == "__main__":
    sys.exit(main())
