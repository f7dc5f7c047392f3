"""Steps: each asserts on what hvac returns or raises, and prints one line."""

import traceback

STEPS = []


def step(name):
    """Registers a function of the world as a step; they run in the order of their definition."""
    def register(function):
        STEPS.append((name, function))
        return function
    return register


class World:
    """What the steps share: the daemon, the client with the root token, and what they leave for each other."""

    def __init__(self, daemon, client, connect, audit_dir):
        self.daemon, self.client, self.connect, self.audit_dir = daemon, client, connect, audit_dir
        self.keys, self.root = [], None

    def fresh(self, token):
        """A client of its own for another token."""
        return self.connect(token)


def raises(kind, call, *args, containing="", **kwargs):
    """The exception that `call` must raise: exactly of this kind, and with this in its text."""
    try:
        result = call(*args, **kwargs)
    except Exception as e:
        assert type(e) is kind, f"{type(e).__name__} instead of {kind.__name__}: {e}"
        assert containing in str(e), f"{containing!r} is not in {e}"
        return e
    raise AssertionError(f"no {kind.__name__}, but {result}")


def run(world):
    passed = failed = 0
    for name, function in STEPS:
        try:
            function(world)
            passed += 1
            print(f"ok      {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name}", flush=True)
            traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    return failed == 0
