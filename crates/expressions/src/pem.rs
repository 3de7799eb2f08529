//! Certificates as the objects that policies look into, in the names of Go's `x509.Certificate`.

use serde_json::{Map, Value, json};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::name::Name;

/// A certificate, or the key of a request for one, from PEM.
pub fn certificate(text: &str) -> Result<Value, String> {
    let (label, der) =
        pem_rfc7468::decode_vec(text.trim().as_bytes()).map_err(|why| format!("not PEM: {why}"))?;
    if label != "CERTIFICATE" {
        return Err(format!("PEM of a CERTIFICATE is expected, and this is of a {label}"));
    }
    let certificate = Certificate::from_der(&der).map_err(|why| format!("not a certificate: {why}"))?;
    let tbs = certificate.tbs_certificate();
    let time = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default()
    };
    let mut out = Map::new();
    let version = match tbs.version() {
        Version::V1 => 1,
        Version::V2 => 2,
        Version::V3 => 3,
    };
    out.insert("Version".into(), version.into());
    let serial = decimal(tbs.serial_number().as_bytes());
    out.insert("SerialNumber".into(), serial.parse::<u64>().map_or_else(|_| json!(serial), Value::from));
    out.insert("Issuer".into(), name(tbs.issuer()));
    out.insert("Subject".into(), name(tbs.subject()));
    out.insert("NotBefore".into(), time(tbs.validity().not_before).into());
    out.insert("NotAfter".into(), time(tbs.validity().not_after).into());
    let key = tbs.subject_public_key_info();
    let (number, kind) = match key.algorithm.oid {
        oid if oid == ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1") => {
            (1, rsa(key.subject_public_key.raw_bytes()))
        }
        oid if oid == ObjectIdentifier::new_unwrap("1.2.840.10045.2.1") => (3, Value::Null),
        oid if oid == ObjectIdentifier::new_unwrap("1.3.101.112") => (4, Value::Null),
        _ => (0, Value::Null),
    };
    out.insert("PublicKeyAlgorithm".into(), number.into());
    out.insert("PublicKey".into(), kind);
    let constraints = tbs.get_extension::<BasicConstraints>().ok().flatten();
    out.insert("BasicConstraintsValid".into(), constraints.is_some().into());
    out.insert("IsCA".into(), constraints.is_some_and(|(_, constraints)| constraints.ca).into());
    names(&mut out, tbs.get_extension::<SubjectAltName>().ok().flatten().map(|(_, names)| names));
    Ok(Value::Object(out))
}

fn names(out: &mut Map<String, Value>, alternative: Option<SubjectAltName>) {
    let (mut dns, mut email, mut ip, mut uris) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in alternative.map(|names| names.0).unwrap_or_default() {
        match name {
            GeneralName::DnsName(name) => dns.push(name.to_string()),
            GeneralName::Rfc822Name(name) => email.push(name.to_string()),
            GeneralName::UniformResourceIdentifier(name) => uris.push(name.to_string()),
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                if let Ok(four) = <[u8; 4]>::try_from(bytes) {
                    ip.push(std::net::Ipv4Addr::from(four).to_string());
                } else if let Ok(six) = <[u8; 16]>::try_from(bytes) {
                    ip.push(std::net::Ipv6Addr::from(six).to_string());
                }
            }
            _ => {}
        }
    }
    let list = |names: Vec<String>| if names.is_empty() { Value::Null } else { json!(names) };
    out.insert("DNSNames".into(), list(dns));
    out.insert("EmailAddresses".into(), list(email));
    out.insert("IPAddresses".into(), list(ip));
    out.insert("URIs".into(), list(uris));
}

/// The modulus and exponent of an RSA key.
fn rsa(der: &[u8]) -> Value {
    let numbers = Vec::<x509_cert::der::asn1::Int>::from_der(der).unwrap_or_default();
    match &numbers[..] {
        [modulus, exponent] => {
            let exponent = exponent.as_bytes().iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
            json!({ "N": decimal(modulus.as_bytes()), "E": exponent })
        }
        _ => Value::Null,
    }
}

fn name(name: &Name) -> Value {
    let mut out = Map::new();
    for attribute in name.iter_rdn().flat_map(x509_cert::name::RelativeDistinguishedName::iter) {
        let text = attribute.value.to_der().ok().and_then(|der| text_of(&der)).unwrap_or_default();
        let (key, list) = match attribute.oid.to_string().as_str() {
            "2.5.4.3" => ("CommonName", false),
            "2.5.4.5" => ("SerialNumber", false),
            "2.5.4.6" => ("Country", true),
            "2.5.4.7" => ("Locality", true),
            "2.5.4.8" => ("Province", true),
            "2.5.4.9" => ("StreetAddress", true),
            "2.5.4.10" => ("Organization", true),
            "2.5.4.11" => ("OrganizationalUnit", true),
            "2.5.4.17" => ("PostalCode", true),
            _ => continue,
        };
        if !list {
            out.insert(key.into(), text.into());
        } else if let Value::Array(values) = out.entry(key).or_insert_with(|| json!([])) {
            values.push(text.into());
        }
    }
    Value::Object(out)
}

/// The text of a string of any of X.509's kinds that are ASCII or UTF-8.
fn text_of(der: &[u8]) -> Option<String> {
    let any = x509_cert::der::AnyRef::from_der(der).ok()?;
    String::from_utf8(any.value().to_vec()).ok()
}

/// Big-endian bytes as a decimal number.
fn decimal(bytes: &[u8]) -> String {
    let mut digits: Vec<u32> = vec![0];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = *digit * 256 + carry;
            *digit = value % 1_000_000;
            carry = value / 1_000_000;
        }
        if carry > 0 {
            digits.push(carry);
        }
    }
    let mut text = digits.last().map(u32::to_string).unwrap_or_default();
    for digit in digits.iter().rev().skip(1) {
        text.push_str(&format!("{digit:06}"));
    }
    text
}
