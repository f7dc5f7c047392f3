#!/usr/bin/env python3
"""`kill -9` under load: nothing that was acknowledged may be lost, old or unopenable afterwards.

As powercut.py, without a disk of its own and without root: it shows the order of acknowledgements
and the reopening, not that anything was synced.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

from torture import BACKENDS, Torture

# With less space than this the store starts anew.
ROOM_MIB = 512


class Kill9(Torture):
    def empty(self):
        shutil.rmtree(self.place, ignore_errors=True)
        os.makedirs(self.place)

    def strike(self, daemon):
        # Answers on the way when it dies are acknowledgements too.
        daemon.kill()

    def room(self):
        s = os.statvfs(self.place)
        return s.f_bavail * s.f_frsize >> 20 > ROOM_MIB


def one_backend(args, backend):
    directory = tempfile.mkdtemp(prefix="kill9-")
    began = time.monotonic()
    try:
        torture = Kill9(args.vaultd, backend, os.path.join(directory, "home"), directory, args.seed)
        torture.run(args.rounds, torture.room)
        torture.report("D1", "rounds", time.monotonic() - began)
        torture.examples()
        return torture.good
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vaultd", required=True, help="the binary")
    parser.add_argument("--rounds", type=int, default=30, help="per backend")
    parser.add_argument("--backend", choices=BACKENDS, help="default: each")
    parser.add_argument("--seed", type=int)
    args = parser.parse_args()
    backends = [args.backend] if args.backend else BACKENDS
    return 0 if all([one_backend(args, backend) for backend in backends]) else 1


if __name__ == "__main__":
    sys.exit(main())
