//! Networks that tokens and roles are bound to.

use keyward_authority::cidr::{any, check, subset};
use std::net::IpAddr;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let lists: Vec<Vec<String>> =
        text.split('\n').map(|line| line.split(' ').map(str::to_owned).collect()).collect();
    let (inner, outer) = (&lists[0], lists.last().unwrap_or(&lists[0]));
    let known = check(inner).is_ok() && check(outer).is_ok();
    let inside = subset(inner, outer);
    for address in ["127.0.0.1", "10.1.2.3", "::1", "::ffff:10.1.2.3", "2001:db8::1"] {
        let address: IpAddr = address.parse().unwrap();
        // An address of a network is one of every network around it.
        assert!(!(known && inside && any(inner, address)) || any(outer, address), "{inner:?} {outer:?} {address}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&["10.1.0.0/16\n10.0.0.0/8", "127.0.0.1/32 ::1\n::/0 0.0.0.0/0", "::ffff:10.1.2.3/120\n10.1.2.0/24"])
}
