//! Which names the vault answers to on a listener without TLS.
//!
//! A page in an operator's browser may have its own name resolved to a loopback address (DNS
//! rebinding) and then speak to the vault as if it were its own server. With TLS the certificate
//! prevents that; without it the name itself is what tells such a request from an honest one.

use super::refusal::Refusal;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, StatusCode, Uri};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Names besides addresses and `localhost`; `*.example.com` stands for one label.
#[derive(Clone, Debug, Default)]
pub struct Hosts(BTreeSet<String>);

impl Hosts {
    pub fn new(names: impl IntoIterator<Item = String>) -> Hosts {
        Hosts(names.into_iter().map(|n| plain(&n)).collect())
    }

    /// Refuses a request that was sent to another name, or by a page of another name.
    pub fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let host = match uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => headers.get(HOST).and_then(|h| h.to_str().ok()),
        };
        if !host.is_some_and(|h| self.accepts(h)) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this host name is not one of the vault's: without TLS it answers to addresses, localhost, the host of api_addr, the names of its certificates and allowed_hosts",
            ));
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let fine = |o: &http::HeaderValue| {
            o.to_str().ok().and_then(|o| o.split_once("://")).is_some_and(|(_, host)| self.accepts(host))
        };
        if !origins.all(fine) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this request comes from a web page of another origin",
            ));
        }
        Ok(())
    }

    /// `authority`: a host, with or without a port.
    fn accepts(&self, authority: &str) -> bool {
        if let Some(rest) = authority.strip_prefix('[') {
            return rest.split_once(']').is_some_and(|(ip, port)| {
                ip.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port.strip_prefix(':')))
            });
        }
        let host = match authority.split_once(':') {
            Some((host, port)) if is_port(Some(port)) => host,
            Some(_) => return false,
            None => authority,
        };
        let host = plain(host);
        host == "localhost"
            || host.parse::<Ipv4Addr>().is_ok()
            || self.0.contains(&host)
            || host.split_once('.').is_some_and(|(_, parent)| self.0.contains(&format!("*.{parent}")))
    }
}

fn is_port(text: Option<&str>) -> bool {
    text.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok())
}

/// Lower case, without the root's dot.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_vault_and_no_others() {
        let hosts = Hosts::new(["Vault.Example".to_owned(), "*.corp.example".to_owned()]);
        for (host, fine) in [
            ("127.0.0.1:8200", true),
            ("127.0.0.1", true),
            ("10.1.2.3:80", true),
            ("[::1]:8200", true),
            ("[::1]", true),
            ("localhost:8200", true),
            ("LOCALHOST.", true),
            ("vault.example:8200", true),
            ("vault.example.", true),
            ("a.corp.example", true),
            ("corp.example", false),
            ("a.b.corp.example", false),
            ("evil.example:8200", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example@127.0.0.1", false),
            ("127.0.0.1:x", false),
            ("127.0.0.1:", false),
            ("[::1", false),
            ("[::1]x", false),
            ("0x7f000001", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("value"));
            let uri = Uri::from_static("/v1/sys/init");
            assert_eq!(hosts.check(&headers, &uri).is_ok(), fine, "{host}");
            headers.insert(HOST, "localhost".parse().expect("value"));
            headers.insert(ORIGIN, format!("http://{host}").parse().expect("value"));
            assert_eq!(hosts.check(&headers, &uri).is_ok(), fine, "from {host}");
        }
        let uri = Uri::from_static("/v1/sys/init");
        let mut headers = HeaderMap::new();
        assert!(hosts.check(&headers, &uri).is_err(), "no host");
        headers.insert(HOST, "localhost".parse().expect("value"));
        headers.append(ORIGIN, "http://localhost:8200".parse().expect("value"));
        headers.append(ORIGIN, "http://evil.example".parse().expect("value"));
        assert!(hosts.check(&headers, &uri).is_err(), "a second origin");
        headers.insert(ORIGIN, "null".parse().expect("value"));
        assert!(hosts.check(&headers, &uri).is_err(), "a page without an origin of its own");
    }
}
