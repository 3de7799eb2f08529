//! Addresses of keys: `otpauth://totp/ISSUER:ACCOUNT?secret=...`, as applications exchange them.

use keyward_crypto::Secret;

/// What an address says; texts are empty and others none where it does not say it.
pub struct Address {
    /// The organization.
    pub issuer: String,
    /// The account.
    pub account: String,
    /// The key, in base 32.
    pub secret: Secret<String>,
    /// `SHA1`, `SHA256` or `SHA512`.
    pub algorithm: Option<String>,
    /// Digits of a code.
    pub digits: Option<i64>,
    /// Seconds that a code is right.
    pub period: Option<i64>,
}

/// Reads an address of a key for codes by time. The error says what is wrong, without the key.
pub fn read(text: &str) -> Result<Address, &'static str> {
    let rest = text.trim().strip_prefix("otpauth://").ok_or("it does not begin with otpauth://")?;
    let (kind, rest) = rest.split_once('/').ok_or("it has no label")?;
    if kind != "totp" {
        return Err("it is not of the kind totp: codes by counter are not available");
    }
    let (label, query) = rest.split_once('?').ok_or("it has no secret")?;
    let label = decode(label).ok_or("its label is not UTF-8 in percent-encoding")?;
    let mut address = Address {
        issuer: String::new(),
        account: String::new(),
        secret: Secret::new(String::new()),
        algorithm: None,
        digits: None,
        period: None,
    };
    match label.split_once(':') {
        Some((issuer, account)) => {
            issuer.clone_into(&mut address.issuer);
            account.trim_start().clone_into(&mut address.account);
        }
        None => address.account = label,
    }
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(&value.replace('+', " ")).ok_or("its query is not UTF-8 in percent-encoding")?;
        match name {
            "secret" => address.secret = Secret::new(value),
            "issuer" if !value.is_empty() => address.issuer = value,
            "algorithm" if !value.is_empty() => address.algorithm = Some(value),
            "digits" if !value.is_empty() => {
                address.digits = Some(value.parse().map_err(|_| "its digits are no number")?);
            }
            "period" if !value.is_empty() => {
                address.period = Some(value.parse().map_err(|_| "its period is no number")?);
            }
            _ => {}
        }
    }
    Ok(address)
}

/// The address of a key.
pub fn write(
    issuer: &str,
    account: &str,
    secret: &str,
    algorithm: &str,
    digits: u32,
    period: u64,
) -> Secret<String> {
    let (issuer, account) = (encode(issuer), encode(account));
    Secret::new(format!(
        "otpauth://totp/{issuer}:{account}?algorithm={algorithm}&digits={digits}&issuer={issuer}&period={period}\
         &secret={secret}"
    ))
}

/// Percent-encoding (RFC 3986, section 2).
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let escaped = text.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    escaped.collect()
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
            }
            plain => out.push(plain),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_others_are_read() {
        let read = |text: &str| {
            read(text).map(|found| {
                let secret = found.secret.expose().clone();
                (found.issuer, found.account, secret, found.algorithm, found.digits, found.period)
            })
        };
        let none = (None, None, None);
        let plain = |issuer: &str, account: &str| {
            Ok((issuer.to_owned(), account.to_owned(), "ABCD".to_owned(), none.0.clone(), none.1, none.2))
        };
        assert_eq!(
            read("otpauth://totp/Google:me@example.com?secret=ABCD&issuer=Google"),
            plain("Google", "me@example.com")
        );
        assert_eq!(read("otpauth://totp/Big%20Co%3A%20me?secret=ABCD"), plain("Big Co", "me"));
        assert_eq!(read("otpauth://totp/me?secret=ABCD&issuer=Big+Co"), plain("Big Co", "me"));
        let full = read("otpauth://totp/a:b?secret=ABCD&algorithm=SHA512&digits=8&period=60").unwrap();
        assert_eq!((full.3.as_deref(), full.4, full.5), (Some("SHA512"), Some(8), Some(60)));
        for odd in [
            "",
            "https://example.com",
            "otpauth://totp",
            "otpauth://totp/a",
            "otpauth://hotp/a?secret=ABCD",
            "otpauth://totp/%ff?secret=A",
            "otpauth://totp/a?secret=%",
            "otpauth://totp/a?secret=A&digits=six",
        ] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(issuer in "[^:]{1,20}", account in ".{1,20}") {
            let written = write(&issuer, &account, "ABCD", "SHA1", 6, 30);
            let found = read(written.expose()).unwrap();
            assert_eq!((found.issuer.as_str(), found.account.as_str()), (issuer.as_str(), account.trim_start()));
        }

        #[test]
        fn reading_never_panics(text in ".{0,80}") {
            let _ = (read(&text), read(&format!("otpauth://totp/{text}")));
        }
    }
}
