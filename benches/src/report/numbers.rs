//! Figures as text, and the middle of several.

use std::time::Duration;

/// The middle value, or the mean of the two in the middle; not a number if there is none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// Microseconds.
pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Two decimals, or more of a small value.
pub(super) fn precise(value: f64) -> String {
    if value < 0.1 { format!("{value:.4}") } else { format!("{value:.2}") }
}

/// Three digits that mean something: `1.23 M`, `45.6 k`.
pub(super) fn rounded(value: f64) -> String {
    let (scaled, unit) = match value {
        1e6.. => (value / 1e6, " M"),
        1e3.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// A ratio, if there is one.
pub(super) fn ratio(value: f64) -> String {
    if value.is_nan() { NOTHING.to_owned() } else { format!("{value:.2}") }
}

/// What stands where there is no figure.
pub(super) const NOTHING: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn three_digits_are_kept() {
        let figures = [1_234_567.0, 45_678.0, 999.4, 12.34, 1.234].map(rounded);
        assert_eq!(figures, ["1.23 M", "45.7 k", "999", "12.3", "1.23"]);
    }
}
