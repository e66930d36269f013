//! Segregate: samples with the same cluster in every weather series form a weather segment (equation 10).

use std::collections::BTreeMap;

/// Samples that share the same weather pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Cluster in each weather series, in the order of the series.
    pub tuple: Vec<usize>,
    /// Indices of its samples, ascending.
    pub samples: Vec<usize>,
}

impl Segment {
    /// The tuple as the paper writes it: `(6,5,5,4,2)`.
    pub fn name(&self) -> String {
        let parts: Vec<String> = self.tuple.iter().map(usize::to_string).collect();
        format!("({})", parts.join(","))
    }
}

/// Splits samples into segments, largest first, equal sizes by tuple; `labels` is one list of clusters a series.
/// Every sample is in exactly one segment.
pub fn segregate(labels: &[Vec<usize>]) -> Vec<Segment> {
    let samples = labels.first().map_or(0, Vec::len);
    let mut groups: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for sample in 0..samples {
        groups.entry(labels.iter().map(|of| of[sample]).collect()).or_default().push(sample);
    }
    let mut segments: Vec<Segment> =
        groups.into_iter().map(|(tuple, samples)| Segment { tuple, samples }).collect();
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.samples.len()));
    segments
}

/// At most `limit` samples, a fair share of each segment but never fewer than one, drawn by `order` (a random
/// rank of each sample). Ascending. Where there are more segments than `limit`, the largest segments go first.
pub fn draw_samples(segments: &[Segment], limit: usize, order: &[u64]) -> Vec<usize> {
    let total: usize = segments.iter().map(|segment| segment.samples.len()).sum();
    let mut chosen = Vec::new();
    let mut left = limit.min(total);
    let mut remaining = total;
    for segment in segments {
        let size = segment.samples.len();
        // The share of what is left keeps the total exact; each segment gets one while there is any.
        let share = (left as f64 * size as f64 / remaining.max(1) as f64).round() as usize;
        let take = share.clamp(usize::from(left > 0), size).min(left);
        let mut samples = segment.samples.clone();
        samples.sort_by_key(|sample| (order[*sample], *sample));
        chosen.extend(samples.into_iter().take(take));
        left -= take;
        remaining -= size;
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_disjoint_and_complete() {
        let labels = vec![vec![0, 1, 0, 1, 0], vec![2, 2, 2, 0, 1]];
        let segments = segregate(&labels);
        assert_eq!(segments[0], Segment { tuple: vec![0, 2], samples: vec![0, 2] });
        assert_eq!(segments[0].name(), "(0,2)");
        let mut all: Vec<usize> = segments.iter().flat_map(|s| s.samples.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        assert_eq!(segments.len(), 4);
    }

    #[test]
    fn drawing_is_proportional_and_touches_every_segment() {
        let labels = vec![[vec![0; 80], vec![1; 16], vec![2; 4]].concat()];
        let segments = segregate(&labels);
        let order: Vec<u64> = (0..100).map(|i| (i * 37) % 101).collect();
        let chosen = draw_samples(&segments, 25, &order);
        let count = |range: std::ops::Range<usize>| chosen.iter().filter(|i| range.contains(i)).count();
        assert_eq!((count(0..80), count(80..96), count(96..100)), (20, 4, 1));
        assert_eq!(draw_samples(&segments, 1000, &order).len(), 100);
        assert_eq!(draw_samples(&segments, 2, &order).len(), 2);
    }
}
