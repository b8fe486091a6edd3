//! Samples, and what is said of them.

use std::time::{Duration, Instant};

/// Measurements of one thing, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Measures `work` as often as asked.
    pub fn of(times: usize, mut work: impl FnMut(usize)) -> Samples {
        let mut samples = Samples::default();
        for index in 0..times {
            let begin = Instant::now();
            work(index);
            samples.add(begin.elapsed());
        }
        samples
    }

    pub fn of_spans(spans: impl IntoIterator<Item = Duration>) -> Samples {
        let mut samples = Samples::default();
        spans.into_iter().for_each(|span| samples.add(span));
        samples
    }

    pub fn add(&mut self, span: Duration) {
        self.0.push(span.as_nanos() as f64);
    }

    pub fn extend(&mut self, other: &Samples) {
        self.0.extend(&other.0);
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }

    pub fn best(&self) -> f64 {
        self.percentile(0.0)
    }

    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    pub fn p99(&self) -> f64 {
        self.percentile(99.0)
    }

    /// By nearest rank; with fewer than a hundred samples the 99th is the worst.
    pub fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

/// Returns nanoseconds for people.
pub fn span(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}
