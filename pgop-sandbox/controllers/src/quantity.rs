//! Amounts of resources (`500m`, `1.5Gi`), compared exactly.
//! See <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The amount in thousandths, rounded up as Kubernetes does. `None` for text that is no quantity.
pub(crate) fn thousandths(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (numerator, denominator) = scale(suffix)?;
    let (digits, places) = digits(number)?;
    let above = digits.checked_mul(numerator)?.checked_mul(1000)?;
    let below = denominator.checked_mul(10_i128.checked_pow(places)?)?;
    Some(above.div_euclid(below) + i128::from(above.rem_euclid(below) != 0))
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    const SMALL: [(&str, u32); 3] = [("n", 9), ("u", 6), ("m", 3)];
    const DECIMAL: [(&str, u32); 7] = [("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    let find = |table: &[(&str, u32)]| table.iter().find(|(name, _)| *name == suffix).map(|(_, power)| *power);
    if let Some(power) = find(&SMALL) {
        return Some((1, 10_i128.pow(power)));
    }
    if let Some(power) = find(&DECIMAL) {
        return Some((10_i128.pow(power), 1));
    }
    if let Some(power) = find(&BINARY) {
        return Some((1 << power, 1));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

/// The digits of a number without its point, and how many stood behind it.
fn digits(number: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.trim_start_matches(['+', '-']).is_empty() && fraction.is_empty() {
        return None;
    }
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, u32::try_from(fraction.len()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Option<i128> {
        thousandths(&Quantity(text.into()))
    }

    #[test]
    fn suffixes_of_both_kinds() {
        assert_eq!(amount("500m"), Some(500));
        assert_eq!(amount("2"), Some(2000));
        assert_eq!(amount("1.5"), Some(1500));
        assert_eq!(amount("1Ki"), Some(1_024_000));
        assert_eq!(amount("1.5Gi"), Some(1_610_612_736_000));
        assert_eq!(amount("1G"), Some(1_000_000_000_000));
        assert_eq!(amount("1e3"), Some(1_000_000));
        assert_eq!(amount("1E"), Some(10_i128.pow(21)));
        assert_eq!(amount("-1"), Some(-1000));
    }

    #[test]
    fn what_is_finer_than_a_thousandth_is_rounded_up() {
        assert_eq!(amount("1n"), Some(1));
        assert_eq!(amount("0.0001"), Some(1));
    }

    #[test]
    fn what_is_no_quantity() {
        for text in ["", ".", "Gi", "1X", "1.2.3", "1 Gi", "e3", "one"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }
}
