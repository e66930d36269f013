//! Forecasts as impact indexes of regions, against numbers that are worked out from the same files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use minicube::{Cube, from_cf_day, write_table};

use crate::project::Project;

const CONFIG: &str = r#"
context_steps = 6
target_steps = 12
vegetation = []

[[train.models]]
name = "rnn"
model = "rnn"
weather = ["tp_mean", "t2m_mean"]
hidden = [4]
steps = 1
pixels = 8
"#;

/// Usual kNDVI of .3 ± .1 at any time, for all land.
fn climatology(path: &Path) {
    let bins: Vec<i32> = (0..37).collect();
    let number = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value; 37])) };
    let batch = RecordBatch::try_from_iter([
        ("landcover", Arc::new(Int32Array::from(vec![0; 37])) as ArrayRef),
        ("climate", Arc::new(StringArray::from(vec!["all"; 37]))),
        ("bin", Arc::new(Int32Array::from(bins))),
        ("kndvi_mean", number(0.3)),
        ("kndvi_std", number(0.1)),
    ])
    .unwrap();
    write_table(path, &batch.schema(), &[], [Ok(batch)]).unwrap();
}

fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    let header = lines.next().unwrap();
    lines.map(|line| header.iter().cloned().zip(line).collect()).collect()
}

#[test]
fn indexes_are_those_worked_out_from_the_forecast() {
    let project = Project::new((6, 20, 8), CONFIG);
    let dir = project.path();
    climatology(&dir.join("level2/climatology.parquet"));
    let (code, said) = project.act("aggregate", &[]);
    assert!(
        code == Some(2) && said.contains("expected the forecasts of the model") && said.contains("x5-dl run"),
        "{said}"
    );
    assert_eq!(project.act("run", &[]).0, Some(0));
    let (code, said) = project.act("aggregate", &["--windows", "30", "--threads", "1"]);
    assert_eq!(code, Some(0), "{said}");
    let folder = dir.join("models/rnn");
    let rows = table(&folder.join("impact.csv"));
    let bytes = fs::read(folder.join("impact.parquet")).unwrap();

    // The first window of the first cube, pixel by pixel.
    let cube = Cube::open(&folder.join("forecast.zarr"), "forecast").unwrap();
    let ids = cube.read_strings("cube_id").unwrap();
    let dates: Vec<i32> = cube.read_region::<i32>("date", &[0, 0], &[1, 12]).unwrap().into_iter().collect();
    let row = rows.iter().find(|row| row["region"] == ids[0]).unwrap();
    let inside = |day: i32| {
        let text = from_cf_day(day).to_string();
        (row["start_date"].as_str()..=row["end_date"].as_str()).contains(&text.as_str())
    };
    let steps: Vec<usize> = (0..12).filter(|&t| inside(dates[t])).collect();
    assert!(!steps.is_empty() && steps.len() <= 3 && steps[0] == 0, "{row:?}");
    let frames = cube.read_region::<f32>("kndvi", &[0; 4], &[1, 12, 8, 8]).unwrap();
    let means: Vec<f64> = (0..64)
        .map(|p| {
            steps.iter().map(|&t| f64::from(frames[[0, t, p / 8, p % 8]])).sum::<f64>() / steps.len() as f64
        })
        .collect();
    let mean = means.iter().sum::<f64>() / 64.0;
    let number = |name: &str| row[name].parse::<f64>().unwrap();
    assert_eq!((row["samples"].as_str(), row["pixels"].as_str()), ("1", "64"));
    assert!((number("kndvi") - mean).abs() < 1e-6 && (number("kndvi_usual") - 0.3).abs() < 1e-12);
    assert!(
        (number("anomaly") - (mean - 0.3)).abs() < 1e-6 && (number("z") - (mean - 0.3) / 0.1).abs() < 1e-5
    );
    let impacted = means.iter().filter(|&&value| (value - 0.3) / 0.1 < -1.281_551_565_5).count();
    assert!((number("impacted") - impacted as f64 / 64.0).abs() < 1e-6);
    assert!(number("observed_pixels") > 0.0 && number("lead_days") > 0.0);

    // The bytes do not depend on the number of threads; a region that holds all cubes has all of their samples.
    assert_eq!(project.act("aggregate", &["--windows", "30", "--threads", "3"]).0, Some(0));
    assert_eq!(fs::read(folder.join("impact.parquet")).unwrap(), bytes);
    let square = "[[[20,-40],[40,-40],[40,0],[20,0],[20,-40]]]";
    let regions = dir.join("all.geojson");
    let feature = format!(
        r#"{{"type":"Feature","properties":{{"name":"south"}},"geometry":{{"type":"Polygon","coordinates":{square}}}}}"#
    );
    fs::write(&regions, feature).unwrap();
    let (code, said) =
        project.act("aggregate", &["--windows", "366", "--regions", regions.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("1 regions"), "{said}");
    let whole = table(&folder.join("impact.csv"));
    assert!(whole.iter().all(|row| row["region"] == "south"));
    let page = fs::read_to_string(folder.join("impact.html")).unwrap();
    assert!(page.contains("south") && page.contains("<svg"));

    let (code, said) = project.act("aggregate", &["--model", "other"]);
    assert!(code == Some(2) && said.contains("expected one of rnn"), "{said}");
    fs::write(&regions, r#"{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}"#).unwrap();
    let (code, said) = project.act("aggregate", &["--regions", regions.to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("expected pixels of vegetation in 1 regions"), "{said}");
}
