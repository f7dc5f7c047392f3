//! `upstream`: exactly `scheme://host[:port]`, one spelling, nothing else.

use crate::limits::SERVICE_MAX_UPSTREAM_BYTES;
use std::net::IpAddr;
use url::Host;
use vault_logical::{Error, Result};

fn bad(why: &str) -> Error {
    Error::invalid(format!("\"upstream\" must be https://host[:port]: {why}"))
}

/// Addresses that are nobody's on the public internet. The gateway judges every address again,
/// and finer, when it connects; names can only be judged there.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(a) => a.is_loopback() || a.is_private() || a.is_link_local() || a.is_unspecified(),
        IpAddr::V6(a) => {
            a.is_loopback() || a.is_unique_local() || a.is_unicast_link_local() || a.is_unspecified()
        }
    }
}

/// The host in its one spelling: no decimal or octal addresses, no Unicode, no final dot.
fn host(text: &str) -> Result<(String, Option<IpAddr>)> {
    let host = Host::parse(text).map_err(|_| bad("host is not a name or address"))?;
    let spelt = host.to_string();
    let label =
        |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let is_name = matches!(host, Host::Domain(_));
    if spelt != text.to_ascii_lowercase() || (is_name && !spelt.split('.').all(label)) {
        return Err(bad("write the host in its canonical form"));
    }
    let ip = match host {
        Host::Ipv4(a) => Some(IpAddr::V4(a)),
        Host::Ipv6(a) => Some(IpAddr::V6(a)),
        Host::Domain(_) => None,
    };
    Ok((spelt, ip))
}

/// Checks an upstream and answers it in lower case.
pub(super) fn parse(text: &str, allow_private: bool) -> Result<String> {
    if text.len() > SERVICE_MAX_UPSTREAM_BYTES {
        return Err(bad("too long"));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("no scheme"))?;
    if rest.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'/' | b'\\' | b'?' | b'#' | b'@' | b'%')) {
        return Err(bad("no path, query, fragment, user or escape"));
    }
    // The colon that is not inside the brackets of an IPv6 address.
    let (name, port) = match rest.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (rest, None),
    };
    let (host, ip) = host(name)?;
    if let Some(p) = port
        && p.parse::<u16>().ok().filter(|n| *n > 0).is_none_or(|n| n.to_string() != p)
    {
        return Err(bad("port is not a number from 1 to 65535"));
    }
    let private = ip.is_some_and(is_private) || host == "localhost";
    if private && !allow_private {
        return Err(bad("a private address needs \"allow_private\""));
    }
    match scheme {
        "https" => {}
        "http" if private && allow_private => {}
        "http" => {
            return Err(bad(
                "http:// only to a private address literal or localhost, with \"allow_private\"",
            ));
        }
        _ => return Err(bad("unknown scheme")),
    }
    Ok(match port {
        None => format!("{scheme}://{host}"),
        Some(p) => format!("{scheme}://{host}:{p}"),
    })
}
