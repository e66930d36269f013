//! The verb `score` on files as other tools write them.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use minicube::Npz;
use ndarray::{Array4, ArrayD, Axis, s};
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const CUBE: &str = "29SQC_2017-07-02_2017-11-28_2105_2233_569_697_32_112_8_88.npz";

/// An archive with one array of 32-bit floats.
fn npz(path: &Path, name: &str, array: &ArrayD<f32>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let shape: Vec<String> = array.shape().iter().map(usize::to_string).collect();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", shape.join(", "));
    header.push('\n');
    let mut file = ZipWriter::new(File::create(path).unwrap());
    file.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
    file.write_all(b"\x93NUMPY\x01\x00").unwrap();
    file.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let bytes: Vec<u8> = array.iter().flat_map(|value| value.to_le_bytes()).collect();
    file.write_all(&bytes).unwrap();
    file.finish().unwrap();
}

/// `[y, x, band, time]` of 8 × 8 pixels and six frames; the fifth band is the mask.
fn observed() -> Array4<f32> {
    Array4::from_shape_fn((8, 8, 5, 6), |(y, x, band, t)| {
        let wave = ((y * 3 + x * 5 + t * 7) % 11) as f32 / 40.0;
        if band == 4 { 0.0 } else { 0.1 + 0.1 * band as f32 + wave }
    })
}

fn score(folder: &Path) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_x5-dl"))
        .args(["score", "--predictions"])
        .arg(folder.join("predictions"))
        .arg("--targets")
        .arg(folder.join("targets"))
        .output()
        .unwrap();
    let said = [output.stdout.clone(), output.stderr.clone()].concat();
    (output, String::from_utf8_lossy(&said).into_owned())
}

fn scores(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("predictions/score/scores.json")).unwrap()).unwrap()
}

#[test]
fn a_perfect_forecast_scores_one_and_the_best_of_several_counts() {
    let dir = tempfile::tempdir().unwrap();
    let target = observed();
    npz(
        &dir.path().join("targets/29SQC").join(format!("target_{CUBE}")),
        "highresdynamic",
        &target.clone().into_dyn(),
    );
    // Only the last four frames, under another name, with a further band.
    let last = target.slice(s![.., .., .., 2..]).to_owned();
    npz(&dir.path().join("predictions/29SQC").join(format!("exact_{CUBE}")), "forecast", &last.into_dyn());
    let flat = Array4::from_elem((8, 8, 4, 6), 0.4f32);
    npz(
        &dir.path().join("predictions/29SQC").join(format!("flat_{CUBE}")),
        "highresdynamic",
        &flat.into_dyn(),
    );
    let (output, said) = score(dir.path());
    assert!(output.status.success(), "{said}");
    let found = scores(dir.path());
    for component in ["ENS", "MAD", "OLS", "EMD", "SSIM"] {
        assert!((found[component].as_f64().unwrap() - 1.0).abs() < 1e-6, "{component}: {found}");
    }
    let of_cube = found["cubes"][CUBE].as_array().unwrap();
    assert_eq!(of_cube[0]["prediction"], format!("29SQC/exact_{CUBE}"));
    assert!(of_cube[1]["ENS"].as_f64().unwrap() < 0.9);
    let page = fs::read_to_string(dir.path().join("predictions/score/report.html")).unwrap();
    assert!(page.contains(CUBE) && page.contains("<svg"));

    let (_, said) = score(dir.path());
    assert!(said.contains("nothing to do"), "{said}");
}

#[test]
fn what_does_not_fit_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let target = observed().into_dyn();
    let other = CUBE.replace("2105_2233", "1000_1128");
    npz(&dir.path().join("targets").join(format!("target_{CUBE}")), "highresdynamic", &target);
    let (output, said) = score(dir.path());
    assert!(output.status.code() == Some(2) && said.contains("predictions: cannot list"), "{said}");

    fs::create_dir_all(dir.path().join("predictions")).unwrap();
    let (_, said) = score(dir.path());
    assert!(said.contains("expected forecasts of cubes") && said.contains("hint: "), "{said}");

    // A target without a forecast is a gap; so is a forecast without a target.
    npz(&dir.path().join("targets").join(format!("target_{other}")), "highresdynamic", &target);
    npz(&dir.path().join("predictions").join(CUBE), "highresdynamic", &target);
    let stray = CUBE.replace("29SQC", "30SQC");
    npz(&dir.path().join("predictions").join(&stray), "highresdynamic", &target);
    let (output, said) = score(dir.path());
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no forecast of this cube") && said.contains("no target of this name"), "{said}");
    let manifest = fs::read_to_string(dir.path().join("predictions/score/run.json")).unwrap();
    assert!(manifest.contains(&other) && manifest.contains(&stray), "{manifest}");

    let narrow = Array4::<f32>::zeros((8, 7, 4, 6)).into_dyn();
    npz(&dir.path().join("predictions").join(CUBE), "highresdynamic", &narrow);
    let (output, said) = score(dir.path());
    assert!(
        output.status.code() == Some(2) && said.contains("[6, 4, 8, 8]") && said.contains("[6, 4, 8, 7]"),
        "{said}"
    );
    npz(&dir.path().join("predictions/cube_1.npz"), "highresdynamic", &target);
    assert!(score(dir.path()).1.contains("cube_1.npz: expected a name like"));
}

/// The real cubes of EarthNet2021, each forecast by the mean of its context, against what the package `earthnet` 0.3.11
/// gives for the same files (with the data range of 2 that it assumes, and its noise in OLS).
#[test]
fn real_cubes_score_as_the_package_scores_them() {
    let Some(folder) = minicube::testing::real("earthnet2021") else { return };
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(cube) = name.strip_prefix("context_") else {
            fs::create_dir_all(dir.path().join("targets")).unwrap();
            fs::copy(&path, dir.path().join("targets").join(&name)).unwrap();
            continue;
        };
        let context = Npz::open(&path).unwrap().read("highresdynamic").unwrap();
        let context = context.into_dimensionality::<ndarray::Ix4>().unwrap();
        let mut mean = Array4::zeros((128, 128, 4, 20));
        for ((y, x, band), out) in ndarray::indices((128, 128, 4)).into_iter().zip(mean.lanes_mut(Axis(3))) {
            let seen = (0..10).filter(|&t| context[[y, x, 4, t]] == 0.0).map(|t| context[[y, x, band, t]]);
            let seen: Vec<f32> = seen.filter(|value| !value.is_nan()).collect();
            let mut out = out;
            out.fill(if seen.is_empty() { 0.0 } else { seen.iter().sum::<f32>() / seen.len() as f32 });
        }
        npz(&dir.path().join("predictions").join(cube), "highresdynamic", &mean.into_dyn());
    }
    let (output, said) = score(dir.path());
    assert!(output.status.success(), "{said}");
    let found = scores(dir.path());
    let package =
        [("ENS", 0.308_661), ("MAD", 0.225_026), ("OLS", 0.336_301), ("EMD", 0.283_264), ("SSIM", 0.497_149)];
    for (component, expected) in package {
        let found = found[component].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-4, "{component}: {found}, expected {expected}");
    }
}
