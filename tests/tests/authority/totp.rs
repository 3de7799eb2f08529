//! One-time passwords, held against those of oathtool.

use keyward_testkit::packages::{self, OATHTOOL};
use keyward_testkit::process::run;
use keyward_testkit::require;
use keyward_tests::server::Server;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

fn oathtool(secret: &str, algorithm: &str, digits: u64, period: u64) -> String {
    let mut command = Command::new("oathtool");
    command
        .arg(format!("--totp={algorithm}"))
        .arg(format!("--digits={digits}"))
        .arg(format!("--time-step-size={period}s"))
        .args(["--base32", secret]);
    let done = run(&mut command, b"", Duration::from_secs(60)).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn code(server: &Server, name: &str) -> Value {
    server.root().read(&format!("totp/code/{name}")).expect(200).json()["data"]["code"].clone()
}

#[test]
fn codes_are_those_of_oathtool() {
    if !require(packages::install(OATHTOOL)) {
        return;
    }
    let server = Server::dev();
    let root = server.root();
    root.write("sys/mounts/totp", &json!({"type": "totp"})).expect(204);
    for (algorithm, digits, period) in [("SHA1", 6, 30), ("SHA256", 8, 60), ("SHA512", 8, 30)] {
        let wanted = json!({
            "generate": true, "issuer": "Example", "account_name": "ada@example.com", "algorithm": algorithm,
            "digits": digits, "period": period,
        });
        let made = root.write("totp/keys/ada", &wanted).expect(200).json()["data"].clone();
        let url = made["url"].as_str().unwrap();
        let secret = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("secret=")).unwrap();
        // A period may end between two looks.
        let agreed = (0..5).any(|_| code(&server, "ada") == oathtool(secret, algorithm, digits, period));
        assert!(agreed, "{algorithm} {digits} {period}");
        let given = oathtool(secret, algorithm, digits, period);
        let checked = root.write("totp/code/ada", &json!({ "code": given })).expect(200).json();
        assert_eq!(checked["data"], json!({"valid": true}));
        root.write("totp/code/ada", &json!({ "code": given })).expect(400);
    }
}
