//! What was counted.

use std::time::Duration;

use serde_json::{Value, json};

/// How long things took, in microseconds.
#[derive(Default)]
pub(crate) struct Sample(Vec<u32>);

impl Sample {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many, and the quantiles that are looked at.
    pub(crate) fn summary(mut self) -> Value {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = |per_mille: usize| self.0.get(last * per_mille / 1000).copied().unwrap_or(0);
        json!({"done": self.0.len(), "p50": at(500), "p99": at(990), "p999": at(999), "most": at(1000)})
    }
}
