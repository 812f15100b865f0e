//! Which hosts are reached without a proxy: the variable `NO_PROXY`, by the rules of Python's `requests`.
//!
//! ureq reads the variable too, but takes a name for that one host alone, keeps blanks, and knows neither
//! ports nor networks.

use std::env;
use std::net::Ipv4Addr;

/// The list in the variable; empty where there is none.
pub(crate) fn from_env() -> String {
    let mut lists = ["no_proxy", "NO_PROXY"].into_iter().filter_map(|name| env::var(name).ok());
    lists.find(|list| !list.is_empty()).unwrap_or_default()
}

/// Whether a list of entries, separated by commas, has this host reached without a proxy. An entry is a host
/// or a domain that it is in, with a port or for all ports; a network of IPv4 addresses, as in `10.0.0.0/8`;
/// or `*`, for all hosts.
pub(crate) fn bypasses(no_proxy: &str, host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let with_port = format!("{host}:{port}");
    let entries = no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase());
    entries.filter(|entry| !entry.is_empty()).any(|entry| match Network::parse(&entry) {
        Some(network) => host.parse().is_ok_and(|address| network.contains(address)),
        None => {
            let name = entry.strip_prefix('*').unwrap_or(&entry).trim_start_matches('.');
            entry == "*" || is_within(&host, name) || is_within(&with_port, name)
        }
    })
}

/// Whether a host has this name, or lies in the domain of this name.
fn is_within(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The addresses that begin with the same bits.
struct Network {
    address: Ipv4Addr,
    /// How many bits, 1 to 32.
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits) = (address.parse().ok()?, bits.parse().ok()?);
        (1..=32).contains(&bits).then_some(Self { address, bits })
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        let differing = self.address.to_bits() ^ address.to_bits();
        differing.leading_zeros() >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `requests.utils.should_bypass_proxies` of requests 2 says.
    #[test]
    fn hosts_are_those_of_requests() {
        for (host, port, list) in [
            ("hub.example", 443, "hub.example"),
            ("hub.example", 443, "example"),
            ("hub.example", 443, ".example"),
            ("hub.example", 443, "HUB.Example"),
            ("hub.example", 443, " a , example "),
            ("hub.example", 443, "a\t,\thub.example"),
            ("hub.example", 8443, "hub.example:8443"),
            ("hub.example", 8443, "example:8443"),
            ("10.1.2.3", 80, "10.1.2.3"),
            ("10.1.2.3", 80, "10.0.0.0/8"),
            ("10.1.2.3", 80, "hub.example, 10.1.2.3/32"),
            ("[::1]", 80, "::1"),
            ("localhost", 8080, "localhost,127.0.0.1"),
            ("hub.example", 443, "*"),
        ] {
            assert!(bypasses(list, host, port), "{host}:{port} {list:?}");
        }
        for (host, port, list) in [
            ("hub.example", 443, ""),
            ("hub.example", 443, ",,"),
            ("hub.example", 443, "."),
            ("hubexample", 443, "example"),
            ("hub.example", 443, "hub.exa"),
            ("hub.example", 8443, "example:844"),
            ("hub.example", 443, "hub.example:80"),
            ("hub.example", 443, "10.0.0.0/8"),
            ("11.1.2.3", 80, "10.0.0.0/8"),
            ("10.1.2.4", 80, "10.1.2.3/31"),
            ("10.1.2.3", 80, "10.0.0.0/0"),
            ("10.1.2.3", 80, "10.0.0.0/33"),
        ] {
            assert!(!bypasses(list, host, port), "{host}:{port} {list:?}");
        }
    }

    /// What ureq takes too, or what can be meant in one way only.
    #[test]
    fn more_is_understood_than_by_requests() {
        for (host, port, list) in [
            ("hub.example", 443, "hub.example:443"),
            ("10.1.2.3", 8080, "10.1.2.3:8080"),
            ("hub.example", 443, "a, *.example"),
            ("hub.example", 443, "a, *"),
        ] {
            assert!(bypasses(list, host, port), "{host}:{port} {list:?}");
        }
    }
}
