//! What the daemon knows of itself beside what the core counts: its process, its connections, its
//! certificates and the gateway's share.

use crate::listener::Registry;
use crate::tls::ServerTls;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use vault_gateway::Gateway;
use vault_logical::{Clock, SystemClock, Timestamp};
use vault_metrics::Page;

/// A listener's certificate.
pub struct Certificate {
    /// `api` or `gateway`.
    pub listener: &'static str,
    pub address: Option<SocketAddr>,
    pub tls: Arc<ServerTls>,
}

/// Facts that stay as they are while the process lives.
pub struct Process {
    started: Timestamp,
}

impl Process {
    /// Of the process that starts now.
    pub fn starts() -> Self {
        Process { started: SystemClock.now() }
    }

    /// Names as every Prometheus client library has them.
    pub fn put(&self, page: &mut Page) {
        page.gauge("vaultd.build_info", "1, with the version as a label.")
            .put(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        page.gauge("process_start_time_seconds", "When the process started, in Unix time.")
            .put(&[], self.started.unix_nanos() as f64 / 1e9);
        let mut cpu = page.counter("process_cpu_seconds_total", "CPU time, in the kernel and outside.");
        if let Ok(used) = getrusage(UsageWho::RUSAGE_SELF) {
            let micros = used.user_time().num_microseconds() + used.system_time().num_microseconds();
            cpu.put(&[], micros as f64 / 1e6);
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (name, help, field, unit) in [
            ("process_resident_memory_bytes", "Memory in use.", "VmRSS:", 1024),
            ("process_virtual_memory_bytes", "Address space in use.", "VmSize:", 1024),
            ("process_threads", "Threads.", "Threads:", 1),
        ] {
            let mut series = page.gauge(name, help);
            if let Some(n) = number(&status, field) {
                series.count(&[], n * unit);
            }
        }
        let mut open = page.gauge("process_open_fds", "Open file descriptors.");
        if let Ok(dir) = fs::read_dir("/proc/self/fd") {
            // One of them reads the directory.
            open.count(&[], (dir.count() as u64).saturating_sub(1));
        }
        let mut most = page.gauge("process_max_fds", "File descriptors that may be open.");
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            most.count(&[], soft);
        }
    }
}

/// The number of a line of `/proc/self/status`.
fn number(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Until when the listeners' certificates are valid.
pub fn certificates(page: &mut Page, all: &[Certificate]) {
    let mut series = page.gauge(
        "vaultd.listener.certificate_expiry_timestamp_seconds",
        "Until when the certificate that a listener shows is valid.",
    );
    for c in all {
        let address = c.address.map(|a| a.to_string()).unwrap_or_default();
        if let Some(until) = c.tls.expires() {
            let labels = [("listener", c.listener), ("address", address.as_str())];
            series.put(&labels, until.unix_secs() as f64);
        }
    }
}

/// Who is connected.
pub fn connections(page: &mut Page, registry: &Registry) {
    let open = registry.figures();
    let mut series = page.gauge("vaultd.connections", "Open connections, by kind of listener.");
    for (door, n) in [("api", open.api), ("gateway", open.gateway), ("unix", open.unix)] {
        series.count(&[("listener", door)], n as u64);
    }
    page.counter("vaultd.connections_refused_total", "Connections turned away because there were too many.")
        .count(&[], open.refused);
}

/// The gateway's calls under way and its connections to upstreams.
pub fn gateway(page: &mut Page, gateway: &Gateway) {
    let f = gateway.figures();
    for (name, help, value) in [
        ("vaultd.gateway.calls_in_flight", "Calls that have not ended.", f.calls),
        ("vaultd.gateway.calls_max", "Calls that may be under way at once.", f.calls_max),
        ("vaultd.gateway.upstream_connections", "Connections to upstreams, in use or idle.", f.sockets),
        (
            "vaultd.gateway.upstream_connections_max",
            "Connections to upstreams that there may be.",
            f.sockets_max,
        ),
        ("vaultd.gateway.upstream_pools", "Services that have a pool of connections.", f.pools),
    ] {
        page.gauge(name, help).count(&[], value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let mut page = Page::default();
        Process::starts().put(&mut page);
        for f in page.families() {
            assert_eq!(f.samples.len(), 1, "{}", f.name);
        }
        assert_eq!(number("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(number("Name:\tx\n", "VmRSS:"), None);
    }
}
