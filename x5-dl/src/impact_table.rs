//! Impact indexes as files: GeoParquet, CSV, and a page with the regions over time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use geo::Geometry;
use minicube::report::{LinePlot, Report, Series, Style, lines};
use minicube::run::Failure;
use minicube::{from_cf_day, geo_column, write_csv, write_table};
use serde_json::{Value, json};

use crate::regions::Region;
use crate::score::impact::Impact;

/// Regions drawn in the report.
const DRAWN: usize = 6;

/// Writes `impact.parquet`, `impact.csv` and `impact.html`.
///
/// # Errors
/// A [`Failure`] if a file cannot be written.
pub(crate) fn write_tables(
    folder: &Path,
    model: &str,
    regions: &[Region],
    rows: &[Row],
) -> Result<(), Failure> {
    let (batch, geo) = as_columns(regions, rows)?;
    let own =
        json!({"minicube_schema": "impact", "schema_version": minicube::SCHEMA_VERSION, "model": model});
    let keys = [("geo", geo), ("minicube", own)];
    write_table(&folder.join("impact.parquet"), &batch.schema(), &keys, [Ok(batch.clone())])?;
    write_csv(&folder.join("impact.csv"), &batch)?;
    page(model, rows).write(&folder.join("impact.html"))?;
    Ok(())
}

/// A region in a window of days.
pub(crate) struct Row {
    pub(crate) region: usize,
    pub(crate) name: String,
    pub(crate) days: u32,
    pub(crate) begin: i32,
    pub(crate) end: i32,
    pub(crate) samples: i64,
    pub(crate) lead: f64,
    pub(crate) forecast: Impact,
    pub(crate) observed: Option<Impact>,
}

/// A number of a row; NaN where there is none.
type Number = fn(&Row) -> f64;

/// Names of the numbers, and how each is taken from a row.
const NUMBERS: [(&str, Number); 14] = [
    ("lead_days", |row| row.lead),
    ("pixels", |row| row.forecast.pixels as f64),
    ("kndvi", |row| row.forecast.kndvi),
    ("kndvi_usual", |row| row.forecast.expected),
    ("anomaly", |row| row.forecast.anomaly),
    ("z", |row| row.forecast.z),
    ("percentile", |row| row.forecast.percentile),
    ("impacted", |row| row.forecast.impacted),
    ("observed_pixels", |row| row.observed.map_or(0.0, |observed| observed.pixels as f64)),
    ("observed_kndvi", |row| of_observed(row, |observed| observed.kndvi)),
    ("observed_anomaly", |row| of_observed(row, |observed| observed.anomaly)),
    ("observed_z", |row| of_observed(row, |observed| observed.z)),
    ("observed_percentile", |row| of_observed(row, |observed| observed.percentile)),
    ("observed_impacted", |row| of_observed(row, |observed| observed.impacted)),
];

fn of_observed(row: &Row, number: fn(&Impact) -> f64) -> f64 {
    row.observed.as_ref().map_or(f64::NAN, number)
}

impl Row {
    fn texts(&self) -> [String; 5] {
        [
            self.name.clone(),
            self.days.to_string(),
            from_cf_day(self.begin).to_string(),
            from_cf_day(self.end).to_string(),
            self.samples.to_string(),
        ]
    }
}

/// The rows as columns, their shapes at the end, and the key that describes these.
fn as_columns(regions: &[Region], rows: &[Row]) -> Result<(RecordBatch, Value), Failure> {
    let shapes: Vec<Geometry<f64>> = rows.iter().map(|row| regions[row.region].shape.clone()).collect();
    let (geometry, key) = geo_column(&shapes).map_err(Failure::new)?;
    let text = |of: &dyn Fn(&Row) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    let whole =
        |of: &dyn Fn(&Row) -> i64| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("region", text(&|row| row.name.clone())),
        ("window_days", whole(&|row| i64::from(row.days))),
        ("start_date", text(&|row| from_cf_day(row.begin).to_string())),
        ("end_date", text(&|row| from_cf_day(row.end).to_string())),
        ("samples", whole(&|row| row.samples)),
    ];
    for (name, of) in NUMBERS {
        let finite = |row: &Row| Some(of(row)).filter(|value| value.is_finite());
        columns.push((
            name,
            match name.ends_with("pixels") {
                true => whole(&|row: &Row| of(row) as i64),
                false => Arc::new(rows.iter().map(finite).collect::<Float64Array>()),
            },
        ));
    }
    columns.push(("geometry", geometry));
    let nullable = |name: &str| name.starts_with("observed");
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), nullable(name)))
        .collect();
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Failure::new)?;
    Ok((batch, key))
}

/// Those furthest below what is usual first.
pub(crate) fn worst_first(rows: &[Row]) -> Vec<&Row> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|a, b| a.forecast.z.total_cmp(&b.forecast.z));
    sorted
}

fn page(model: &str, rows: &[Row]) -> Report {
    let longest = rows.iter().map(|row| row.days).max().unwrap_or(0);
    let middle = |row: &&Row| f64::from(row.begin + row.end) / 2.0;
    let windows: BTreeSet<u32> = rows.iter().map(|row| row.days).collect();
    let mut page = Report::new(&format!("Impact on vegetation: {model}"))
        .lead(
            "How far the forecast kNDVI of vegetation is from what is usual for its land cover and the time of year. z is in \
             standard deviations of the training split; a pixel is impacted where it is below its tenth percentile.",
        )
        .section("Furthest below what is usual");
    let mut columns = vec!["region", "days", "from", "to", "samples"];
    columns.extend(NUMBERS.iter().map(|(name, _)| *name));
    let cells = |row: &Row| {
        let number = |(_, of): &(&str, Number)| {
            let value = of(row);
            match value {
                _ if !value.is_finite() => "–".to_owned(),
                _ if value.fract() == 0.0 => value.to_string(),
                _ => format!("{value:.3}"),
            }
        };
        row.texts().into_iter().chain(NUMBERS.iter().map(number)).collect::<Vec<String>>()
    };
    page = page.table(&columns, worst_first(rows).into_iter().take(20).map(cells).collect());
    page = page.section("Regions over time");
    let mut drawn: Vec<usize> = worst_first(rows).iter().map(|row| row.region).collect();
    let mut seen = BTreeSet::new();
    drawn.retain(|region| seen.insert(*region));
    let days = windows.iter().copied().find(|&days| days >= 30).unwrap_or(longest);
    for region in drawn.into_iter().take(DRAWN) {
        let of_region: Vec<&Row> =
            rows.iter().filter(|row| row.region == region && row.days == days).collect();
        let series = |name: &str, of: Number| Series {
            name: name.to_owned(),
            points: of_region.iter().map(|row| (middle(row), of(row))).collect(),
            style: Style::LinePoints,
        };
        let name = of_region.first().map_or("", |row| row.name.as_str());
        let plot = LinePlot {
            title: name,
            x_label: "middle of the window",
            y_label: "z",
            series: vec![
                series("forecast", |row| row.forecast.z),
                series("observed", |row| of_observed(row, |observed| observed.z)),
            ],
            x_is_date: true,
        };
        page = page.svg(&format!("{name}, windows of {days} days"), &lines(&plot));
    }
    page
}
