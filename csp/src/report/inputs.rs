//! Which inputs matter, where, and in which land: groups, ranking, saliency maps.

use minicube::report::{Frame, Ramp, Report, bars, heat, ramp_legend};
use ndarray::{ArrayView2, Axis};
use x5_dl::DataSpec;

use super::{interval, number, symmetric};
use crate::explain::Explanation;
use crate::map_store::layer_names;
use crate::plan::Plan;
use crate::saliency::Owed;

/// Inputs shown as bars.
const BARS: usize = 12;

/// Sensitivities by class, ranking of inputs and maps, as far as there are any.
pub(super) fn sections(mut report: Report, plan: &Plan, spec: &DataSpec, found: &Explanation) -> Report {
    if !found.groups.is_empty() {
        report = group_section(report, plan, found);
    }
    if !found.ranking.is_empty() {
        report = ranking_section(report, plan, found);
    }
    if !found.maps.is_empty() {
        report = map_section(report, plan, spec, found);
    }
    report
}

fn group_section(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let rows = found.groups.iter().map(|group| {
        vec![
            group.layer.clone(),
            group.class.clone(),
            plan.variables[group.variable].name.clone(),
            number(group.value.mean),
            number(group.value.sd),
            interval([group.value.low, group.value.high]),
            group.usable.to_string(),
            group.forecast.to_string(),
        ]
    });
    let columns = ["layer", "class", "variable", "sensitivity", "SD", "95 % interval", "samples", "forecast"];
    report
        .section("Sensitivity by class")
        .text(
            "A sample belongs to the class that covers most of its forecast part, and to the season of its first \
             forecast step. Few forecast samples of a class make wide intervals; `max_samples` raises their number.",
        )
        .table(&columns, rows.collect())
}

fn ranking_section(report: Report, plan: &Plan, found: &Explanation) -> Report {
    let index = plan.index.name();
    let name = |place: usize| {
        let input = &found.ranking[place].input;
        format!("{} ({})", input.name, input.kind.name())
    };
    let rows = found.ranking.iter().enumerate().map(|(place, one)| {
        vec![
            name(place),
            number(one.change.value),
            interval(one.change.interval),
            format!("{}", one.rank.value),
            format!("{:.1} to {:.1}", one.rank.interval[0], one.rank.interval[1]),
        ]
    });
    let shown = found.ranking.len().min(BARS);
    let labels: Vec<String> = found.ranking[..shown].iter().map(|one| one.input.name.clone()).collect();
    let changes = found.ranking[..shown].iter().map(|one| one.change.value).collect();
    report
        .section("Ranking of the inputs")
        .text(&format!(
            "In each of {} samples one input at a time is taken from another sample (permutation importance, \
             doi:10.1023/A:1010933404324): the mean absolute change of {index}. Inputs that say the same share their \
             importance, so a low rank does not mean that the model could do without.",
            found.ranked_samples
        ))
        .svg(
            &format!("Mean absolute change of {index} when the input comes from another sample."),
            &bars("importance of inputs", &labels, &[("change".into(), changes)]),
        )
        .table(&["input", "change", "95 % interval", "rank", "95 % interval"], rows.collect())
}

fn map_section(mut report: Report, plan: &Plan, spec: &DataSpec, found: &Explanation) -> Report {
    let index = plan.index.name();
    report = report.section("Saliency maps").text(&format!(
        "Of each pixel: the change of its mean {index} per unit of a variable, by shifting that variable up and down by its \
         pulse. Of each patch of {} pixels: the change of the mean {index} of the whole part when the patch is levelled to \
         its surroundings, in all bands of the past at once or in one static layer.",
        plan.patch_px
    ));
    for (sample, map) in &found.maps {
        let id = &found.sample_ids[*sample];
        let unchanged = map.unchanged.mapv(|value| value as f32);
        let mut frames = vec![Frame::ramp(index, unchanged.view(), Ramp::Greens, (0.0, 1.0))];
        for (variable, gradient) in plan.variables.iter().zip(map.gradient.outer_iter()) {
            frames.push(difference(gradient, &format!("{}, per {}", variable.name, variable.unit)));
        }
        for (layer, occlusion) in layer_names(spec).iter().zip(map.occlusion.outer_iter()) {
            frames.push(difference(occlusion, &format!("without {layer}")));
        }
        report = report.frames(
            &format!("{id}: the forecast, its gradients by the weather, and the occlusion of the past and of the land."),
            &frames,
            &ramp_legend("change, each map on its own scale", Ramp::Diverging, (-1.0, 1.0)),
        );
        if let Some(owed) = &map.owed {
            report = owed_figures(report, plan, spec, id, owed);
        }
    }
    report
}

/// Gradients and integrated gradients of one sample.
fn owed_figures(report: Report, plan: &Plan, spec: &DataSpec, id: &str, owed: &Owed) -> Report {
    let index = plan.index.name();
    let mut frames = Vec::new();
    for (input, name) in spec.dynamic.iter().chain(&spec.statics).enumerate() {
        frames.push(difference(owed.slope.index_axis(Axis(0), input), &format!("{name}, gradient")));
        frames.push(difference(owed.part.index_axis(Axis(0), input), &format!("{name}, part")));
    }
    let [here, there] = owed.values;
    let report = report
        .text(&format!(
            "Integrated gradients (doi:10.48550/arXiv.1703.01365) of {id}, along {} points from a sample of which every \
             input is its own mean: mean {index} {} there, {} here. The parts of all inputs add up to the difference but for \
             {}.",
            plan.gradient_points,
            number(there),
            number(here),
            number(owed.gap)
        ))
        .frames(
            &format!("{id}: gradient of the mean {index} by the past and the land, and the part of each pixel."),
            &frames,
            &ramp_legend("each map on its own scale", Ramp::Diverging, (-1.0, 1.0)),
        );
    if spec.weather.is_empty() {
        return report;
    }
    let steps: Vec<String> = (0..owed.weather.ncols()).map(|step| step.to_string()).collect();
    let values: Vec<Vec<f64>> = owed.weather.outer_iter().map(|row| row.to_vec()).collect();
    report.svg(
        &format!(
            "{id}: part of the weather (rows) of each step (columns, from the first context step) in {index}."
        ),
        &heat("integrated gradients of the weather", &spec.weather, &steps, &values),
    )
}

/// A map of changes on a scale of its own, whose end is in the label.
fn difference(values: ArrayView2<'_, f64>, label: &str) -> Frame {
    let values = values.mapv(|value| value as f32);
    let most =
        values.iter().filter(|value| value.is_finite()).fold(0.0_f32, |most, value| most.max(value.abs()));
    let label = format!("{label}: ±{}", number(f64::from(most)));
    Frame::ramp(label, values.view(), Ramp::Diverging, symmetric(most))
}
