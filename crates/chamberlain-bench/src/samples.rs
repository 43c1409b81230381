//! Every sample is kept and percentiles are read from all of them: no buckets, no guesses.

use std::time::Duration;

/// Times of one measurement, in nanoseconds. A time above 4.29 s counts as 4.29 s.
#[derive(Clone, Default, Debug)]
pub(crate) struct Samples(Vec<u32>);

impl Samples {
    /// Keeps one more.
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Keeps those of another measurement, too.
    pub(crate) fn join(&mut self, other: Samples) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that at least so many of a thousand samples do not exceed, in
    /// microseconds; not a number when there are none.
    pub(crate) fn percentile_us(&mut self, of_thousand: usize) -> f64 {
        self.0.sort_unstable();
        let rank = (self.0.len() * of_thousand).div_ceil(1_000);
        match self.0.get(rank.saturating_sub(1)) {
            Some(nanoseconds) => f64::from(*nanoseconds) / 1_000.0,
            None => f64::NAN,
        }
    }
}

/// The middle of `values`, or the mean of the two in the middle; not a number when there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples = Samples::default();
        for ms in (1..=1000).rev() {
            samples.push(Duration::from_micros(ms));
        }
        for (of_thousand, wanted) in [(500, 500.0), (990, 990.0), (999, 999.0), (1000, 1000.0)] {
            assert_eq!(samples.percentile_us(of_thousand), wanted);
        }
        assert!(Samples::default().percentile_us(500).is_nan());
    }

    #[test]
    fn a_time_too_long_is_the_longest() {
        let mut samples = Samples::default();
        samples.push(Duration::from_secs(100));
        assert_eq!(samples.percentile_us(500), f64::from(u32::MAX) / 1_000.0);
    }

    #[test]
    fn the_median_leaves_out_what_is_no_number() {
        assert_eq!(median(&[3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
