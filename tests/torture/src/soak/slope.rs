//! A straight line through samples of memory, and how sure it is.

use std::fmt;
use std::time::Duration;

/// Samples over time.
#[derive(Clone, Debug, Default)]
pub(super) struct Slope {
    /// Hours and bytes.
    samples: Vec<(f64, f64)>,
}

/// By how much something grows an hour, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Growth {
    pub(super) bytes: f64,
    /// The standard error of that.
    pub(super) error: f64,
}

impl Slope {
    pub(super) fn add(&mut self, at: Duration, bytes: f64) {
        self.samples.push((at.as_secs_f64() / 3600.0, bytes));
    }

    /// The time between the first sample and the last.
    pub(super) fn time(&self) -> Duration {
        match (self.samples.first(), self.samples.last()) {
            (Some((first, _)), Some((last, _))) => Duration::from_secs_f64((last - first) * 3600.0),
            _ => Duration::ZERO,
        }
    }

    /// The slope of the least-squares line; nothing if there are too few samples for one.
    ///
    /// Samples of memory follow one another closely, so its error is that of fewer samples than there are: `n (1 - r) / (1 +
    /// r)`, with the correlation `r` of each residual with the next one (Bayley, Hammersley, "The effective number of
    /// independent observations in an autocorrelated time series", 1946).
    pub(super) fn an_hour(&self) -> Option<Growth> {
        let n = self.samples.len() as f64;
        if n < 4.0 {
            return None;
        }
        let mean_hour = self.samples.iter().map(|(hour, _)| hour).sum::<f64>() / n;
        let mean_bytes = self.samples.iter().map(|(_, bytes)| bytes).sum::<f64>() / n;
        let spread: f64 = self.samples.iter().map(|(hour, _)| (hour - mean_hour).powi(2)).sum();
        let together: f64 =
            self.samples.iter().map(|(hour, bytes)| (hour - mean_hour) * (bytes - mean_bytes)).sum();
        let bytes = together / spread;
        let residual = |(hour, value): &(f64, f64)| value - mean_bytes - bytes * (hour - mean_hour);
        let residuals: Vec<f64> = self.samples.iter().map(residual).collect();
        let squares: f64 = residuals.iter().map(|residual| residual.powi(2)).sum();
        let neighbours: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let correlation = if squares > 0.0 { (neighbours / squares).clamp(0.0, 0.99) } else { 0.0 };
        let independent = (n * (1.0 - correlation) / (1.0 + correlation)).max(3.0);
        let error = (squares / n * (n / independent) * independent / (independent - 2.0) / spread).sqrt();
        Some(Growth { bytes, error })
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.0} ± {:.0} KiB", self.bytes / 1024.0, 2.0 * self.error / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn sampled(value: impl Fn(u64) -> f64) -> Growth {
        let mut slope = Slope::default();
        for sample in 0..300 {
            slope.add(Duration::from_secs(sample * 10), value(sample));
        }
        slope.an_hour().expect("enough of them")
    }

    #[test]
    fn a_line_has_its_slope_and_no_error() {
        let growth = sampled(|sample| 5e6 + 1024.0 * sample as f64);
        assert!((growth.bytes - 360.0 * 1024.0).abs() < 1.0 && growth.error < 1.0, "{growth:?}");
    }

    #[test]
    fn noise_is_an_error_and_steps_are_a_larger_one() {
        let noise = |seed: u64| Random::new(seed).between(0..100_000) as f64;
        let quick = sampled(noise);
        assert!(quick.bytes.abs() < 3.0 * quick.error, "{quick:?}");
        // The same values, each of them for thirty samples.
        let slow = sampled(|sample| noise(sample / 30));
        assert!(slow.error > 3.0 * quick.error, "{quick:?}, {slow:?}");
        assert!(slow.bytes.abs() < 3.0 * slow.error, "{slow:?}");
    }

    #[test]
    fn too_few_samples_say_nothing() {
        let mut slope = Slope::default();
        slope.add(Duration::ZERO, 1.0);
        assert_eq!((slope.an_hour(), slope.time()), (None, Duration::ZERO));
    }
}
