"""Where the time goes: `perf` on the daemon while a load runs."""

import os
import re
import shutil
import subprocess
import threading

HERTZ = 999
SHOWN = 22

# The first pattern that fits a symbol names its part. Names as perf prints them, demangled.
PARTS = [
    ("kernel: network", r"^\[k\].*(tcp|sock|skb|inet|__ip_|ip_|net_|napi|_xmit|loopback|nf_|ipt_|sk_|eth_|import_iovec|bpf|dst_|process_backlog)"),
    ("kernel: files and disk", r"^\[k\].*(ext4|jbd2|generic_perform|generic_write|vfs_|folio|filemap|iomap|blk|bio_|virtio|virtqueue|submit_|writeback|block_|pagecache|balance_dirty|vp_notify|fault_in|copy_page_from_iter_atomic|__mark_inode|file_update|lru_|xas_|start_this_handle|__find_get)"),
    ("kernel: polling and scheduling", r"^\[k\].*(epoll|ep_|sched|futex|wake|dequeue|enqueue|finish_task|update_curr|pick_next|try_to_block|timer|ktime|eventfd)"),
    ("kernel: the rest", r"^\[k\]"),
    ("audit", r"vault_core::audit|vault_core::record"),
    ("SHA-256, HMAC", r"sha2|hmac|sha256|digest"),
    ("TLS", r"rustls|aws_lc|aesni|gcm_|aes_hw|bssl|CRYPTO_|EVP_|OPENSSL"),
    ("barrier ciphers", r"aes_gcm|aes::|ghash|polyval|ctr::|cmac|aes_siv|xaes|chacha|cipher::|inout|storage::barrier|storage::names"),
    ("locked keys", r"secmem::arena|psm|rust_psm"),
    ("memory: allocate, wipe", r"secmem::alloc|WipingAllocator|malloc|free$|realloc|calloc|_int_|unlink_chunk|zeroize|__rust_alloc|__rdl_|explicit_bzero|arena_get|tcache"),
    ("memory: copy, set, compare", r"memcpy|memmove|memset|memcmp|bcmp"),
    ("JSON", r"serde|vaultd::codec|Value|json|itoa|ryu|indexmap|BTreeMap|btree"),
    ("HTTP, sockets, async", r"hyper|http::|httparse|tokio|mio|futures|bytes::|http_body|vaultd::listener|h2::|tracing|socket"),
    ("sled", r"sled|pagecache"),
    ("redb", r"redb"),
    ("storage", r"storage::|parking_lot|arc_swap|lock_api"),
    ("core, engines", r"vault_core|vault_engines|vault_logical|vault_gateway|vault_api|vaultd"),
]


def available():
    return shutil.which("perf") is not None


def profile(title, contender, shape, seconds, directory):
    """Runs the load under perf and prints the parts' shares and the top symbols."""
    pid, data = contender.server.pids()[0], os.path.join(directory, "perf.data")
    # One second of load before, so that what is sampled is the steady state.
    recorder = threading.Timer(1, lambda: subprocess.run(
        ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(HERTZ), "-p", str(pid), "-o", data, "--",
         "sleep", str(seconds - 2)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    recorder.start()
    contender.run(shape, seconds)
    recorder.join()
    report = subprocess.run(
        ["perf", "report", "-i", data, "--stdio", "--no-children", "-g", "none", "--sort", "symbol"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    os.remove(data)
    rows = re.findall(r"^\s*(\d+\.\d+)%\s+(\[.\])\s+(.*?)\s*$", report, re.M)
    if not rows:
        print(f"\nWhere the time goes, {title}: perf took no samples here")
        return
    parts = {}
    for share, mode, symbol in rows:
        name = f"{mode} {symbol}"
        part = next((part for part, pattern in PARTS if re.search(pattern, name)), "unnamed")
        parts[part] = parts.get(part, 0.0) + float(share)
    print(f"\nWhere the time goes, {title} (share of the daemon's CPU time)")
    for part, share in sorted(parts.items(), key=lambda x: -x[1]):
        print(f"  {share:5.1f} %  {part}")
    print("  the top symbols:")
    for share, mode, symbol in rows[:SHOWN]:
        print(f"  {float(share):5.1f} %  {mode} {symbol[:110]}")
