"""One store, its writers, and its reopening after whatever befell it."""

import os
import random
import sys
import threading
import time

from history import History, Tally
from vault import Daemon, Unopenable, make_certificate, make_config

WRITERS = 4
BACKENDS = ["sled", "redb"]
# The blow falls this soon after the writers began, in seconds.
SOONEST, LATEST = 0.05, 0.5
# This part of the blows falls while the vault seals, and this part follows while it opens again.
WHILE_SEALING, WHILE_OPENING = 0.15, 0.15
SEALING_S, OPENING_S = 0.05, 0.1


class Torture:
    """`place` is where the store, the anchor and the audit file lie; `directory` holds the rest."""

    def __init__(self, binary, backend, place, directory, seed):
        self.binary, self.backend, self.place = os.path.abspath(binary), backend, place
        self.cert, self.key = make_certificate(directory)
        self.config = os.path.join(directory, "vaultd.hcl")
        self.log = os.path.join(directory, f"{backend}.log")
        self.seed = seed if seed is not None else random.SystemRandom().getrandbits(32)
        self.rng = random.Random(self.seed)
        self.tally = Tally()
        self.unopenable = 0
        self.blows = 0
        self.restarts = []

    def strike(self, daemon):
        """What befalls the daemon; it is gone afterwards. Overridden."""
        raise NotImplementedError

    def empty(self):
        """Makes `place` empty. Overridden."""
        raise NotImplementedError

    def start(self, wrapper=()):
        return Daemon(self.binary, self.config, self.cert, self.log, wrapper)

    def renew(self):
        """A fresh vault, durable and closed."""
        self.empty()
        make_config(self.config, self.backend, self.place, self.cert, self.key)
        daemon = self.start()
        self.share, self.token = daemon.init()
        daemon.stop()
        os.sync()
        self.history = History(self.tally, WRITERS, self.rng.random())

    def blow(self, daemon, threads):
        self.strike(daemon)
        for t in threads:
            t.join()
        self.blows += 1

    def blow_while_writing(self, daemon, soonest=SOONEST, latest=LATEST):
        threads = self.history.write(daemon, self.token)
        time.sleep(self.rng.uniform(soonest, latest))
        if self.rng.random() < WHILE_SEALING:
            self.history.sealing = True
            threads.append(self._background(daemon, "PUT", "sys/seal", None, self.token))
            time.sleep(self.rng.uniform(0, SEALING_S))
        self.blow(daemon, threads)

    def blow_while_opening(self):
        daemon = self.start()
        thread = self._background(daemon, "PUT", "sys/unseal", {"key": self.share}, "")
        time.sleep(self.rng.uniform(0, OPENING_S))
        self.blow(daemon, [thread])

    @staticmethod
    def _background(daemon, method, path, body, token):
        def call():
            try:
                daemon.call(method, path, body, token)
            except Exception:
                pass  # The end came first.
        thread = threading.Thread(target=call)
        thread.start()
        return thread

    def reopen(self):
        """A daemon, unsealed, with every key compared; Unopenable if the store is."""
        began = time.monotonic()
        daemon = self.start()
        try:
            daemon.unseal(self.share)
            self.restarts.append(time.monotonic() - began)
            self.history.check(daemon, self.token)
        except BaseException:
            daemon.kill()
            raise
        return daemon

    def run(self, blows, room=lambda: True):
        """So many blows; the store starts anew when there is no `room` left."""
        self.renew()
        daemon = self.reopen()
        while self.blows < blows:
            try:
                self.blow_while_writing(daemon)
                if self.blows < blows and self.rng.random() < WHILE_OPENING:
                    self.blow_while_opening()
                daemon = self.reopen()
            except Unopenable as e:
                self.unopenable += 1
                self.tally.note(f"blow {self.blows}: {e}")
                self.renew()
                daemon = self.reopen()
            if not room():
                daemon.stop()
                self.renew()
                daemon = self.reopen()
        daemon.stop()

    @property
    def good(self):
        return self.tally.acked > 0 and self.tally.bad + self.tally.refused + self.unopenable == 0

    def report(self, name, unit, took):
        t = self.tally
        restarts = sorted(self.restarts) or [0]
        print(f"{name} backend={self.backend} {unit}={self.blows} acked={t.acked} lost={t.lost} stale={t.stale} "
              f"unopenable={self.unopenable} wrong={t.wrong} refused={t.refused} "
              f"restart_p99={restarts[len(restarts) * 99 // 100]:.2f}s took={took:.0f}s seed={self.seed}")
        sys.stdout.flush()

    def examples(self):
        for example in self.tally.examples:
            print("  " + example)
