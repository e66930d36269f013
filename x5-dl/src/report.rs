//! The page that shows what a model learnt.

use std::path::Path;

use minicube::Cube;
use minicube::report::{LinePlot, Ramp, Report, Series, Style, bars, lines, strip};
use ndarray::{Array3, ArrayView2, Axis, s};

use crate::error::Error;
use crate::forecast_store::{layer, only_observed};
use crate::forecaster::ModelFile;
use crate::harness::checkpoint::Metric;
use crate::plan::ModelPlan;
use crate::score::quantiles::QuantileScore;
use crate::score::summary::Score;

/// Samples shown as strips.
const STRIPS: usize = 3;
/// Frames of a strip.
const FRAMES: usize = 9;
/// Pixels shown as curves.
const CURVES: usize = 3;

/// Builds the report of a model folder; `remarks` are what must not be overlooked.
pub(crate) fn report(
    plan: &ModelPlan,
    folder: &Path,
    metrics: &[Metric],
    scores: &[Score],
    remarks: &[String],
) -> Result<Report, Error> {
    let file = ModelFile::read(folder)?;
    let mut page = Report::new(&format!("Model {}", plan.name))
        .lead(&format!(
            "{} context steps, {} forecast steps of {}; weather: {}. Validation loss {:.5} at step {} of {}, whose weights are kept. Computed by {}.",
            file.data.context_steps,
            file.data.target_steps,
            file.data.dynamic.join(", "),
            file.data.weather.join(", "),
            file.best_validation_loss,
            file.best_step,
            file.steps,
            plan.compute.text()
        ));
    page = page.remarks(remarks).section("Training");
    page = match metrics {
        [] => page.text("Not trained here: the weights are those of a file."),
        _ => page.svg(
            "Loss on the training examples of each interval and on fixed validation examples.",
            &loss_curve(metrics),
        ),
    };
    page = page.section("Scores").text(COLUMNS_TEXT).table(&COLUMNS, scores.iter().map(row).collect());
    let quantiles: Vec<Vec<String>> = scores.iter().flat_map(quantile_rows).collect();
    if !quantiles.is_empty() {
        page = page.text(QUANTILES_TEXT).table(&["split", "quantile", "below", "loss"], quantiles);
    }
    page = seasonal(page, scores);
    if let Some(svg) = error_by_lead(scores) {
        page = page.svg("Mean absolute error of kNDVI by lead step.", &svg);
    }
    if let Some(svg) = earthnet_bars(scores) {
        page = page.svg("Components of the EarthNetScore.", &svg);
    }
    examples(page.section("Examples"), folder, &file)
}

pub(crate) const COLUMNS: [&str; 16] = [
    "split",
    "forecaster",
    "samples",
    "MAE kNDVI",
    "RMSE",
    "bias",
    "R²",
    "NSE",
    "RMSE by pixel",
    "veg score",
    "outperforms",
    "ENS",
    "MAD",
    "OLS",
    "EMD",
    "SSIM",
];

/// What the columns say.
pub(crate) const COLUMNS_TEXT: &str = "Errors are of kNDVI = tanh(NDVI²) on observed vegetation pixels; the published figures of the \
     deliverable are larger by 1/tanh(1) = 1.313, because it rescales kNDVI to 0..1. R² to outperforms (the share of land \
     covers of cubes that are clearly better than climatology) are GreenEarthNet's, of NDVI, or of kNDVI for a model of \
     that alone, on pixels that are observed at least 10 times with a standard deviation above 0.1. ENS is the \
     EarthNetScore, larger is better.";

/// The score's cells.
pub(crate) fn row(score: &Score) -> Vec<String> {
    let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.4}"));
    let index = score.kndvi.as_ref();
    let earthnet = score.earthnet.as_ref();
    let greenness = score.greenness.as_ref();
    let component = |pick: fn(&crate::score::ens::EnsComponents) -> Option<f64>| {
        number(earthnet.and_then(|e| pick(&e.components)))
    };
    vec![
        score.split.clone(),
        score.forecaster.clone(),
        score.samples.to_string(),
        number(index.map(|e| e.mae)),
        number(index.map(|e| e.rmse)),
        number(index.map(|e| e.bias)),
        number(greenness.map(|g| g.r2)),
        number(greenness.map(|g| g.nse)),
        number(greenness.map(|g| g.rmse)),
        number(greenness.and_then(|g| g.veg_score)),
        number(greenness.and_then(|g| g.outperformance)),
        number(earthnet.and_then(|e| e.ens)),
        component(|c| c.mad),
        component(|c| c.ols),
        component(|c| c.emd),
        component(|c| c.ssim),
    ]
}

const SEASONAL_TEXT: &str = "kNDVI of vegetation beside the mean seasonal cycle of its own pixels, over all years that Level 2 \
     holds of a cube and by tens of days; only tens that two years have count. The size of the anomalies is the error of \
     forecasting the cycle itself, which knows the scored year too; r is the correlation of forecast and observed anomalies.";

/// Models beside the seasonal cycle, where there are several years.
pub(crate) fn seasonal(page: Report, scores: &[Score]) -> Report {
    let row = |score: &Score| {
        let found = score.seasonal?;
        let numbers = [found.interannual_std, found.anomaly, found.mae].map(|v| format!("{v:.4}"));
        let correlation = found.anomaly_correlation.map_or("–".to_owned(), |r| format!("{r:.4}"));
        let names = vec![score.split.clone(), score.forecaster.clone(), found.cubes.to_string()];
        Some([names, numbers.to_vec(), vec![correlation]].concat())
    };
    let rows: Vec<Vec<String>> = scores.iter().filter_map(row).collect();
    if rows.is_empty() {
        return page;
    }
    let columns =
        ["split", "forecaster", "cubes", "std between years", "anomalies", "MAE kNDVI", "r of anomalies"];
    page.text(SEASONAL_TEXT).table(&columns, rows)
}

const QUANTILES_TEXT: &str = "Quantiles of kNDVI: the part of the observed values that is below each should be the quantile \
     itself. The loss is that of quantile regression, smaller is better.";

fn quantile_rows(score: &Score) -> Vec<Vec<String>> {
    let row = |quantile: &QuantileScore| {
        let numbers = [quantile.level, quantile.below, quantile.loss].map(|v| format!("{v:.4}"));
        [vec![score.split.clone()], numbers.to_vec()].concat()
    };
    score.quantiles.iter().map(row).collect()
}

fn loss_curve(metrics: &[Metric]) -> String {
    let series = |name: &str, value: fn(&Metric) -> f64| Series {
        name: name.into(),
        points: metrics.iter().map(|m| (m.step as f64, value(m))).collect(),
        style: Style::LinePoints,
    };
    lines(&LinePlot {
        title: "Loss",
        x_label: "step",
        y_label: "loss",
        series: vec![series("training", |m| m.train_loss), series("validation", |m| m.validation_loss)],
        x_is_date: false,
    })
}

fn error_by_lead(scores: &[Score]) -> Option<String> {
    let series: Vec<Series> = scores
        .iter()
        .filter_map(|score| {
            let errors = score.kndvi.as_ref()?;
            let point = |(t, v): (usize, &Option<f64>)| ((t + 1) as f64, v.unwrap_or(f64::NAN));
            Some(Series {
                name: format!("{} ({})", score.forecaster, score.split),
                points: errors.mae_by_lead.iter().enumerate().map(point).collect(),
                style: Style::Line,
            })
        })
        .collect();
    (!series.is_empty()).then(|| {
        lines(&LinePlot {
            title: "Error by lead",
            x_label: "steps after the last observation",
            y_label: "MAE of kNDVI",
            series,
            x_is_date: false,
        })
    })
}

fn earthnet_bars(scores: &[Score]) -> Option<String> {
    let groups: Vec<(String, Vec<f64>)> = scores
        .iter()
        .filter_map(|score| {
            let e = score.earthnet.as_ref()?;
            let c = &e.components;
            let values = [e.ens, c.mad, c.ols, c.emd, c.ssim].map(|v| v.unwrap_or(0.0));
            Some((format!("{} ({})", score.forecaster, score.split), values.to_vec()))
        })
        .collect();
    let labels = ["ENS", "MAD", "OLS", "EMD", "SSIM"].map(str::to_owned);
    (!groups.is_empty()).then(|| bars("EarthNetScore", &labels, &groups))
}

/// Strips of observed truth and forecast, and pixel curves, of the first samples of the forecast store.
fn examples(mut page: Report, folder: &Path, file: &ModelFile) -> Result<Report, Error> {
    let cube = Cube::open(&folder.join("forecast.zarr"), "forecast")?;
    let ids = cube.read_strings("sample_id")?;
    // The last channel: kNDVI itself, or the near infrared.
    let Some(channel) = file.data.dynamic.last() else { return Ok(page) };
    for (k, id) in ids.iter().enumerate().take(STRIPS) {
        let mut truth = layer(&cube, &format!("truth_{channel}"), k)?;
        only_observed(&cube, k, &mut truth)?;
        let forecast = layer(&cube, channel, k)?;
        let every = truth.len_of(Axis(0)).div_ceil(FRAMES).max(1);
        let pick = |a: &Array3<f32>| a.slice(s![..;every, .., ..]).to_owned();
        let (truth_part, forecast_part) = (pick(&truth), pick(&forecast));
        let range = limits(&truth);
        for (what, part) in [("truth (grey: not observed)", &truth_part), ("forecast", &forecast_part)] {
            let views: Vec<ArrayView2<'_, f32>> = part.outer_iter().collect();
            let (width, height, rgb) = strip(&views, Ramp::Greens, range);
            let caption = format!(
                "{id}: {what} of {channel}, every {every} steps, colours from {:.2} to {:.2}.",
                range.0, range.1
            );
            page = page.png(&caption, width, height, &rgb);
        }
        if k < CURVES {
            page = page.svg(
                &format!("{id}: the pixel in the middle."),
                &curve(&cube, k, channel, &truth, &forecast)?,
            );
        }
    }
    Ok(page)
}

fn curve(
    cube: &Cube,
    k: usize,
    channel: &str,
    truth: &Array3<f32>,
    forecast: &Array3<f32>,
) -> Result<String, Error> {
    let steps = truth.len_of(Axis(0));
    let dates = cube.read_region::<i32>("date", &[k as u64, 0], &[1, steps as u64])?;
    let (y, x) = (truth.dim().1 / 2, truth.dim().2 / 2);
    let series = |name: &str, from: &Array3<f32>| Series {
        name: name.into(),
        points: dates.iter().enumerate().map(|(t, &d)| (f64::from(d), f64::from(from[[t, y, x]]))).collect(),
        style: Style::LinePoints,
    };
    Ok(lines(&LinePlot {
        title: &format!("{channel} at row {y}, column {x}"),
        x_label: "date",
        y_label: channel,
        series: vec![series("truth", truth), series("forecast", forecast)],
        x_is_date: true,
    }))
}

/// The 2nd and 98th percentile of the finite values.
fn limits(values: &Array3<f32>) -> (f32, f32) {
    let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if finite.is_empty() {
        return (0.0, 1.0);
    }
    finite.sort_by(f32::total_cmp);
    let at = |share: usize| finite[(finite.len() - 1) * share / 100];
    (at(2), at(98).max(at(2) + 1e-3))
}
