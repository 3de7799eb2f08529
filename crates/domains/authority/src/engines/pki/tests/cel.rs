//! Roles that are programs.

use super::*;

/// The program of OpenBao's guide, with a role's usual bounds written out.
fn guide() -> Value {
    json!({
        "variables": [
            { "name": "valid", "expression": "has(request.common_name) && check_valid_email(request.alt_names)" },
            { "name": "output", "expression": "ValidationOutput{ template: cert, key_type: 'ec', key_bits: 256u }" },
            { "name": "cert", "expression": "CertTemplate{
                Subject: PKIX.Name{ CommonName: request.common_name, Country: ['ZW', 'US'], OrganizationUnit: ['Ops'] },
                NotAfter: now + duration(request.ttl),
                KeyUsage: 5,
                ExtKeyUsage: [1, 2],
                EmailAddresses: [request.alt_names],
                DNSNames: [request.common_name],
                IPAddresses: [Net.IP{ IP: b'\\x0a\\x00\\x00\\x01' }, '10.0.0.2'],
                URIs: [Url.URL{ Scheme: 'spiffe', Host: 'prod', Path: '/ns/a' }],
                PolicyIdentifiers: [ObjectIdentifier{ Arc: [1, 3, 6, 1, 4] }],
                ExtraExtensions: [PKIX.Extension{ Id: [1, 3, 6, 1, 5], Value: b'\\x05\\x00' }],
            }" },
            { "name": "err", "expression": "'alt_names should be an address for ' + request.common_name" },
        ],
        "expression": "valid ? output : err",
    })
}

fn program(bench: &mut Bench, name: &str, program: &Value) -> Value {
    ok(bench, &format!("cel/roles/{name}"), &json!({ "cel_program": program }))
}

fn asked() -> Value {
    json!({ "common_name": "a.example.org", "alt_names": "ops@example.org", "ttl": "1h" })
}

#[test]
fn a_program_decides_what_a_certificate_says() {
    let mut bench = rooted();
    program(&mut bench, "mail", &guide());
    let issued = ok(&mut bench, "cel/issue/mail", &asked());
    let made = certificate(&issued["certificate"]);
    assert_eq!(made.subject().common_name(), "a.example.org");
    assert_eq!(made.subject().values(attribute::COUNTRY), ["US", "ZW"]);
    assert_eq!(made.subject().values(attribute::ORGANIZATIONAL_UNIT), ["Ops"]);
    assert_eq!(made.not_after() - made.not_before(), 3600 + 30);
    assert_eq!(made.key_usages().unwrap().0, 5);
    assert_eq!(made.ext_key_usages().unwrap(), ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    assert!(
        made.extensions().iter().any(|extension| extension.is("1.3.6.1.5") && extension.value() == [5, 0])
    );
    assert!(made.extensions().iter().any(|extension| extension.is("2.5.29.32")));
    let names = sans(&issued["certificate"]);
    for expected in [
        dns("a.example.org"),
        San::Email("ops@example.org".to_owned()),
        San::Ip("10.0.0.1".parse().unwrap()),
        San::Ip("10.0.0.2".parse().unwrap()),
        San::Uri("spiffe://prod/ns/a".to_owned()),
    ] {
        assert!(names.contains(&expected), "{names:?} {expected:?}");
    }
    assert_eq!(issued["private_key_type"], "ec");
    let serial = text(&issued["serial_number"]).to_owned();
    assert_eq!(read(&mut bench, &format!("cert/{serial}"))["certificate"], issued["certificate"]);
}

#[test]
fn a_program_refuses_in_its_own_words() {
    let mut bench = rooted();
    program(&mut bench, "mail", &guide());
    let mut body = asked();
    body["alt_names"] = json!("nobody");
    let why = refused(&mut bench, "cel/issue/mail", &body);
    assert!(why.contains("alt_names should be an address for a.example.org"), "{why}");
    program(&mut bench, "never", &json!({ "expression": "false" }));
    assert!(refused(&mut bench, "cel/issue/never", &body).contains("Request denied."));
    body.as_object_mut().unwrap().remove("ttl");
    body["alt_names"] = json!("ops@example.org");
    let why = refused(&mut bench, "cel/issue/mail", &body);
    assert!(why.contains("the variable cert of the CEL role fails") && why.contains("ttl"), "{why}");
    assert!(refused(&mut bench, "cel/issue/none", &body).contains("CEL role not found: none"));
}

#[test]
fn a_request_is_signed_by_what_it_says() {
    let mut bench = rooted();
    program(
        &mut bench,
        "sign",
        &json!({
            "variables": [{ "name": "names", "expression": "parsed_csr.DNSNames.filter(n, n.endsWith('.example.org'))" }],
            "expression": "size(names) == 0 ? 'no name of ours' : ValidationOutput{
                template: CertTemplate{ Subject: PKIX.Name{ CommonName: parsed_csr.Subject.CommonName }, DNSNames: names },
                no_store: true,
                warnings: parsed_csr.PublicKeyAlgorithm + ' it is',
            }",
        }),
    );
    let key = new_key(KeyType::EcdsaP256);
    let asked = csr(&key, "a", &[dns("a.example.org"), dns("evil.example.com")]);
    let answer = bench.write("pki/cel/sign/sign", &json!({ "csr": asked }).to_string());
    assert_eq!(sans(&answer.data()["certificate"]), [dns("a.example.org")]);
    assert!(answer.data().get("private_key").is_none());
    assert_eq!(answer.body["warnings"], json!(["ECDSA it is"]));
    let serial = text(&answer.data()["serial_number"]).to_owned();
    assert_eq!(get(&mut bench, &format!("cert/{serial}")).status, 404);
    let asked = csr(&key, "a", &[dns("evil.example.com")]);
    assert!(refused(&mut bench, "cel/sign/sign", &json!({ "csr": asked })).contains("no name of ours"));
    assert!(refused(&mut bench, "cel/sign/sign", &json!({})).contains("\"csr\" is empty"));
}

#[test]
fn programs_are_kept_patched_and_deleted() {
    let mut bench = rooted();
    let shown = program(&mut bench, "mail", &guide());
    assert_eq!(shown["name"], "mail");
    assert_eq!(shown["cel_program"]["variables"].as_array().unwrap().len(), 4);
    assert_eq!(read(&mut bench, "cel/roles/mail"), shown);
    let change = json!({ "cel_program": { "variables": [{ "name": "err", "expression": "'no'" }] } });
    let patched = bench.root(Operation::Patch, "pki/cel/roles/mail", &change.to_string());
    assert_eq!(patched.data()["cel_program"]["variables"].as_array().unwrap().len(), 4);
    assert_eq!(patched.data()["cel_program"]["variables"][3]["expression"], "'no'");
    let text = json!({ "cel_program": guide().to_string() });
    assert_eq!(ok(&mut bench, "cel/roles/text", &text)["cel_program"], shown["cel_program"]);
    let listed = bench.root(Operation::List, "pki/cel/roles", "");
    assert_eq!(listed.data()["keys"], json!(["mail", "text"]));
    bench.root(Operation::Delete, "pki/cel/roles/mail", "");
    assert_eq!(get(&mut bench, "cel/roles/mail").status, 404);
    for (bad, expected) in [
        (json!({}), "missing required field 'cel_program'"),
        (json!({ "cel_program": "{" }), "is not JSON"),
        (json!({ "cel_program": { "expression": "reqest.a" } }), "undeclared reference to 'reqest'"),
        (json!({ "cel_program": { "variables": [] } }), "no expression"),
    ] {
        let why = refused(&mut bench, "cel/roles/bad", &bad);
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn what_a_program_makes_is_checked() {
    let mut bench = rooted();
    for (template, expected) in [
        ("DNSName: ['a']", "has no field \"DNSName\""),
        ("DNSNames: 'a'", "CertTemplate.DNSNames must be a list"),
        ("DNSNames: ['a b']", "no name that DNS has"),
        ("IPAddresses: ['x']", "not a valid IP address"),
        ("NotAfter: 'tomorrow'", "must be a timestamp"),
        ("NotAfter: now - duration('1h')", "is not earlier than"),
        ("NotAfter: now + duration('99999h')", "beyond the expiration of"),
        ("KeyUsage: 512", "below 512"),
        ("ExtKeyUsage: [14]", "from 0 to 13"),
        ("ExtraExtensions: [PKIX.Extension{Id: [2, 5, 29, 19], Value: b'1'}]", "IsCA, MaxPathLen"),
        ("Subject: 1", "where a PKIX.Name is wanted"),
    ] {
        let made = format!("ValidationOutput{{ template: CertTemplate{{ {template} }}, key_type: 'ec' }}");
        program(&mut bench, "bad", &json!({ "expression": made }));
        let why = refused(&mut bench, "cel/issue/bad", &json!({}));
        assert!(why.contains(expected), "{template}: {why}");
    }
    for (output, expected) in [
        ("{'a': 1}", "ValidationOutput has no field \"a\""),
        ("1", "where a ValidationOutput is wanted"),
        ("ValidationOutput{}", "template is nil"),
        ("ValidationOutput{template: CertTemplate{}, key_type: 'dsa'}", "unknown key type dsa"),
        (
            "ValidationOutput{template: CertTemplate{}, issuer_ref: 'none'}",
            "could not fetch the CA certificate",
        ),
    ] {
        program(&mut bench, "bad", &json!({ "expression": output }));
        let why = refused(&mut bench, "cel/issue/bad", &json!({}));
        assert!(why.contains(expected), "{output}: {why}");
    }
}

#[test]
fn an_authority_is_made_only_below_its_signer() {
    let mut bench = mounted();
    root(&mut bench, &json!({ "max_path_length": 1 }));
    let authority = |bounds: &str| {
        json!({ "expression": format!(
            "ValidationOutput{{ key_type: 'ec', template: CertTemplate{{ Subject: PKIX.Name{{CommonName: 'Sub'}},
                BasicConstraintsValid: true, IsCA: true, {bounds} }} }}"
        ) })
    };
    program(&mut bench, "sub", &authority("MaxPathLenZero: true"));
    let issued = ok(&mut bench, "cel/issue/sub", &json!({}));
    let made = certificate(&issued["certificate"]);
    assert!(made.is_authority() && made.path_len() == Some(0));
    program(&mut bench, "sub", &authority("MaxPathLen: 1"));
    let why = refused(&mut bench, "cel/issue/sub", &json!({}));
    assert!(why.contains("does not fit below the signing certificate"), "{why}");
}
