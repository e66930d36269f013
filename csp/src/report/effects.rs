//! Beyond the paper: how long weather is remembered, and whether two variables act on each other.

use minicube::report::{LinePlot, Ramp, Report, Series, Style, heat, lines, raster};

use super::{interval, number, symmetric};
use crate::explain::Explanation;
use crate::interaction::Interaction;
use crate::lag::ImpulseResponse;
use crate::plan::Plan;

/// Lag analysis and interactions, as far as there are any.
pub(super) fn sections(mut report: Report, plan: &Plan, found: &Explanation) -> Report {
    if !found.lags.is_empty() {
        report = lag_section(report, plan, found);
    }
    if !found.interactions.is_empty() {
        report = interaction_section(report, plan, found);
    }
    report
}

fn lag_section(mut report: Report, plan: &Plan, found: &Explanation) -> Report {
    let index = plan.index.name();
    report = report.section("Lag").text(&format!(
        "The weather of a single step is shifted, in {} samples and at every context and forecast step in turn. The \
         change of {index} so many steps later, per unit, is the model's impulse response; its sum is what a lasting \
         shift does. Half and 90 % of all changes have come by the lags of the table. The last column is the largest \
         change of a forecast step by weather after it: anything but 0 would mean that the model looks ahead.",
        found.pulsed.samples.len()
    ));
    let step = |lag: Option<usize>| lag.map_or("–".to_owned(), |lag| lag.to_string());
    let rows = plan.variables.iter().zip(&found.lags).map(|(variable, lags)| {
        vec![
            variable.name.clone(),
            format!("{} {}", number(variable.pulse), variable.unit),
            step(lags.peak()),
            step(lags.reached(0.5)),
            step(lags.reached(0.9)),
            number(lags.total),
            number(lags.from_later),
        ]
    });
    let columns = [
        "variable",
        "pulse",
        "strongest lag",
        "half by lag",
        "90 % by lag",
        "sum per unit",
        "by later weather",
    ];
    report = report.table(&columns, rows.collect());
    for (variable, lags) in plan.variables.iter().zip(&found.lags) {
        let unit = format!("{index} per {}", variable.unit);
        report = report.svg(
            &format!("{}: change of {index} by lag, with 95 % interval. Lags in steps.", variable.name),
            &lag_figure(&variable.name, &unit, lags),
        );
        let values = lags.matrix.mapv(|value| value as f32);
        let most = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let (width, height, rgb) = raster(values.view(), Ramp::Diverging, symmetric(most));
        report = report.png(
            &format!(
                "{}: rows are the {} shifted steps from the first context step down, columns the {} forecast steps; \
                 blue less, red more {index}, up to {} per {}.",
                variable.name,
                values.nrows(),
                values.ncols(),
                number(f64::from(most)),
                variable.unit
            ),
            width,
            height,
            &rgb,
        );
    }
    report
}

fn lag_figure(name: &str, unit: &str, lags: &ImpulseResponse) -> String {
    let line = |get: &dyn Fn(&crate::lag::Lag) -> f64| {
        lags.lags.iter().map(|lag| (lag.lag as f64, get(lag))).collect::<Vec<_>>()
    };
    lines(&LinePlot {
        title: &format!("Impulse response to {name}"),
        x_label: "lag (steps)",
        y_label: unit,
        series: vec![
            Series { name: "mean".into(), points: line(&|lag| lag.value), style: Style::LinePoints },
            Series { name: "2.5 %".into(), points: line(&|lag| lag.interval[0]), style: Style::Line },
            Series { name: "97.5 %".into(), points: line(&|lag| lag.interval[1]), style: Style::Line },
        ],
        x_is_date: false,
    })
}

fn interaction_section(mut report: Report, plan: &Plan, found: &Explanation) -> Report {
    let index = plan.index.name();
    report = report.section("Interaction of two variables").text(&format!(
        "Two variables are shifted at once, in {} samples. The strength is what is left of the joint effect after both \
         single effects, per unit of the one and unit of the other; H² (doi:10.1214/07-AOAS148) is the share of the \
         surface's variance that neither explains alone. 0 means that the effects add up.",
        found.paired.samples.len()
    ));
    let rows = found.interactions.iter().map(|one| {
        let [a, b] = one.variables.map(|v| &plan.variables[v]);
        vec![
            format!("{} and {}", a.name, b.name),
            number(one.strength.value),
            interval(one.strength.interval),
            format!("per {} and {}", a.unit, b.unit),
            number(one.h2.value),
            interval(one.h2.interval),
        ]
    });
    let columns = ["variables", "strength", "95 % interval", "unit", "H²", "95 % interval"];
    report = report.table(&columns, rows.collect());
    for one in &found.interactions {
        let [a, b] = one.variables.map(|v| &plan.variables[v]);
        report = report.svg(
            &format!(
                "Mean {index} of the forecast under shifts of {} (rows, {}) and {} (columns, {}).",
                a.name, a.unit, b.name, b.unit
            ),
            &surface_figure(&format!("{} and {}", a.name, b.name), one),
        );
    }
    report
}

fn surface_figure(title: &str, one: &Interaction) -> String {
    let labels = |deltas: &[f64]| deltas.iter().map(|delta| format!("{delta:+}")).collect::<Vec<_>>();
    let values: Vec<Vec<f64>> = one.surface.outer_iter().map(|row| row.to_vec()).collect();
    heat(title, &labels(&one.deltas[0]), &labels(&one.deltas[1]), &values)
}
