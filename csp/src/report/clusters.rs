//! Weather segments and the clusters that make them: figure 1.

use minicube::report::{Report, bars};
use ndarray::Axis;

use super::number;
use super::panels::cluster_panels;
use crate::config::{Gamma, MetricName};
use crate::explain::Explanation;
use crate::goodness::GoodnessReading;
use crate::plan::Plan;

/// The largest segments, and the clusters of every weather series.
pub(super) fn sections(mut report: Report, plan: &Plan, found: &Explanation) -> Report {
    report = report.section("Weather segments");
    report = segment_figures(report, found);
    report = report.section("Clusters (figure 1)").text(&clustering_text(plan));
    for (c, channel) in found.weather.channels.iter().enumerate() {
        report = channel_section(report, plan, found, c, channel);
    }
    report
}

fn segment_figures(report: Report, found: &Explanation) -> Report {
    let shown = found.segments.iter().take(20);
    let labels: Vec<String> = (0..shown.len()).map(|index| index.to_string()).collect();
    let sizes = shown.clone().map(|segment| segment.samples.len() as f64).collect();
    let rows = shown
        .enumerate()
        .map(|(index, segment)| {
            let used = found.segment_responses.iter().find(|response| response.segment == index);
            vec![
                index.to_string(),
                segment.name(),
                segment.samples.len().to_string(),
                used.map_or(0, |response| response.forecast).to_string(),
            ]
        })
        .collect();
    report
        .text(&format!(
            "Samples with the same cluster in every one of {} form a segment. The largest of {} are shown.",
            found.weather.channels.join(", "),
            found.segments.len()
        ))
        .svg("Samples in each segment.", &bars("segment sizes", &labels, &[("samples".into(), sizes)]))
        .table(&["segment", "tuple", "samples", "forecast"], rows)
}

fn clustering_text(plan: &Plan) -> String {
    let gamma = match plan.gamma {
        Gamma::Auto => "gamma a tenth of the variance of the values".to_owned(),
        Gamma::Value(gamma) => format!("gamma {gamma}"),
    };
    let mut distance = match plan.metric {
        MetricName::Euclidean => "squared differences at equal times".to_owned(),
        MetricName::Dtw => "DTW, averaged along alignments".to_owned(),
        MetricName::SoftDtw => format!("soft-DTW, {gamma}"),
        MetricName::Divergence => format!("soft-DTW divergence, {gamma}"),
    };
    if let Some(radius) = plan.sweep.band {
        distance.push_str(&format!(", alignments within {radius} steps"));
    }
    let mut text = format!(
        "k-means by {distance}, best of {} starts a K; K by the goodness score with lambda {}, reading {}. Values are \
         clustered in EarthNet's units, in which lambda has its published meaning, and shown in physical units.",
        plan.sweep.restarts,
        plan.sweep.lambda,
        plan.sweep.reading.name()
    );
    if let (MetricName::SoftDtw, Gamma::Value(gamma)) = (plan.metric, plan.gamma)
        && gamma >= 0.1
    {
        text.push_str(
            " At a gamma of this size, as the paper's tool has it by default, the smoothing outweighs differences of \
             normalised weather: distances are negative for every pair, and clusters follow levels more than shapes. \
             Gamma \"auto\" or .001 to .01 resolves shapes.",
        );
    }
    text
}

fn channel_section(mut report: Report, plan: &Plan, found: &Explanation, c: usize, channel: &str) -> Report {
    let clusters = &found.clusters[c];
    let variable = &plan.variables[found.weather.variable_of[c]];
    let physical = clusters.centroids.mapv(|value| variable.clustered.invert(value));
    let signals = found.weather.values.index_axis(Axis(0), c);
    report = report.svg(
        &format!(
            "{channel}: K = {}; members grey, centroid blue; horizontally the {} steps.",
            clusters.k(),
            plan.steps
        ),
        &cluster_panels(signals, &clusters.labels, physical.view(), &variable.unit),
    );
    let rows = clusters
        .trials
        .iter()
        .map(|trial| {
            let mut row = vec![trial.k.to_string(), trial.goodness.similar.to_string()];
            row.push(number(trial.goodness.intra_average));
            row.extend(
                GoodnessReading::ALL.map(|reading| number(trial.goodness.score(reading, plan.sweep.intra))),
            );
            row.push(number(trial.objective));
            row.push(format!("{}{}", trial.iterations, if trial.converged { "" } else { " (stopped)" }));
            row.push(trial.reseeded.to_string());
            row
        })
        .collect();
    let columns = [
        "K",
        "similar pairs",
        "intra",
        "squared count",
        "squared fraction",
        "plain",
        "mean distance",
        "rounds",
        "re-seeded",
    ];
    report = report.table(&columns, rows);
    let choices = clusters.choices.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    report = report.text(&format!("K that the three readings would choose: {choices}."));
    for note in &clusters.notes {
        report = report.text(&format!("Note: {note}."));
    }
    report
}
