//! Samples with other weather: which variable makes how much of the change.

use minicube::report::{LinePlot, Report, Series, Style, bars, lines};

use super::number;
use crate::counterfactual::Counterfactual;
use crate::explain::Explanation;
use crate::plan::Plan;

/// The counterfactuals, where there are any.
pub(super) fn section(mut report: Report, plan: &Plan, found: &Explanation) -> Report {
    let all = &found.counterfactuals;
    if all.is_empty() {
        return report;
    }
    let (index, [start, end]) = (plan.index.name(), plan.replaced_steps);
    report = report.section("Other weather").text(&format!(
        "What {index} would be forecast if the weather of the steps {start} to {} (from 0 at the first context step) were \
         {}, in {} samples. Every set of variables is replaced; a variable's share of the change is its mean effect over \
         all orders of replacement (Shapley value), so that the shares add up to the whole change.",
        end - 1,
        plan.replacement.text(),
        all.len()
    ));
    if found.without_other > 0 {
        report = report.text(&format!("Left out: {} samples without such weather.", found.without_other));
    }
    let mean =
        |values: &dyn Fn(&Counterfactual) -> f64| all.iter().map(values).sum::<f64>() / all.len() as f64;
    let names: Vec<String> = plan.variables.iter().map(|variable| variable.name.clone()).collect();
    let of_row = |one: &Counterfactual, v: usize| one.attribution.row(v).mean().unwrap_or(f64::NAN);
    let shares: Vec<f64> = (0..names.len()).map(|v| mean(&|one| of_row(one, v))).collect();
    let rows = all.iter().map(|one| {
        let before = one.signals.row(0).mean().unwrap_or(f64::NAN);
        let change = one.attribution.sum() / one.attribution.ncols() as f64;
        let mut row = vec![found.sample_ids[one.sample].clone(), number(before), number(before + change)];
        row.extend((0..names.len()).map(|v| number(of_row(one, v))));
        row
    });
    let columns: Vec<&str> =
        ["sample", "before", "after"].into_iter().chain(names.iter().map(String::as_str)).collect();
    report = report.table(&columns, rows.collect());
    let caption =
        format!("Share of each variable in the change of {index}, mean over samples and forecast steps.");
    report =
        report.svg(&caption, &bars("share in the change", &names, &[(format!("change of {index}"), shares)]));
    let steps = all[0].attribution.ncols();
    let curve = |name: &str, value: &dyn Fn(&Counterfactual, usize) -> f64| Series {
        name: name.to_owned(),
        points: (0..steps).map(|t| (t as f64, mean(&|one| value(one, t)))).collect(),
        style: Style::LinePoints,
    };
    let last = all[0].signals.nrows() - 1;
    let series = vec![
        curve("as it was", &|one, t| one.signals[[0, t]]),
        curve("other weather", &|one, t| one.signals[[last, t]]),
    ];
    let plot = LinePlot {
        title: "Forecast with other weather",
        x_label: "forecast step",
        y_label: index,
        series,
        x_is_date: false,
    };
    report.svg(&format!("Mean {index} of these samples by forecast step."), &lines(&plot))
}
