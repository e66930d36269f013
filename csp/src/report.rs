//! The report page: the paper's figures and tables, with ours beside the published numbers.

use minicube::report::{LinePlot, Report, Series, Style, bars, lines};
use ndarray::Axis;

use crate::analyse::{Global, SegmentResponse, curve_segments};
use crate::config::{Gamma, MetricName};
use crate::explain::Explanation;
use crate::figure::cluster_panels;
use crate::goodness::GoodnessReading;
use crate::perturb::positions;
use crate::plan::Plan;
use crate::variable::Variable;

/// Table I of the paper: sensitivity and SD per physical unit.
const PUBLISHED_SENSITIVITY: [(&str, f64, f64); 3] =
    [("precipitation", 0.0183, 0.0043), ("pressure", 0.0015, 0.0007), ("temperature", 0.0034, 0.0014)];

/// Table II of the paper: a', b', c' of y = a'x² + b'x + c'.
const PUBLISHED_CURVES: [(&str, &str, [f64; 3]); 4] = [
    ("precipitation", "precipitation", [-0.0034, 0.0252, 0.5554]),
    ("pressure", "pressure", [2.18e-5, -0.0441, 22.8677]),
    ("temperature", "temperature, high NDVI", [0.0001, 0.0044, 0.5805]),
    ("temperature", "temperature, low NDVI", [-0.0002, 0.0096, 0.3750]),
];

/// Segments drawn in the figures of single segments.
const LARGEST: usize = 1;
/// Series that a line plot can show before they hide each other.
const MANY: usize = 24;

/// The whole page.
pub(crate) fn page(plan: &Plan, found: &Explanation) -> Report {
    let mut report = Report::new(&format!("Why did {} forecast that?", plan.model)).lead(&lead(plan, found));
    report = report.section("Sensitivity (table I)").text(&format!(
        "How much the forecast {} changes per unit of weather: mean over the pairs of perturbations, the forecast \
         steps and the segments, weighted by their sizes. The interval is the central 95 % of bootstrap means over \
         segments. The literal sum of equation 15 is not normalised; only the mean reproduces the published values.",
        plan.index.name()
    ));
    report = sensitivity_table(report, plan, found);
    report = report.section("Correlation curves (table II, figure 3)").text(&curves_text(plan, found));
    report = curve_table(report, plan, found);
    for (v, variable) in plan.variables.iter().enumerate() {
        report = report.svg(
            &format!(
                "{}: one curve a segment, and the parabola over all of them (thick points).",
                variable.name
            ),
            &curves_figure(plan, found, v),
        );
    }
    for response in found.segment_responses.iter().take(LARGEST) {
        let segment = &found.segments[response.segment];
        report = report.section(&format!("Segment {} in detail (figures 2 and 4)", segment.name())).text(
            &format!(
                "The largest segment: {} samples, {} of them forecast. Its tuple counts clusters of {}.",
                response.size,
                response.forecast,
                found.weather.channels.join(", ")
            ),
        );
        for (v, variable) in plan.variables.iter().enumerate() {
            report = report
                .svg(
                    &format!(
                        "Mean {} of the forecast for each shift of {}.",
                        plan.index.name(),
                        variable.name
                    ),
                    &signals_figure(plan, found, response, v),
                )
                .svg(&fit_caption(response, v), &fit_figure(plan, response, v));
        }
    }
    report = report.section("Weather segments");
    report = segment_figures(report, found);
    report = report.section("Clusters (figure 1)").text(&clustering_text(plan));
    for (c, channel) in found.weather.channels.iter().enumerate() {
        report = channel_section(report, plan, found, c, channel);
    }
    report
}

fn lead(plan: &Plan, found: &Explanation) -> String {
    let forecast: usize = found.segment_responses.iter().map(|response| response.forecast).sum();
    let covered: usize = found.segment_responses.iter().map(|response| response.size).sum();
    let usable = found.weather.samples.len();
    let mut text = format!(
        "Cluster–Segregate–Perturb on the {} split: {usable} of {} samples usable, {} weather segments; {forecast} \
         samples forecast under {} perturbations each, from segments that hold {:.0} % of the usable samples.",
        plan.split,
        found.weather.all,
        found.segments.len(),
        found.perturbations.len(),
        100.0 * covered as f64 / usable as f64
    );
    for (reason, count) in &found.weather.excluded {
        text.push_str(&format!(" Left out: {count} because {reason}."));
    }
    if !found.not_finite.is_empty() {
        text.push_str(&format!(" Left out: {} whose forecast is not finite.", found.not_finite.len()));
    }
    text
}

fn sensitivity_table(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let mut order: Vec<usize> = (0..plan.variables.len()).collect();
    order.sort_by(|a, b| {
        let value = |v: usize| found.global[v].mean_over_pairs.mean;
        value(*b).total_cmp(&value(*a))
    });
    let rows = order
        .into_iter()
        .map(|v| {
            let (variable, global) = (&plan.variables[v], &found.global[v]);
            let published = PUBLISHED_SENSITIVITY.iter().find(|(name, ..)| *name == variable.name);
            vec![
                variable.name.clone(),
                number(global.mean_over_pairs.mean),
                number(global.mean_over_pairs.sd),
                interval(global.mean_over_pairs.low, global.mean_over_pairs.high),
                format!("per {}", variable.unit),
                number(global.literal_sum.mean),
                published.map_or("–".into(), |(_, value, sd)| format!("{value} ± {sd}")),
            ]
        })
        .collect();
    let columns = ["variable", "sensitivity", "SD", "95 % interval", "unit", "literal sum", "paper (Europe)"];
    report.table(&columns, rows)
}

fn curves_text(plan: &Plan, found: &Explanation) -> String {
    let large = found.segment_responses.iter().filter(|r| r.size >= plan.min_segment).count();
    let which = if large == 0 {
        format!("No segment has {} samples, so all segments are used.", plan.min_segment)
    } else {
        format!("{large} segments with at least {} samples are used.", plan.min_segment)
    };
    format!(
        "Each point is the segment's mean weather plus the shift, and the median over the forecast steps of its mean \
         {}. {which} A parabola is fitted to each segment; their coefficients are averaged with the segments' sizes.",
        plan.index.name()
    )
}

fn curve_table(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let mut rows = Vec::new();
    let used = curve_segments(&found.segment_responses, plan.min_segment);
    for (v, (variable, global)) in plan.variables.iter().zip(&found.global).enumerate() {
        rows.push(curve_row(variable, global, x_range(&used, v)));
        for (_, label, coefficients) in PUBLISHED_CURVES.iter().filter(|(name, ..)| *name == variable.name) {
            let mut row = vec![format!("paper: {label}")];
            row.extend(coefficients.map(number));
            row.push(format!("{:.1} {}", -coefficients[1] / (2.0 * coefficients[0]), variable.unit));
            row.extend(["–".into(), "–".into()]);
            rows.push(row);
        }
    }
    report.table(&["curve", "a'", "b'", "c'", "vertex", "mean R²", "best degree 1 / 2 / 3"], rows)
}

/// Smallest and largest weather under any shift in any of these segments.
fn x_range(used: &[&SegmentResponse], v: usize) -> (f64, f64) {
    let all = used.iter().flat_map(|response| response.answers[v].x.iter().copied());
    all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
}

fn curve_row(variable: &Variable, global: &Global, (low, high): (f64, f64)) -> Vec<String> {
    let [one, two, three] = global.degrees;
    let degrees = format!("{one} / {two} / {three}");
    let name = format!("{} ({} segments)", variable.name, global.curve_segments);
    match &global.parabola {
        Some(curve) => {
            let mut row = vec![name];
            row.extend(curve.coefficients.iter().map(|c| number(*c)));
            row.push(match curve.vertex() {
                Some(x) if (low..=high).contains(&x) => format!("{x:.1} {}", variable.unit),
                Some(_) => "outside the data".into(),
                None => "–".into(),
            });
            row.push(format!("{:.3}", curve.r2));
            row.push(degrees);
            row
        }
        None => vec![name, "–".into(), "–".into(), "–".into(), "–".into(), "–".into(), degrees],
    }
}

fn curves_figure(plan: &Plan, found: &Explanation, v: usize) -> String {
    let variable = &plan.variables[v];
    let used = curve_segments(&found.segment_responses, plan.min_segment);
    let mut series: Vec<Series> = used
        .iter()
        .take(MANY)
        .map(|response| Series {
            name: found.segments[response.segment].name(),
            points: response.answers[v]
                .x
                .iter()
                .copied()
                .zip(response.answers[v].y.iter().copied())
                .collect(),
            style: Style::Line,
        })
        .collect();
    if let Some(curve) = &found.global[v].parabola {
        let (low, high) = x_range(&used, v);
        let points = (0..=40).map(|i| low + (high - low) * f64::from(i) / 40.0).map(|x| (x, curve.at(x)));
        series.push(Series { name: "all segments".into(), points: points.collect(), style: Style::Points });
    }
    lines(&LinePlot {
        title: &format!("{} and {}", variable.name, plan.index.name()),
        x_label: &format!("{} ({})", variable.name, variable.unit),
        y_label: plan.index.name(),
        series,
        x_is_date: false,
    })
}

fn signals_figure(plan: &Plan, found: &Explanation, response: &SegmentResponse, v: usize) -> String {
    let variable = &plan.variables[v];
    let rows = positions(&found.perturbations, v, &variable.deltas);
    let series = variable
        .deltas
        .iter()
        .zip(rows)
        .map(|(delta, row)| Series {
            name: format!("{delta:+} {}", variable.unit),
            points: response.signals.row(row).iter().enumerate().map(|(t, y)| (t as f64 + 1.0, *y)).collect(),
            style: Style::Line,
        })
        .collect();
    lines(&LinePlot {
        title: &format!("{} under shifts of {}", plan.index.name(), variable.name),
        x_label: "forecast step",
        y_label: plan.index.name(),
        series,
        x_is_date: false,
    })
}

fn fit_caption(response: &SegmentResponse, v: usize) -> String {
    match &response.answers[v].best {
        Some(curve) => format!(
            "Best polynomial of degree {}: R² {:.4}, adjusted {:.4}.",
            curve.degree(),
            curve.r2,
            curve.adjusted_r2
        ),
        None => "Too few different points for a curve.".to_owned(),
    }
}

fn fit_figure(plan: &Plan, response: &SegmentResponse, v: usize) -> String {
    let (variable, answer) = (&plan.variables[v], &response.answers[v]);
    let points = answer.x.iter().copied().zip(answer.y.iter().copied()).collect();
    let mut series = vec![Series { name: "segment".into(), points, style: Style::Points }];
    if let (Some(curve), Some(low), Some(high)) = (&answer.best, answer.x.first(), answer.x.last()) {
        let grid = (0..=60).map(|i| low + (high - low) * f64::from(i) / 60.0).map(|x| (x, curve.at(x)));
        series.push(Series { name: "fit".into(), points: grid.collect(), style: Style::Line });
    }
    lines(&LinePlot {
        title: &format!("{} against {}", plan.index.name(), variable.name),
        x_label: &format!("{} ({})", variable.name, variable.unit),
        y_label: plan.index.name(),
        series,
        x_is_date: false,
    })
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
    let distance = match (plan.metric, plan.gamma) {
        (MetricName::Euclidean, _) => "squared differences at equal times".to_owned(),
        (MetricName::SoftDtw, Gamma::Auto) => {
            "soft-DTW, gamma a tenth of the variance of the values".to_owned()
        }
        (MetricName::SoftDtw, Gamma::Value(gamma)) => format!("soft-DTW, gamma {gamma}"),
    };
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

fn interval(low: f64, high: f64) -> String {
    if low.is_finite() { format!("{} to {}", number(low), number(high)) } else { "one segment".into() }
}

/// Three significant digits or so.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".into(),
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.3}"),
        size if size >= 1e-3 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}
