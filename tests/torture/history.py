"""What was tried, what was acknowledged, and whether the store still knows it."""

import base64
import hashlib
import http.client
import json
import math
import random
import threading

from vault import Refused

SMALLEST, LARGEST = 200, 200 * 1024
KEYS_PER_WRITER = 16
# KV v2 keeps this many versions of a key unless told otherwise.
KEPT_VERSIONS = 10


def digest(data):
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def random_data(rng):
    """A secret of 200 B to 200 KiB, every order of magnitude as likely as the next."""
    size = int(math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST))))
    return {"v": base64.b64encode(rng.randbytes(size * 3 // 4)).decode()}


class Key:
    """One secret. It has one writer, which has one request out at a time."""

    def __init__(self, path):
        self.path = path
        self.acked = 0
        self.tried = 0
        self.digests = {}


class Tally:
    def __init__(self):
        self.acked = self.lost = self.stale = self.wrong = self.refused = 0
        self.examples = []

    def note(self, text):
        if len(self.examples) < 10:
            self.examples.append(text)

    @property
    def bad(self):
        return self.lost + self.stale + self.wrong


class History:
    """The writers' view of the store: `last_ack <= stored version <= last_try` must hold for each key."""

    def __init__(self, tally, writers, seed):
        self.tally = tally
        self.writers = [
            [Key(f"w{w}/k{k}") for k in range(KEYS_PER_WRITER)] for w in range(writers)]
        self.rng = random.Random(seed)
        self.counting = False
        self.sealing = False
        self.lock = threading.Lock()

    def write(self, daemon, token):
        """Starts the writers. They end when their connection does, or at `stop_counting`."""
        self.counting, self.sealing = True, False
        threads = [
            threading.Thread(target=self._writer, args=(daemon.client(token), keys, self.rng.random()))
            for keys in self.writers]
        for t in threads:
            t.start()
        return threads

    def stop_counting(self):
        with self.lock:
            self.counting = False

    def _writer(self, client, keys, seed):
        rng = random.Random(seed)
        while self.counting:
            key, data = rng.choice(keys), random_data(rng)
            with self.lock:
                if not self.counting:
                    return
                key.tried = key.acked + 1
                key.digests[key.tried] = digest(data)
            try:
                version = client.call("POST", "secret/data/" + key.path, {"data": data})["data"]["version"]
            except Refused as e:
                if self.sealing and e.status == 500:
                    # Written, but the answer could not be recorded any more: either may be found.
                    return
                # Otherwise nothing may have been written: the next version is still free.
                with self.lock:
                    key.tried = key.acked
                    if self.counting and e.status != 503:
                        self.tally.refused += 1
                        self.tally.note(f"{key.path}: {e}")
                continue
            except (OSError, http.client.HTTPException):
                return
            with self.lock:
                if not self.counting:
                    return
                if version != key.tried:
                    self.tally.wrong += 1
                    self.tally.note(f"{key.path}: acknowledged version {version}, expected {key.tried}")
                key.acked = version
                self.tally.acked += 1

    def check(self, daemon, token):
        """Reads every key back, and takes what is stored as the new beginning."""
        threads = [
            threading.Thread(target=self._check_some, args=(daemon.client(token), keys, self.rng.random()))
            for keys in self.writers]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def _check_some(self, client, keys, seed):
        rng = random.Random(seed)
        for key in keys:
            try:
                version, found = self._stored(client, key.path)
                self._compare(key, version, found)
                older = [v for v in range(version - KEPT_VERSIONS + 1, version) if v in key.digests]
                if older:
                    back = rng.choice(older)
                    _, found = self._stored(client, f"{key.path}?version={back}")
                    self._compare_older(key, back, found)
            except (Refused, OSError, http.client.HTTPException) as e:
                with self.lock:
                    self.tally.lost += 1
                    self.tally.note(f"{key.path}: cannot be read: {e}")
        client.close()

    @staticmethod
    def _stored(client, path):
        try:
            data = client.call("GET", "secret/data/" + path)["data"]
        except Refused as e:
            if e.status == 404:
                return 0, None
            raise
        return data["metadata"]["version"], digest(data["data"])

    def _compare(self, key, version, found):
        with self.lock:
            span = f"acknowledged {key.acked}, tried {key.tried}, stored {version}"
            if version == 0 and key.acked > 0:
                self.tally.lost += 1
                self.tally.note(f"{key.path}: lost: {span}")
            elif version < key.acked:
                self.tally.stale += 1
                self.tally.note(f"{key.path}: stale: {span}")
            elif version > key.tried:
                self.tally.wrong += 1
                self.tally.note(f"{key.path}: from nowhere: {span}")
            elif version and found != key.digests.get(version):
                self.tally.wrong += 1
                self.tally.note(f"{key.path}: another body: {span}")
            key.acked = key.tried = version
            key.digests = {v: d for v, d in key.digests.items() if version - KEPT_VERSIONS < v <= version}

    def _compare_older(self, key, version, found):
        if found != key.digests[version]:
            with self.lock:
                self.tally.wrong += 1
                self.tally.note(f"{key.path}: version {version} is not what was written as {version}")
