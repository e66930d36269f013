//! Curves of the index over weather: table II, figures 2 to 4, and single samples beside them.

use minicube::report::{LinePlot, Report, Series, Style, lines};
use ndarray::ArrayView2;

use super::number;
use crate::analyse::{SegmentResponse, VegetationSplit, curve_segments};
use crate::curve::{Curve, Family, median};
use crate::explain::Explanation;
use crate::perturb::positions;
use crate::plan::Plan;
use crate::variable::Variable;

/// Table II of the paper: a', b', c' of y = a'x² + b'x + c'.
const PUBLISHED_CURVES: [(&str, &str, [f64; 3]); 4] = [
    ("precipitation", "precipitation", [-0.0034, 0.0252, 0.5554]),
    ("pressure", "pressure", [2.18e-5, -0.0441, 22.8677]),
    ("temperature", "temperature, high NDVI", [0.0001, 0.0044, 0.5805]),
    ("temperature", "temperature, low NDVI", [-0.0002, 0.0096, 0.3750]),
];

/// Series that a line plot can show before they hide each other.
const MANY: usize = 24;

/// Segments drawn in the figures of single segments.
const LARGEST: usize = 1;
/// Samples drawn as single lines.
const SAMPLES: usize = 60;

/// Table II, the curves of all segments, and the largest segment in detail.
pub(super) fn sections(mut report: Report, plan: &Plan, found: &Explanation) -> Report {
    report = report.section("Correlation curves (table II, figure 3)").text(&curves_text(plan, found));
    report = curve_table(report, plan, found);
    report = report.text(
        "How many segments are best described by each kind of curve, all fitted by least squares. The paper finds \
         parabolas mostly.",
    );
    report = family_table(report, plan, found);
    for (v, variable) in plan.variables.iter().enumerate() {
        let name = &variable.name;
        report = report
            .svg(
                &format!("{name}: one curve a segment, and the parabola over all of them (thick points)."),
                &curves_figure(plan, found, v),
            )
            .svg(
                &format!(
                    "{name}, for comparison: single samples (individual conditional expectation, \
                     doi:10.1080/10618600.2014.907095) as changes from their unchanged forecast, and their plain mean \
                     (partial dependence, doi:10.1214/aos/1013203451), without clusters or segments."
                ),
                &samples_figure(plan, found, v),
            );
    }
    for response in found.segment_responses.iter().take(LARGEST) {
        report = detail(report, plan, found, response);
    }
    report
}

fn detail(mut report: Report, plan: &Plan, found: &Explanation, response: &SegmentResponse) -> Report {
    let segment = &found.segments[response.segment];
    report =
        report.section(&format!("Segment {} in detail (figures 2 and 4)", segment.name())).text(&format!(
            "The largest segment: {} samples, {} of them forecast. Its tuple counts clusters of {}.",
            response.size,
            response.forecast,
            found.weather.channels.join(", ")
        ));
    for (v, variable) in plan.variables.iter().enumerate() {
        let caption =
            format!("Mean {} of the forecast for each shift of {}.", plan.index.name(), variable.name);
        report = report
            .svg(&caption, &signals_figure(plan, found, response, v))
            .svg(&fit_caption(response, v), &fit_figure(plan, response, v));
    }
    report
}

fn curves_text(plan: &Plan, found: &Explanation) -> String {
    let large = found.segment_responses.iter().filter(|r| r.size >= plan.min_segment).count();
    let which = if large == 0 {
        format!("No segment has {} samples, so all segments are used.", plan.min_segment)
    } else {
        format!("{large} segments with at least {} samples are used.", plan.min_segment)
    };
    format!(
        "Each point is the segment's mean weather as the model sees it, shifted and clipped, and the median over the forecast steps of its mean \
         {}. {which} A parabola is fitted to each segment; their coefficients are averaged with the segments' sizes. \
         The second row of each variable takes the best curve of each segment instead (outside its data its parabola), \
         averages them on the paper's range of weather, or that of the data where the two do not meet, and fits a \
         parabola. Low and high are the segments below and above the median of the unchanged {}.",
        plan.index.name(),
        plan.index.name()
    )
}

fn curve_table(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let mut rows = Vec::new();
    let used = curve_segments(&found.segment_responses, plan.min_segment);
    for (v, (variable, global)) in plan.variables.iter().zip(&found.global).enumerate() {
        let (name, range) = (&variable.name, x_range(&used, v));
        let mut add =
            |label: String, curve: Option<&Curve>| rows.push(curve_row(label, variable, curve, range));
        add(format!("{name} ({} segments)", global.curve_segments), global.parabola.as_ref());
        add(format!("{name}, from the best curves"), global.of_best.as_ref());
        if let Some(VegetationSplit { threshold, low, high }) = &global.split {
            let index = plan.index.name();
            add(format!("{name}, {index} below {threshold:.3} ({})", low.1), low.0.as_ref());
            add(format!("{name}, {index} from {threshold:.3} ({})", high.1), high.0.as_ref());
        }
        for (_, label, coefficients) in PUBLISHED_CURVES.iter().filter(|(name, ..)| *name == variable.name) {
            let mut row = vec![format!("paper: {label}")];
            row.extend(coefficients.map(number));
            row.push(format!("{:.1} {}", -coefficients[1] / (2.0 * coefficients[0]), variable.unit));
            row.push("–".into());
            rows.push(row);
        }
    }
    report.table(&["curve", "a'", "b'", "c'", "vertex", "R²"], rows)
}

/// Smallest and largest weather under any shift in any of these segments.
fn x_range(used: &[&SegmentResponse], v: usize) -> (f64, f64) {
    let all = used.iter().flat_map(|response| response.answers[v].x.iter().copied());
    all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
}

fn curve_row(
    label: String,
    variable: &Variable,
    curve: Option<&Curve>,
    (low, high): (f64, f64),
) -> Vec<String> {
    let mut row = vec![label];
    let Some(curve) = curve else {
        row.extend(["–"; 5].map(str::to_owned));
        return row;
    };
    row.extend(curve.coefficients.iter().map(|c| number(*c)));
    row.push(match curve.vertex() {
        Some(x) if (low..=high).contains(&x) => format!("{x:.1} {}", variable.unit),
        Some(_) => "outside the data".into(),
        None => "–".into(),
    });
    row.push(format!("{:.3}", curve.r2));
    row
}

fn family_table(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let rows = plan.variables.iter().zip(&found.global).map(|(variable, global)| {
        let counts = global.families.iter().map(|(_, count)| count.to_string());
        std::iter::once(variable.name.clone()).chain(counts).collect()
    });
    let columns: Vec<&str> =
        std::iter::once("best curve").chain(Family::ALL.into_iter().map(Family::name)).collect();
    report.table(&columns, rows.collect())
}

/// Changes of single samples from their unchanged forecast, and their mean.
fn samples_figure(plan: &Plan, found: &Explanation, v: usize) -> String {
    let (variable, index) = (&plan.variables[v], plan.index.name());
    let rows = positions(&found.shifted.perturbations, v, &variable.deltas, 0);
    let change = |sample: ArrayView2<'_, f64>| -> Vec<f64> {
        let unchanged = median(sample.row(0).iter().copied());
        rows.iter().map(|row| median(sample.row(*row).iter().copied()) - unchanged).collect()
    };
    let all: Vec<Vec<f64>> = found
        .shifted
        .responses
        .outer_iter()
        .filter(|sample| sample.iter().all(|v| v.is_finite()))
        .map(change)
        .collect();
    let mean = |d: usize| all.iter().map(|line| line[d]).sum::<f64>() / all.len() as f64;
    // One series with gaps, so that the legend has one entry for all samples.
    let stride = all.len().div_ceil(SAMPLES).max(1);
    let mut points = Vec::new();
    for line in all.iter().step_by(stride) {
        points.extend(variable.deltas.iter().copied().zip(line.iter().copied()));
        points.push((f64::NAN, f64::NAN));
    }
    let means = variable.deltas.iter().enumerate().map(|(d, delta)| (*delta, mean(d))).collect();
    lines(&LinePlot {
        title: &format!("Change of {index} in single samples"),
        x_label: &format!("shift of {} ({})", variable.name, variable.unit),
        y_label: &format!("change of {index}"),
        series: vec![
            Series { name: "samples".into(), points, style: Style::Line },
            Series { name: "mean".into(), points: means, style: Style::LinePoints },
        ],
        x_is_date: false,
    })
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
    let rows = positions(&found.shifted.perturbations, v, &variable.deltas, 0);
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
            "Best curve: {}, R² {:.4}, adjusted {:.4}, AIC {:.1}.",
            curve.family.name(),
            curve.r2,
            curve.adjusted_r2,
            curve.aic
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
