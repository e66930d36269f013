//! `compare`: the models of a project side by side on the same pixels, as the deliverable's figures 6-2 to 6-4 do.

use minicube::report::{Frame, LinePlot, Ramp, Report, Series, Style, bars, lines, ramp_legend};
use minicube::run::{Failure, Finish};
use minicube::{Cube, is_sealed, plan_hash};
use ndarray::{Array3, Array4, Axis, Slice};

use crate::data::DataSpec;
use crate::data::dataset::Dataset;
use crate::error::Error;
use crate::forecast_store::{layer, only_observed};
use crate::plan::{ModelPlan, Plan};
use crate::report::{COLUMNS, COLUMNS_TEXT, row, seasonal};
use crate::run::Scores;
use crate::score::error_by_lead::kndvi;
use crate::score::landscape::{GEOMORPHONS, Gain, KsTest, gains};
use crate::score::summary::Score;

/// Pixels of all samples that are compared; of more every second, third, … row and column counts.
const PIXELS: usize = 4_000_000;
/// Samples shown as strips, and frames of a strip.
const STRIPS: usize = 3;
const FRAMES: usize = 9;
/// Bars of a distribution.
const BINS: usize = 60;

/// Names of the geomorphons from 1 on.
const FORMS: [&str; GEOMORPHONS as usize] =
    ["flat", "peak", "ridge", "shoulder", "spur", "slope", "hollow", "footslope", "valley", "pit"];

/// Puts the scores of all models in one table, compares their errors pixel by pixel, and writes
/// `models/comparison.html`. Models are compared with those of the same context and target steps.
///
/// # Errors
/// A [`Failure`] that names the first model that is not trained, or the file that cannot be read or written.
pub fn compare(plan: &Plan) -> Result<Finish, Failure> {
    let mut scores = Vec::new();
    for model in &plan.models {
        let folder = plan.models_dir.join(&model.name);
        if !is_sealed(&folder.join("forecast.zarr"), &plan_hash(model)) {
            return Err(Failure::new(format!(
                "{}: expected the forecasts of the model as it is configured now, found none",
                folder.display()
            ))
            .hint("train and score the models first: x5-dl run with the same project file"));
        }
        scores.extend(Scores::read(&folder)?.scores);
    }
    let board = leaderboard(scores);
    let mut page = Report::new("Comparison of models")
        .lead(&format!("{} models and their baselines, best first.", plan.models.len()))
        .section("Leaderboard")
        .text(COLUMNS_TEXT)
        .table(&COLUMNS, board.iter().map(row).collect());
    page = seasonal(page, &board);
    let mut text = format!("{:<6} {:<20} {:>9}\n", "split", "forecaster", "MAE kNDVI");
    for score in &board {
        let mae = score.kndvi.as_ref().map_or("–".to_owned(), |errors| format!("{:.4}", errors.mae));
        text.push_str(&format!("{:<6} {:<20} {mae:>9}\n", score.split, score.forecaster));
    }

    for models in peers(&plan.models) {
        let fields =
            models.iter().map(|model| PixelErrors::read(plan, model)).collect::<Result<Vec<_>, _>>()?;
        page = strips(page, plan, &models)?;
        page = distributions(page, &models, &fields);
        for (first, second) in pairs(&models) {
            let (a, b) = (&fields[first], &fields[second]);
            let found = gains(&a.errors, &b.errors, &a.forms);
            let samples = gains(&a.of_samples, &b.of_samples, &[]);
            let (page_now, line) =
                gain_section(page, &models[first].name, &models[second].name, &found, samples.first());
            page = page_now;
            text.push_str(&line);
        }
    }
    let path = plan.models_dir.join("comparison.html");
    page.write(&path)?;
    text.push_str(&format!("  report   {}", path.display()));
    Ok(Finish::text_only(text))
}

/// Each score once, by split, the smallest error first. Baselines of several models are one where they forecast the same
/// steps.
fn leaderboard(scores: Vec<Score>) -> Vec<Score> {
    let mut board: Vec<Score> = Vec::new();
    for score in scores {
        let same = |other: &&Score| {
            (
                &other.split,
                &other.forecaster,
                other.context_steps,
                other.target_steps,
                other.earthnet.is_some(),
            ) == (
                &score.split,
                &score.forecaster,
                score.context_steps,
                score.target_steps,
                score.earthnet.is_some(),
            )
        };
        if !board.iter().any(|other| same(&other)) {
            board.push(score);
        }
    }
    // A baseline that is forecast both as bands and as an index is off by another amount in each.
    let twice = |score: &Score| {
        let of = |score: &Score| {
            (score.split.clone(), score.forecaster.clone(), score.context_steps, score.target_steps)
        };
        score.earthnet.is_some()
            && board.iter().any(|other| other.earthnet.is_none() && of(other) == of(score))
    };
    let of_bands: Vec<bool> = board.iter().map(twice).collect();
    for (score, _) in board.iter_mut().zip(of_bands).filter(|(_, of_bands)| *of_bands) {
        score.forecaster.push_str(" (bands)");
    }
    let error = |score: &Score| score.kndvi.as_ref().map_or(f64::INFINITY, |errors| errors.mae);
    board.sort_by(|a, b| a.split.cmp(&b.split).then(error(a).total_cmp(&error(b))));
    board
}

/// Models that forecast the same steps of the same samples, in the order of the configuration.
fn peers(models: &[ModelPlan]) -> Vec<Vec<&ModelPlan>> {
    let mut groups: Vec<Vec<&ModelPlan>> = Vec::new();
    let key =
        |model: &ModelPlan| (model.data.context_steps, model.data.target_steps, model.score_splits.clone());
    for model in models {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| key(first) == key(model))) {
            Some(group) => group.push(model),
            None => groups.push(vec![model]),
        }
    }
    groups
}

/// All pairs, the earlier one first.
fn pairs(models: &[&ModelPlan]) -> Vec<(usize, usize)> {
    (0..models.len()).flat_map(|first| (first + 1..models.len()).map(move |second| (first, second))).collect()
}

/// Mean absolute error of kNDVI of each compared pixel over its observed steps, NaN where there are none or it is no
/// vegetation, and the pixel's geomorphon (0 where it is not known); and the mean of these errors in each sample.
struct PixelErrors {
    errors: Vec<f64>,
    forms: Vec<u8>,
    of_samples: Vec<f64>,
}

impl PixelErrors {
    fn read(plan: &Plan, model: &ModelPlan) -> Result<PixelErrors, Error> {
        let cube = Cube::open(&plan.models_dir.join(&model.name).join("forecast.zarr"), "forecast")?;
        let shape = cube.shape("mask")?;
        let pixels = shape.iter().map(|&n| n as usize).product::<usize>() / (shape[1] as usize).max(1);
        let every = (pixels as f64 / PIXELS as f64).sqrt().ceil().max(1.0) as usize;
        let mut found = PixelErrors { errors: Vec::new(), forms: Vec::new(), of_samples: Vec::new() };
        let mut sample = 0;
        for &split in &model.score_splits {
            let dataset = match Dataset::open(&plan.level2, split, &model.data) {
                Err(Error::NoSamples { .. }) => continue,
                found => found?,
            };
            for k in 0..dataset.len() {
                let (level2, place) = dataset.place(k);
                let errors = sample_errors(&cube, sample, model, every)?;
                let forms = forms(level2, place, every)?;
                found.forms.extend(forms.unwrap_or_else(|| vec![0; errors.len()]));
                found.of_samples.push(finite_mean(&errors));
                found.errors.extend(errors);
                sample += 1;
            }
        }
        Ok(found)
    }
}

/// Mean of the finite values; NaN of none.
fn finite_mean(values: &[f64]) -> f64 {
    let finite = values.iter().filter(|value| value.is_finite());
    let (sum, n) = finite.fold((0.0, 0u32), |(sum, n), value| (sum + value, n + 1));
    sum / f64::from(n)
}

/// Errors of one sample, row by row.
fn sample_errors(cube: &Cube, sample: usize, model: &ModelPlan, every: usize) -> Result<Vec<f64>, Error> {
    let (forecast, truth) = (frames(cube, "", sample, model)?, frames(cube, "truth_", sample, model)?);
    let mask = layer(cube, "mask", sample)?;
    let cover =
        if cube.has("static/landcover") { Some(layer(cube, "static/landcover", sample)?) } else { None };
    let classes = &model.scoring.vegetation;
    let counts = |y: usize, x: usize| match &cover {
        Some(cover) if !classes.is_empty() => classes.iter().any(|&c| f32::from(c) == cover[[0, y, x]]),
        _ => true,
    };
    let (steps, rows, cols) = forecast.dim();
    let mut errors = Vec::new();
    for y in (0..rows).step_by(every) {
        for x in (0..cols).step_by(every) {
            let differences = (0..steps)
                .filter(|&t| mask[[t, y, x]] == 0.0 && counts(y, x))
                .map(|t| f64::from(forecast[[t, y, x]]) - f64::from(truth[[t, y, x]]))
                .filter(|difference| difference.is_finite());
            let (sum, n) =
                differences.fold((0.0, 0u32), |(sum, n), difference| (sum + difference.abs(), n + 1));
            errors.push(sum / f64::from(n));
        }
    }
    Ok(errors)
}

/// Geomorphons of one sample of Level 2; `None` where it has none.
fn forms(level2: &Cube, place: usize, every: usize) -> Result<Option<Vec<u8>>, Error> {
    if !level2.has("static/geomorphon") {
        return Ok(None);
    }
    let forms = layer(level2, "static/geomorphon", place)?;
    let (_, rows, cols) = forms.dim();
    let of_row = |y: usize| (0..cols).step_by(every).map(move |x| (y, x));
    let at = |(y, x): (usize, usize)| {
        let form = forms[[0, y, x]];
        if form.is_finite() { form as u8 } else { 0 }
    };
    Ok(Some((0..rows).step_by(every).flat_map(of_row).map(at).collect()))
}

/// kNDVI `[step, y, x]` of the forecast or, with `truth_`, of the truth.
pub(crate) fn frames(
    cube: &Cube,
    prefix: &str,
    sample: usize,
    model: &ModelPlan,
) -> Result<Array3<f32>, Error> {
    let DataSpec { dynamic, .. } = &model.data;
    let channels = dynamic
        .iter()
        .map(|channel| layer(cube, &format!("{prefix}{channel}"), sample))
        .collect::<Result<Vec<_>, _>>()?;
    let (steps, rows, cols) = channels.first().map_or((0, 0, 0), Array3::dim);
    let mut stacked = Array4::zeros((steps, channels.len(), rows, cols));
    for (mut into, channel) in stacked.axis_iter_mut(Axis(1)).zip(&channels) {
        into.assign(channel);
    }
    kndvi(stacked.view(), dynamic, model.scoring.ndvi_epsilon).ok_or_else(|| Error::NoVariable {
        path: cube.path().to_owned(),
        variable: "kndvi, ndvi, or red and nir".into(),
        found: dynamic.join(", "),
    })
}

/// Truth and forecasts of the first samples as frames.
fn strips(mut page: Report, plan: &Plan, models: &[&ModelPlan]) -> Result<Report, Error> {
    let Some(first) = models.first() else { return Ok(page) };
    page = page.section(&format!(
        "Truth and forecasts, {} steps after {}",
        first.data.target_steps, first.data.context_steps
    ));
    let open =
        |model: &ModelPlan| Cube::open(&plan.models_dir.join(&model.name).join("forecast.zarr"), "forecast");
    let cubes = models.iter().map(|model| Ok(open(model)?)).collect::<Result<Vec<_>, Error>>()?;
    let ids = cubes[0].read_strings("sample_id")?;
    let range = (0.0, 0.76);
    for (sample, id) in ids.iter().enumerate().take(STRIPS) {
        let mut truth = frames(&cubes[0], "truth_", sample, first)?;
        only_observed(&cubes[0], sample, &mut truth)?;
        let rows = std::iter::once(Ok(("truth (grey: not observed)".to_owned(), truth)))
            .chain(
                models
                    .iter()
                    .zip(&cubes)
                    .map(|(model, cube)| Ok((model.name.clone(), frames(cube, "", sample, model)?))),
            )
            .collect::<Result<Vec<_>, Error>>()?;
        for (name, frames) in rows {
            let every = frames.len_of(Axis(0)).div_ceil(FRAMES).max(1);
            let some = frames.slice_axis(Axis(0), Slice::new(0, None, every as isize));
            let drawn: Vec<Frame> = some
                .outer_iter()
                .enumerate()
                .map(|(k, frame)| Frame::ramp(format!("step {}", k * every + 1), frame, Ramp::Greens, range))
                .collect();
            page = page.frames(&format!("{id}: {name}"), &drawn, &ramp_legend("kNDVI", Ramp::Greens, range));
        }
    }
    Ok(page)
}

/// How the errors of the pixels are distributed.
fn distributions(page: Report, models: &[&ModelPlan], fields: &[PixelErrors]) -> Report {
    let mut finite: Vec<f64> =
        fields.iter().flat_map(|field| &field.errors).copied().filter(|error| error.is_finite()).collect();
    if finite.is_empty() {
        return page.text("No pixel of vegetation was observed, so there are no errors to compare.");
    }
    finite.sort_unstable_by(f64::total_cmp);
    let end = finite[(finite.len() - 1) * 99 / 100].max(1e-6);
    let series = models.iter().zip(fields).map(|(model, field)| {
        let mut counts = [0u64; BINS];
        let known: Vec<f64> = field.errors.iter().copied().filter(|error| error.is_finite()).collect();
        for error in &known {
            if let Some(count) = counts.get_mut((error / end * BINS as f64) as usize) {
                *count += 1;
            }
        }
        let share = |count: u64| 100.0 * count as f64 / known.len().max(1) as f64;
        let middle = |bin: usize| (bin as f64 + 0.5) * end / BINS as f64;
        Series {
            name: model.name.clone(),
            points: counts.iter().enumerate().map(|(bin, &count)| (middle(bin), share(count))).collect(),
            style: Style::Line,
        }
    });
    let plot = LinePlot {
        title: "Errors of the pixels",
        x_label: "mean absolute error of kNDVI over the forecast steps",
        y_label: "share of pixels, %",
        series: series.collect(),
        x_is_date: false,
    };
    page.section("Distribution of the errors").svg(
        "Vegetation pixels, observed steps; the largest hundredth of the errors is not drawn.",
        &lines(&plot),
    )
}

/// What the second model gains over the first, by geomorphon and in whole samples, for the page and the terminal.
fn gain_section(
    page: Report,
    first: &str,
    second: &str,
    found: &[Gain],
    samples: Option<&Gain>,
) -> (Report, String) {
    let name = |form: u8| match form {
        0 => "all pixels",
        form => FORMS.get(usize::from(form) - 1).copied().unwrap_or("unknown"),
    };
    let (Some(all), Some(samples)) = (found.first(), samples) else { return (page, String::new()) };
    let told = |gain: &Gain| {
        let KsTest { statistic, .. } = gain.test;
        format!("{:.2} %, Kolmogorov–Smirnov D {statistic:.4}, p {}", gain.median, gain.test.p_text())
    };
    let line = format!("{second} over {first}: median gain {}; of samples {}\n", told(all), told(samples));
    let row = |name: &str, gain: &Gain| {
        vec![
            name.to_owned(),
            gain.count.to_string(),
            format!("{:.2} %{}", gain.median, gain.test.stars()),
            format!("{:.4}", gain.test.statistic),
            gain.test.p_text(),
        ]
    };
    let whole = std::iter::once(row("whole samples", samples));
    let rows = whole.chain(found.iter().map(|gain| row(name(gain.form), gain)));
    let mut page = page
        .section(&format!("{second} over {first}, by landform"))
        .text(
            "The gain of a pixel is 1 − error of the second / error of the first; the table has its median. The test asks \
             whether the first model's errors are larger anywhere (one-sided Kolmogorov–Smirnov); *** is p < 0.001, \
             ** p < 0.01, * p < 0.05. Neighbouring pixels are not independent, so small p of pixels say less than they seem to: the \
             first row is of the samples' mean errors, one number each.",
        )
        .table(&["landform", "number", "median gain", "KS statistic", "p"], rows.collect());
    if found.len() > 1 {
        let labels: Vec<String> =
            found.iter().map(|gain| format!("{}{}", name(gain.form), gain.test.stars())).collect();
        let values = found.iter().map(|gain| gain.median).collect();
        let drawn = bars("Median gain, %", &labels, &[(format!("{second} over {first}"), values)]);
        page = page.svg("Median gain by landform; stars as in the table.", &drawn);
    }
    (page, line)
}
