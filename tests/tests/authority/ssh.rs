//! SSH certificates, judged by `ssh-keygen`, a real server and a real client.

use keyward_testkit::packages::{self, OPENSSH};
use keyward_testkit::process::{Finished, Process, free_port, run, wait_for};
use keyward_testkit::require;
use keyward_tests::http::Client;
use keyward_tests::server::{SOON, Server};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn write(root: &Client, path: &str, body: &Value) -> Value {
    let answer = root.write(path, body);
    assert!(answer.status < 300, "{path}: {}", String::from_utf8_lossy(&answer.body));
    if answer.body.is_empty() { Value::Null } else { answer.json()["data"].clone() }
}

fn keep(path: &Path, text: &Value) {
    fs::write(path, text.as_str().unwrap_or_else(|| panic!("not a text: {text}"))).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn in_folder(folder: &Path, program: &str, arguments: &[&str]) -> Finished {
    run(Command::new(program).args(arguments).current_dir(folder), b"", Duration::from_secs(60)).unwrap()
}

fn said(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let done = in_folder(folder, program, arguments);
    assert!(done.status.success(), "{program} {arguments:?}: {}", done.stderr);
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// An authority of this type, and in the folder `ca.pub`.
fn authority(server: &Server, key_type: &str) {
    let root = server.root();
    write(&root, "sys/mounts/ssh", &json!({"type": "ssh"}));
    let made = write(&root, "ssh/config/ca", &json!({"generate_signing_key": true, "key_type": key_type}));
    keep(&server.folder().join("ca.pub"), &made["public_key"]);
    let role = json!({
        "key_type": "ca", "allow_user_certificates": true, "allow_host_certificates": true, "allowed_users": "*",
        "allowed_domains": "*", "default_extensions": {"permit-pty": ""}, "allowed_extensions": "*", "ttl": "1h",
    });
    write(&root, "ssh/roles/any", &role);
}

#[test]
fn ssh_keygen_reads_what_is_signed() {
    if !require(packages::install(OPENSSH)) {
        return;
    }
    for (authority_type, signed_with) in [
        ("ssh-ed25519", "(using ssh-ed25519)"),
        ("ecdsa-sha2-nistp256", "(using ecdsa-sha2-nistp256)"),
        ("ecdsa-sha2-nistp384", "(using ecdsa-sha2-nistp384)"),
        ("ecdsa-sha2-nistp521", "(using ecdsa-sha2-nistp521)"),
        ("ssh-rsa", "(using rsa-sha2-256)"),
    ] {
        let server = Server::dev();
        authority(&server, authority_type);
        let folder = server.folder();
        for (kind, bits) in [("ed25519", "256"), ("ecdsa", "384"), ("rsa", "3072")] {
            let name = format!("{kind}-key");
            said(
                folder,
                "ssh-keygen",
                &["-q", "-t", kind, "-b", bits, "-N", "", "-C", "me@example.com", "-f", &name],
            );
            let line = fs::read_to_string(folder.join(format!("{name}.pub"))).unwrap();
            let asked = json!({
                "public_key": line, "valid_principals": "root,ubuntu", "extensions": {"permit-agent-forwarding": ""},
                "critical_options": {"source-address": "10.0.0.0/8"},
            });
            let signed = write(&server.root(), "ssh/sign/any", &asked);
            keep(&folder.join("cert.pub"), &signed["signed_key"]);
            let shown = said(folder, "ssh-keygen", &["-L", "-f", "cert.pub"]);
            for part in [
                "user certificate",
                signed_with,
                "ubuntu",
                "permit-agent-forwarding",
                "source-address 10.0.0.0/8",
            ] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            let number = signed["serial_number"].as_str().unwrap();
            let number = u64::from_str_radix(number, 16).unwrap();
            assert!(shown.contains(&format!("Serial: {number}")), "{shown}");
        }
        let issued = write(
            &server.root(),
            "ssh/issue/any",
            &json!({"key_type": "ed25519", "valid_principals": "root"}),
        );
        keep(&folder.join("issued"), &issued["private_key"]);
        let public = said(folder, "ssh-keygen", &["-y", "-f", "issued"]);
        assert!(public.starts_with("ssh-ed25519 "), "{public}");
    }
}

#[test]
fn authorities_of_ssh_keygen_are_taken_in() {
    if !require(packages::install(OPENSSH)) {
        return;
    }
    let server = Server::dev();
    let (root, folder) = (server.root(), server.folder());
    write(&root, "sys/mounts/ssh", &json!({"type": "ssh"}));
    let generated: [&[&str]; 4] = [
        &["-t", "ed25519"],
        &["-t", "ecdsa", "-b", "521", "-m", "PEM"],
        &["-t", "ecdsa", "-m", "PKCS8"],
        &["-t", "rsa", "-m", "PEM"],
    ];
    for (at, words) in generated.iter().enumerate() {
        let name = format!("own-{at}");
        said(folder, "ssh-keygen", &[&["-q", "-N", "", "-f", &name], *words].concat());
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        let own = json!({"private_key": text(&name), "public_key": text(&format!("{name}.pub"))});
        write(&root, "ssh/config/ca", &own);
        root.delete("ssh/config/ca").expect(204);
    }
    said(folder, "ssh-keygen", &["-q", "-N", "", "-t", "rsa", "-f", "new"]);
    said(folder, "ssh-keygen", &["-q", "-N", "secret", "-t", "ed25519", "-f", "locked"]);
    for (name, words) in [("new", "-m PEM"), ("locked", "passphrase")] {
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        let own = json!({"private_key": text(name), "public_key": text(&format!("{name}.pub"))});
        let refused = root.write("ssh/config/ca", &own).expect(400);
        assert!(String::from_utf8_lossy(&refused.body).contains(words));
    }
}

/// A server that trusts the authority for its users, and shows a certificate of its own; with its port.
fn sshd(server: &Server) -> (Process, u16) {
    let folder = server.folder();
    said(folder, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "host"]);
    let line = fs::read_to_string(folder.join("host.pub")).unwrap();
    let asked =
        json!({"public_key": line, "cert_type": "host", "valid_principals": "127.0.0.1", "extensions": {}});
    let signed = write(&server.root(), "ssh/sign/any", &asked);
    keep(&folder.join("host-cert.pub"), &signed["signed_key"]);
    let port = free_port().unwrap();
    let at = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nHostCertificate {at}/host-cert.pub\n\
         TrustedUserCAKeys {at}/ca.pub\nAuthorizedKeysFile none\nPasswordAuthentication no\nUsePAM no\n\
         PermitRootLogin yes\nStrictModes no\nPidFile none\nLogLevel VERBOSE\n"
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    // Where the server keeps itself apart from what it reads; the package makes it at start-up alone.
    let _ = fs::create_dir_all("/run/sshd");
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
    let process = Process::spawn(&mut command, &folder.join("sshd.log")).unwrap();
    let up = wait_for("sshd", SOON, || TcpStream::connect(("127.0.0.1", port)).ok());
    up.unwrap_or_else(|late| panic!("{late}: {}", process.output().unwrap()));
    (process, port)
}

#[test]
fn a_server_lets_in_who_has_a_certificate() {
    if !require(packages::install(OPENSSH)) {
        return;
    }
    let server = Server::dev();
    authority(&server, "ssh-ed25519");
    let folder = server.folder();
    let (sshd, port) = sshd(&server);
    let user = said(folder, "id", &["-un"]).trim().to_owned();
    let trusted = fs::read_to_string(folder.join("ca.pub")).unwrap();
    fs::write(folder.join("known_hosts"), format!("@cert-authority * {trusted}")).unwrap();
    let port = port.to_string();
    let enter = |principals: &str, options: &Value, known_hosts: &str| {
        let asked =
            json!({"key_type": "ed25519", "valid_principals": principals, "critical_options": options});
        let issued = write(&server.root(), "ssh/issue/any", &asked);
        keep(&folder.join("own"), &issued["private_key"]);
        keep(&folder.join("own-cert.pub"), &issued["signed_key"]);
        let known_hosts = format!("UserKnownHostsFile={known_hosts}");
        let to = format!("{user}@127.0.0.1");
        let words = [
            "-F",
            "none",
            "-i",
            "own",
            "-o",
            "CertificateFile=own-cert.pub",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            &known_hosts,
            "-p",
            &port,
            &to,
            "echo asked",
        ];
        in_folder(folder, "ssh", &words)
    };
    let log = || sshd.output().unwrap();
    let done = enter(&user, &json!({}), "known_hosts");
    assert!(done.status.success() && done.stdout == b"asked\n", "{}\n{}", done.stderr, log());
    assert!(log().contains("Accepted publickey") && log().contains("vault-root-"), "{}", log());
    let done = enter(&user, &json!({"force-command": "echo forced"}), "known_hosts");
    assert!(done.stdout == b"forced\n", "{}\n{}", done.stderr, log());
    // For another user, from another address, to a host that nobody vouches for.
    assert!(!enter("somebody-else", &json!({}), "known_hosts").status.success());
    assert!(!enter(&user, &json!({"source-address": "10.0.0.0/8"}), "known_hosts").status.success());
    let done = enter(&user, &json!({}), "/dev/null");
    assert!(done.stderr.contains("Host key verification failed"), "{}", done.stderr);
}
