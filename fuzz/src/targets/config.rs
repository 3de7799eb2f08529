//! Server configurations in HCL and JSON: Keyward's, Vault's, OpenBao's. The first byte chooses which.

use keyward_authority_server::config::read;

pub(crate) fn run(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else { return };
    let Some(text) = crate::text(rest) else { return };
    let name = if *form == b'{' { "a.json" } else { "a.hcl" };
    if let Err(mistakes) = read(&[(name.to_owned(), text.to_owned())]) {
        assert!(!mistakes.to_string().is_empty());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "hlistener \"tcp\" {\n address = \"127.0.0.1:8200\"\n tls_disable = true\n}\nstorage \"sqlite\" { path = \"/d\" }\n",
        "hstorage \"raft\" { path = \"/d\" node_id = \"n\" }\nlistener \"tcp\" { address = \":8200\" tls_cert_file = \"c\" \
         tls_key_file = \"k\" x_forwarded_for_authorized_addrs = \"10.0.0.0/8\" }\napi_addr = \"https://v:8200\"\n\
         default_lease_ttl = \"1h\"\nlog_level = \"debug\"\ndisable_mlock = true\nui = true\n",
        "haudit \"file\" \"f\" { options { file_path = \"/a\" mode = \"0600\" } }\nlistener \"unix\" { address = \"/s\" }",
        "{{\"listener\": [{\"tcp\": {\"address\": \"[::1]:8200\"}}], \"backend\": {\"inmem\": {}}, \"max_lease_ttl\": 60}",
    ])
}
