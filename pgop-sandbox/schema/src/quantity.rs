//! Quantities such as `500m` and `10Gi`. <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use serde_json::Value;

/// How many thousandths a quantity is, rounded up. `None`: not a quantity, or beyond all measure.
///
/// Takes text and JSON numbers, as Kubernetes does.
pub fn thousandths(quantity: &Value) -> Option<i128> {
    match quantity {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn parse(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() + fraction.len() > 24 {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiplier, divisor) = scale(suffix)?;
    let places = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let numerator = mantissa.checked_mul(multiplier)?.checked_mul(1000)?;
    let denominator = places.checked_mul(divisor)?;
    // Away from zero, as Kubernetes rounds.
    let rounded = numerator / denominator + i128::from(numerator % denominator != 0);
    Some(if negative { -rounded } else { rounded })
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power), 1));
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    match suffix {
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_i128
                .checked_pow(power.unsigned_abs())
                .filter(|_| power.abs() <= 18)?;
            Some(if power < 0 { (1, size) } else { (size, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_of_all_shapes() {
        for (quantity, thousandths) in [
            (json!("0"), 0),
            (json!("500m"), 500),
            (json!("0.5"), 500),
            (json!(".5"), 500),
            (json!(2), 2000),
            (json!(1.5), 1500),
            (json!("1e3"), 1_000_000),
            (json!("1E"), 1_000_000_000_000_000_000_000),
            (json!("10Gi"), 10 * 1024 * 1024 * 1024 * 1000),
            (json!("1.5Ki"), 1_536_000),
            (json!("-1"), -1000),
            (json!("1n"), 1),
        ] {
            assert_eq!(super::thousandths(&quantity), Some(thousandths), "{quantity}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "Gi",
            "1 Gi",
            "1gi",
            "1.2.3",
            "--1",
            "1e",
            "1e99",
            "ten",
            "99999999999999999999999999",
        ] {
            assert_eq!(thousandths(&json!(text)), None, "{text}");
        }
        assert_eq!(thousandths(&json!(true)), None);
    }
}
