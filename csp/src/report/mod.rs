//! The report page: the paper's figures and tables, with ours beside the published numbers.

mod clusters;
mod curves;
mod effects;
mod inputs;
mod panels;
mod replaced;

use minicube::report::Report;
use x5_dl::DataSpec;

use crate::explain::Explanation;
use crate::plan::Plan;

/// Table I of the paper: sensitivity and SD per physical unit.
const PUBLISHED_SENSITIVITY: [(&str, f64, f64); 3] =
    [("precipitation", 0.0183, 0.0043), ("pressure", 0.0015, 0.0007), ("temperature", 0.0034, 0.0014)];

/// The whole page; `remarks` are what must not be overlooked.
pub(crate) fn page(plan: &Plan, spec: &DataSpec, found: &Explanation, remarks: &[String]) -> Report {
    let mut report = Report::new(&format!("Why did {} forecast that?", plan.model)).lead(&lead(plan, found));
    report = sensitivity_section(report.remarks(remarks), plan, found);
    report = curves::sections(report, plan, found);
    report = effects::sections(report, plan, found);
    report = replaced::section(report, plan, found);
    report = inputs::sections(report, plan, spec, found);
    clusters::sections(report, plan, found)
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
        found.shifted.perturbations.len(),
        100.0 * covered as f64 / usable as f64
    );
    if !plan.only.is_empty() {
        text.push_str(&format!(" Restricted to {}", plan.only.text()));
        if found.pixels.all > 0 {
            let share = 100.0 * found.pixels.kept as f64 / found.pixels.all as f64;
            let (kept, all) = (found.pixels.kept, found.pixels.all);
            text.push_str(&format!(
                ": {kept} of {all} pixels ({share:.0} %) of the samples that are left count"
            ));
        }
        text.push('.');
    }
    for (reason, count) in &found.weather.excluded {
        text.push_str(&format!(" Left out: {count} because {reason}."));
    }
    if !found.not_finite.is_empty() {
        text.push_str(&format!(" Left out: {} whose forecast is not finite.", found.not_finite.len()));
    }
    text
}

fn sensitivity_section(mut report: Report, plan: &Plan, found: &Explanation) -> Report {
    report = report.section("Sensitivity (table I)").text(&format!(
        "How much the forecast {} changes per unit of weather: mean over the pairs of perturbations, the forecast \
         steps and the segments, weighted by their sizes. The interval is the central 95 % of {} values from segments \
         and samples drawn again with replacement. The literal sum of equation 15 is not normalised; only the mean \
         reproduces the published values. The last columns say what one standard deviation of the weather does, and \
         which share of the forecast values does not react to any shift.",
        plan.index.name(),
        plan.bootstrap
    ));
    report = sensitivity_table(report, plan, found);
    if plan.transitions.len() > 1 {
        report = report.text(
            "Shifts that come and go, per unit of the whole shift. A ramp or pulse that starts late leaves less time to \
             react.",
        );
        report = transition_table(report, plan, found);
    }
    report
}

/// Variables from the most to the least sensitive.
pub(crate) fn ranked(found: &Explanation) -> Vec<usize> {
    let mut order: Vec<usize> = (0..found.global.len()).collect();
    order.sort_by(|a, b| found.global[*b].main().mean.total_cmp(&found.global[*a].main().mean));
    order
}

fn sensitivity_table(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let row = |v: usize| {
        let (variable, global) = (&plan.variables[v], &found.global[v]);
        let published = PUBLISHED_SENSITIVITY.iter().find(|(name, ..)| *name == variable.name);
        let [mean, sum] = &global.sensitivity[0];
        vec![
            variable.name.clone(),
            format!("{} ± {}", number(mean.mean), number(mean.sd)),
            interval([mean.low, mean.high]),
            format!("per {}", variable.unit),
            number(sum.mean),
            published.map_or("–".into(), |(_, value, sd)| format!("{value} ± {sd}")),
            number(mean.mean * global.weather_sd),
            format!("{:.0} %", 100.0 * global.movement.unmoved),
        ]
    };
    let columns = [
        "variable",
        "sensitivity ± SD",
        "95 % interval",
        "unit",
        "literal sum",
        "paper (Europe)",
        "per weather SD",
        "unmoved",
    ];
    report.table(&columns, ranked(found).into_iter().map(row).collect())
}

fn transition_table(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let mut rows = Vec::new();
    for v in ranked(found) {
        for (transition, [mean, _]) in plan.transitions.iter().zip(&found.global[v].sensitivity) {
            rows.push(vec![
                plan.variables[v].name.clone(),
                transition.name(),
                number(mean.mean),
                number(mean.sd),
                interval([mean.low, mean.high]),
            ]);
        }
    }
    report.table(&["variable", "transition", "sensitivity", "SD", "95 % interval"], rows)
}

fn interval([low, high]: [f64; 2]) -> String {
    if low.is_finite() { format!("{} to {}", number(low), number(high)) } else { "–".into() }
}

/// A scale of differences whose middle is nothing, also where there are none.
fn symmetric(most: f32) -> (f32, f32) {
    if most > 0.0 { (-most, most) } else { (-1.0, 1.0) }
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
