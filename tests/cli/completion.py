"""Runs the completion scripts in the shells themselves, at every level of commands.

Usage: completion.py VAULT_CLI [SHELL...]
"""

import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time

# What is typed, and words that must be offered for it.
CASES = [
    ("vault-cli op", ["operator"]),
    ("vault-cli operator ", ["init", "unseal", "generate-root"]),
    ("vault-cli kv ", ["get", "put", "metadata"]),
    ("vault-cli kv metadata ", ["get", "put", "delete"]),
    ("vault-cli operator generate-root --", ["--init", "--decode", "--otp"]),
    ("vault-cli --address https://x token ", ["create", "revoke"]),
]
PATIENCE = 60


def script(cli, shell):
    return subprocess.run([cli, "completion", shell], check=True, capture_output=True, text=True).stdout


def bash(cli, line, where, words):
    path = os.path.join(where, "completion.bash")
    with open(path, "w") as f:
        f.write(script(cli, "bash"))
    # As the shell calls it: the function that `complete` registered, with the words of the line.
    run = """
        source "$1"; read -ra COMP_WORDS <<< "$2"; [[ $2 == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        f=$(complete -p vault-cli | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        "$f" vault-cli "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    out = subprocess.run(["bash", "-c", run, "bash", path, line], capture_output=True, text=True, timeout=PATIENCE)
    return out.stdout


def fish(cli, line, where, words):
    path = os.path.join(where, "completion.fish")
    with open(path, "w") as f:
        f.write(script(cli, "fish"))
    env = dict(os.environ, HOME=where, XDG_CONFIG_HOME=where)
    out = subprocess.run(
        ["fish", "--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', path, line],
        capture_output=True, text=True, timeout=PATIENCE, env=env,
    )
    return out.stdout


def zsh(cli, line, where, words):
    """zsh completes only on a terminal."""
    with open(os.path.join(where, "_vault-cli"), "w") as f:
        f.write(script(cli, "zsh"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", ZDOTDIR=where, HOME=where, PATH=where + ":" + os.environ["PATH"])
        os.execvp("zsh", ["zsh", "-f", "-i"])
    until = time.monotonic() + PATIENCE
    seen = b""

    def read_until(done):
        nonlocal seen
        while time.monotonic() < until and not done(seen):
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    seen += os.read(terminal, 65536)
                except OSError:
                    return

    os.write(
        terminal,
        f"fpath=({where} $fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=100000; LINES=1000; "
        "stty rows 1000 columns 200; echo RE''ADY\n".encode(),
    )
    # The line editor is at work once it has switched bracketed paste on; before, the terminal would eat control-D.
    read_until(lambda s: b"\x1b[?2004h" in s.partition(b"READY\r")[2])
    seen = b""
    # Control-D lists what fits; a tab could also insert it.
    os.write(terminal, line.encode() + b"\x04")
    read_until(lambda s: all(w.encode() in s for w in words))
    os.close(terminal)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return seen.decode(errors="replace")


def main():
    cli = os.path.abspath(sys.argv[1])
    shells = sys.argv[2:] or ["bash", "zsh", "fish"]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as where:
        os.symlink(cli, os.path.join(where, "vault-cli"))
        for shell in shells:
            for line, words in CASES:
                said = globals()[shell](cli, line, where, words)
                missing = [w for w in words if w not in said]
                if missing:
                    failed += 1
                    print(f"{shell}: {line!r}: not offered: {missing}\n{said}")
                else:
                    passed += 1
    print(f"completion: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
