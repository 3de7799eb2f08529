//! Addresses of authorities and plugins, as operators and configuration management write them.

use keyward_authority_client::Address;
use keyward_kms_plugin::socket_path;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let _ = socket_path(text);
    // What is shown of an address is an address again, and the same one.
    if let Ok(address) = Address::parse(text) {
        let shown = address.to_string();
        let again = Address::parse(&shown).unwrap_or_else(|why| panic!("{shown:?}: {why}"));
        assert_eq!(again.to_string(), shown);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&["https://vault:8200", "http://[::1]:8200/prefix", "unix:///run/keyward.sock", "/run/kms.sock"])
}
