//! The clusters of one weather series as small panels, like the paper's figure 1.

use std::fmt::Write;

use ndarray::{ArrayView1, ArrayView2};

const PANEL: (f64, f64) = (146.0, 104.0);
const GAP: f64 = 6.0;
const PER_ROW: usize = 5;
/// Members drawn behind a centroid; more would only be ink.
const MEMBERS: usize = 40;

/// One panel a cluster: up to forty members in grey, the centroid in blue, the number of members above. All panels
/// share one scale. `signals` `[sample, time]`, `centroids` `[cluster, time]`, in one unit.
pub(super) fn cluster_panels(
    signals: ArrayView2<'_, f64>,
    labels: &[usize],
    centroids: ArrayView2<'_, f64>,
    unit: &str,
) -> String {
    let clusters = centroids.nrows();
    let rows = clusters.div_ceil(PER_ROW);
    let width = PER_ROW.min(clusters) as f64 * (PANEL.0 + GAP) + 50.0;
    let height = rows as f64 * (PANEL.1 + GAP) + 8.0;
    let all = || signals.iter().chain(centroids.iter()).copied().filter(|v| v.is_finite());
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let high = if high > low { high } else { low + 1.0 };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">"
    );
    for cluster in 0..clusters {
        let left = 46.0 + (cluster % PER_ROW) as f64 * (PANEL.0 + GAP);
        let top = 4.0 + (cluster / PER_ROW) as f64 * (PANEL.1 + GAP);
        let members: Vec<usize> = (0..labels.len()).filter(|i| labels[*i] == cluster).collect();
        let _ = write!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#ccc\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#333\">cluster {cluster}: {} samples</text>",
            PANEL.0,
            PANEL.1,
            left + 5.0,
            top + 13.0,
            members.len()
        );
        let mut line = |series: ArrayView1<'_, f64>, style: &str| {
            let step = PANEL.0 / (series.len().max(2) - 1) as f64;
            let mut points = String::new();
            for (t, value) in series.iter().enumerate() {
                let y = top + 18.0 + (PANEL.1 - 22.0) * (1.0 - (value - low) / (high - low));
                let _ = write!(points, "{:.1},{y:.1} ", left + t as f64 * step);
            }
            let _ = write!(svg, "<polyline points=\"{}\" fill=\"none\" {style}/>", points.trim_end());
        };
        // Evenly spread over the members, so that the choice does not depend on their order alone.
        let stride = members.len().div_ceil(MEMBERS).max(1);
        for member in members.iter().step_by(stride) {
            line(signals.row(*member), "stroke=\"#999\" stroke-width=\"0.6\" stroke-opacity=\"0.5\"");
        }
        line(centroids.row(cluster), "stroke=\"#0072b2\" stroke-width=\"2\"");
        if cluster % PER_ROW == 0 {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{}</text>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{}</text>",
                left - 4.0,
                top + 24.0,
                short(high),
                left - 4.0,
                top + PANEL.1 - 4.0,
                short(low)
            );
        }
    }
    let _ = write!(svg, "<text x=\"4\" y=\"{:.1}\" fill=\"#333\">{}</text></svg>", PANEL.1 / 2.0 + 8.0, unit);
    svg
}

fn short(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn every_cluster_has_a_panel_with_its_size() {
        let signals = array![[0.0, 1.0], [0.1, 1.1], [5.0, 5.0]];
        let svg =
            cluster_panels(signals.view(), &[0, 0, 1], array![[0.05, 1.05], [5.0, 5.0]].view(), "mm/day");
        assert!(svg.contains("cluster 0: 2 samples") && svg.contains("cluster 1: 1 samples"));
        assert_eq!(svg.matches("<polyline").count(), 5);
    }
}
