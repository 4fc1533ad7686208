//! Kubernetes quantities, compared by meaning: `1Gi` and `1024Mi` are the same.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

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

/// The one form in which pgop writes a quantity, so that another spelling of the same number changes no object; what is no quantity stays.
///
/// ```
/// use pgop_core::quantity::canonical;
/// assert_eq!(canonical("1610612736"), canonical("1.5Gi"));
/// assert_eq!(canonical("1.5Gi"), "1536Mi");
/// assert_eq!((canonical("0.5"), canonical("512M")), ("500m".to_owned(), "512M".to_owned()));
/// ```
pub fn canonical(text: &str) -> String {
    // Whole mebibytes are meant as such, whatever the suffix; below them, and with other factors, people count in tens.
    const BINARY: [(&str, u32); 5] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20)];
    const DECIMAL: [(&str, u32); 6] = [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3)];
    let Some(milli) = milli(text) else {
        return text.to_owned();
    };
    if milli % 1000 != 0 {
        return format!("{milli}m");
    }
    let whole = milli / 1000;
    let units = BINARY.map(|(suffix, bits)| (suffix, 1i128 << bits));
    let mut units = units
        .into_iter()
        .chain(DECIMAL.map(|(suffix, zeros)| (suffix, 10i128.pow(zeros))));
    match units.find(|(_, unit)| whole != 0 && whole % unit == 0) {
        Some((suffix, unit)) => format!("{}{suffix}", whole / unit),
        None => whole.to_string(),
    }
}

/// The same resources in that form.
pub fn canonical_resources(resources: &ResourceRequirements) -> ResourceRequirements {
    let mut resources = resources.clone();
    let both = [&mut resources.limits, &mut resources.requests];
    for Quantity(text) in both
        .into_iter()
        .flatten()
        .flat_map(|quantities| quantities.values_mut())
    {
        *text = canonical(text);
    }
    resources
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

    proptest::proptest! {
        #[test]
        fn the_one_form_has_the_same_meaning_and_is_its_own_form(text in "[0-9]{1,9}([.][0-9]{1,3})?(|m|k|M|G|T|Ki|Mi|Gi|Ti|e3)") {
            let form = canonical(&text);
            proptest::prop_assert_eq!(milli(&form), milli(&text));
            proptest::prop_assert_eq!(canonical(&form), form);
        }
    }

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
