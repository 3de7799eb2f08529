//! Networks a token or a secret id may be used from.

use crate::refusal::Refusal;
use std::net::IpAddr;

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads CIDR notation (RFC 4632, RFC 4291) or an address.
    ///
    /// A network of IPv4 addresses written as IPv6 ones (`::ffff:10.0.0.0/104`) is the IPv4 network. One that is wider
    /// than all of them stays what it is: it lies in no IPv4 network, although its address is one.
    pub fn parse(network: &str) -> Option<Network> {
        let (address, bits) = network.trim().split_once('/').unwrap_or((network.trim(), ""));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() && !network.contains('/') { most } else { bits.parse().ok()? };
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if (96..=128).contains(&bits) => {
                Some(Network { base: mapped.into(), bits: bits - 96 })
            }
            _ => (bits <= most).then_some(Network { base: address, bits }),
        }
    }

    /// True when `from` lies in it.
    pub fn contains(&self, from: IpAddr) -> bool {
        self.has(from.to_canonical())
    }

    /// As [`Network::contains`], of an address as it is written.
    fn has(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }

    /// True when all of `inner` lies in it.
    fn covers(&self, inner: &Network) -> bool {
        self.bits <= inner.bits && self.has(inner.base)
    }
}

/// True when `from` lies in one of `networks`, which were checked when they were stored.
pub fn any(networks: &[String], from: IpAddr) -> bool {
    networks.iter().filter_map(|network| Network::parse(network)).any(|network| network.contains(from))
}

/// Refuses what is not an address or a network in CIDR notation (RFC 4632, RFC 4291).
pub fn check(networks: &[String]) -> Result<(), Refusal> {
    match networks.iter().find(|network| Network::parse(network).is_none()) {
        Some(bad) => Err(Refusal::invalid(not_one(bad))),
        None => Ok(()),
    }
}

/// Says that `text` is no network.
pub fn not_one(text: &str) -> String {
    format!("{text:?} is neither an address nor a network: write 10.0.0.0/8 or 2001:db8::/32")
}

/// True when every network of `inner` lies inside one of `outer`.
pub fn subset(inner: &[String], outer: &[String]) -> bool {
    let outer: Vec<Network> = outer.iter().filter_map(|network| Network::parse(network)).collect();
    let covered = |inner: Network| outer.iter().any(|outer| outer.covers(&inner));
    inner.iter().all(|network| Network::parse(network).is_some_and(covered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(networks: &[&str]) -> Vec<String> {
        networks.iter().map(|network| (*network).to_owned()).collect()
    }

    #[test]
    fn networks_contain_their_addresses() {
        for (network, address, wanted) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::/32", "2001:db8::1", true),
            ("127.0.0.1/32", "::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
        ] {
            assert_eq!(any(&list(&[network]), address.parse().unwrap()), wanted, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "ten", "10.0.0.0/", "::1/129"] {
            assert!(check(&list(&[bad])).is_err(), "{bad}");
        }
        assert!(subset(&list(&["10.1.0.0/16"]), &list(&["10.0.0.0/8"])));
        assert!(!subset(&list(&["10.0.0.0/8"]), &list(&["10.1.0.0/16"])));
        // What a wider network begins with may lie inside; the network does not.
        assert!(!subset(&list(&["::ffff:10.1.2.3/60"]), &list(&["10.1.2.0/24"])));
        assert!(!subset(&list(&["::ffff:10.1.2.3/100"]), &list(&["10.1.2.0/24"])));
        assert!(subset(&list(&["::ffff:10.1.2.3/124"]), &list(&["10.1.2.0/24"])));
    }
}
