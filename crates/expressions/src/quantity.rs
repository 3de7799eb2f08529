//! Quantities as the Kubernetes API writes them: `100m`, `1.5Gi`, `2e3`.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::cmp::Ordering;
use std::fmt;

/// How a quantity was written, and so how a sum of it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `1500m`
    Decimal,
    /// `1Gi`
    Binary,
    /// `2e3`
    Exponent,
}

/// A quantity in billionths, the finest the API knows. What is finer is rounded up, as there.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

const NANO: i128 = 1_000_000_000;
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// None where the text is not a quantity, or one beyond what fits.
    pub fn parse(text: &str) -> Option<Quantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (multiplier, power, format) = multiplier(suffix)?;
        let digits = format!("{whole}{fraction}");
        let mantissa: i128 = digits
            .trim_start_matches('0')
            .parse()
            .or_else(|why| if digits.bytes().all(|digit| digit == b'0') { Ok(0) } else { Err(why) })
            .ok()?;
        let scale = power - i32::try_from(fraction.len()).ok()? + 9;
        let mut nano = mantissa.checked_mul(multiplier)?;
        if scale >= 0 {
            nano = nano.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?;
        } else {
            let divisor = 10i128.checked_pow(scale.unsigned_abs()).unwrap_or(i128::MAX);
            nano = nano / divisor + i128::from(nano % divisor != 0);
        }
        let negative = text.starts_with('-');
        Some(Quantity { nano: if negative { -nano } else { nano }, format })
    }

    /// A whole number.
    pub fn from_int(value: i64, format: Format) -> Quantity {
        Quantity { nano: i128::from(value) * NANO, format }
    }

    /// How it was written.
    pub fn format(self) -> Format {
        self.format
    }

    /// In billionths.
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// As a number, rounded.
    pub fn to_f64(self) -> f64 {
        self.nano as f64 / NANO as f64
    }

    /// The whole number, where it is one that fits.
    pub fn to_int(self) -> Option<i64> {
        if self.nano % NANO == 0 { i64::try_from(self.nano / NANO).ok() } else { None }
    }

    /// The sum, in the format of the first; None beyond what fits.
    pub fn add(self, other: Quantity) -> Option<Quantity> {
        let format = if self.nano == 0 { other.format } else { self.format };
        Some(Quantity { nano: self.nano.checked_add(other.nano)?, format })
    }

    /// The difference; None beyond what fits.
    pub fn sub(self, other: Quantity) -> Option<Quantity> {
        let format = if self.nano == 0 { other.format } else { self.format };
        Some(Quantity { nano: self.nano.checked_sub(other.nano)?, format })
    }

    /// Times a number that is itself written as a quantity.
    pub fn mul(self, factor: Quantity) -> Option<Quantity> {
        let nano = match self.nano.checked_mul(factor.nano) {
            Some(product) => product / NANO,
            None => (self.nano / NANO).checked_mul(factor.nano)?,
        };
        Some(Quantity { nano, format: self.format })
    }

    /// Divided by a number, rounded towards zero at the finer of the two scales.
    pub fn div(self, divisor: Quantity) -> Option<Quantity> {
        let unit = self.unit().min(divisor.unit());
        let quotient = self.nano.checked_mul(NANO)?.checked_div(divisor.nano)?;
        Some(Quantity { nano: quotient / unit * unit, format: self.format })
    }

    /// The largest power of ten, at most one, that divides it.
    fn unit(self) -> i128 {
        let mut unit = NANO;
        while unit > 1 && self.nano % unit != 0 {
            unit /= 10;
        }
        unit
    }
}

fn multiplier(suffix: &str) -> Option<(i128, i32, Format)> {
    if let Some(index) = BINARY.iter().position(|known| *known == suffix) {
        return Some((1024i128.pow(u32::try_from(index).ok()? + 1), 0, Format::Binary));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Some((1, *power, Format::Decimal));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let power = exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().ok()?;
    (-64..=27).contains(&power).then_some((1, power, Format::Exponent))
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.nano.cmp(&other.nano))
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that keeps it so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let whole = self.nano / NANO;
        if self.format == Format::Binary && self.nano % NANO == 0 && whole.abs() >= 1024 {
            let (mut value, mut suffix) = (whole, "");
            for binary in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = binary;
            }
            return write!(f, "{value}{suffix}");
        }
        let (mut value, mut power) = (self.nano, -9);
        while value % 1000 == 0 && power < 18 {
            value /= 1000;
            power += 3;
        }
        match (self.format, DECIMAL.iter().find(|(_, known)| *known == power)) {
            (Format::Exponent, _) if power != 0 => write!(f, "{value}e{power}"),
            (_, Some((suffix, _))) => write!(f, "{value}{suffix}"),
            _ => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (text, canonical) in [
            ("0", "0"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("0.1", "100m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("512", "512"),
            ("1000", "1k"),
            ("2e3", "2e3"),
            ("-3Ki", "-3Ki"),
            ("100Ki", "100Ki"),
            ("12E", "12E"),
            (".5", "500m"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), canonical, "{text}");
        }
        for text in ["", ".", "1.2.3", "1x", "Ki", "e3", "1e", "--1", "1 Gi"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn order_and_arithmetic() {
        let q = |text| Quantity::parse(text).unwrap();
        assert!(q("100m") < q("0.2"));
        assert!(q("1Gi") > q("1G"));
        assert_eq!(q("1000m"), q("1"));
        assert_eq!(q("10Ki").add(q("1024")).unwrap().to_string(), "11Ki");
        assert_eq!(q("1Gi").mul(q("2")).unwrap().to_string(), "2Gi");
        assert_eq!(q("10").div(q("4")).unwrap().to_string(), "2");
    }
}
