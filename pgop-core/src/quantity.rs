//! Kubernetes quantities, compared by meaning: `1Gi` and `1024Mi` are the same.

/// Value of a quantity in thousandths, or `None` when the text is no quantity.
///
/// See <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
///
/// ```
/// use pgop_core::quantity::milli;
/// assert_eq!(milli("1Gi"), milli("1024Mi"));
/// assert_eq!(milli("0.5"), milli("500m"));
/// assert_eq!(milli("lots"), None);
/// ```
pub fn milli(text: &str) -> Option<i128> {
    let (number, suffix) = text.split_at(
        text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c)))
            .unwrap_or(text.len()),
    );
    let factor: i128 = match suffix {
        "" => 1000,
        "m" => 1,
        "k" => 1000i128.pow(2),
        "M" => 1000i128.pow(3),
        "G" => 1000i128.pow(4),
        "T" => 1000i128.pow(5),
        "P" => 1000i128.pow(6),
        "E" => 1000i128.pow(7),
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        "Ei" => 1000 << 60,
        _ => return exponent(number, suffix),
    };
    decimal(number, factor)
}

/// `12e6` and `12E6`.
fn exponent(number: &str, suffix: &str) -> Option<i128> {
    let power: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|p| *p <= 18)?;
    decimal(number, 1000 * 10i128.pow(power))
}

/// `number` times `factor`, rounded up as Kubernetes rounds.
fn decimal(number: &str, factor: i128) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scaled = whole.checked_mul(scale)?.checked_add(fraction)?.checked_mul(factor)?;
    Some(sign * (scaled + scale - 1).div_euclid(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_one_meaning() {
        assert_eq!(milli("100M"), Some(100_000_000_000));
        assert_eq!(milli("1.5Gi"), milli("1536Mi"));
        assert_eq!(milli("1e3"), milli("1k"));
        assert_eq!(milli("-1"), Some(-1000));
        for bad in [
            "",
            "Gi",
            "1gb",
            "1 Gi",
            "--1",
            "1.2.3",
            "1e99",
            "１Gi",
            "9999999999999999999999999999999999999999",
        ] {
            assert_eq!(milli(bad), None, "{bad}");
        }
    }
}
