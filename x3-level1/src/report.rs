//! The report page: what each tile's store holds, seen.

use std::path::{Path, PathBuf};

use minicube::report::{LinePlot, Ramp, Report, Series, Style, lines, raster, strip};
use minicube::run::human_bytes;
use minicube::terrain::GEOMORPHONS;
use minicube::{Cube, from_cf_day};
use ndarray::{Array2, ArrayView2, Axis, Ix2, Ix3, s};

use crate::Error;
use crate::run::folder_bytes;

/// Frames in a strip of quicklooks.
const FRAMES: usize = 8;

/// Small cubes are drawn with larger pixels, until a frame is about this wide.
const FRAME_PX: usize = 96;

/// Classes that show the ground: dark area, vegetation, soil, water, unclassified, snow.
const CLEAR: [u8; 6] = [2, 4, 5, 6, 7, 11];

/// The page over some sealed stores.
///
/// # Errors
/// [`Error::Minicube`] if a store cannot be read.
pub(crate) fn page(project: &str, stores: &[PathBuf]) -> Result<Report, Error> {
    let mut page = Report::new(&format!("Level 1 of {project}")).lead(
        "Raw files on the cubes' grids: Sentinel-2 by area average, its classification by area mode, weather by day, \
         terrain and land cover by GDAL's warper. One section a tile.",
    );
    for path in stores {
        page = tile_section(page, path)?;
    }
    Ok(page)
}

fn tile_section(page: Report, path: &Path) -> Result<Report, Error> {
    let cube = Cube::open(path, "level1")?;
    let days = cube.read::<i32>("s2/time")?.into_raw_vec_and_offset().0;
    let ids = cube.read_strings("id")?;
    let shares = clear_shares(&cube, ids.len(), days.len())?;
    let mean_share: Vec<f64> = shares.iter().map(|frame| mean(frame)).collect();
    let tile = cube.attr_str("tile")?.to_owned();
    let mut page = page.section(&format!("Tile {tile}")).text(&format!(
        "{} minicubes of {} × {} px of {} m, {} acquisitions, {} on disk; {} gaps.",
        ids.len(),
        cube.attr_f64("size_px")?,
        cube.attr_f64("size_px")?,
        cube.attr_f64("resolution_m")?,
        days.len(),
        human_bytes(folder_bytes(path)),
        cube.attrs().get("gaps").and_then(|gaps| gaps.as_array()).map_or(0, Vec::len),
    ));
    page = page.svg(
        "Share of pixels that show the ground (SCL 2, 4, 5, 6, 7, 11), mean over the minicubes.",
        &lines(&LinePlot {
            title: "Clear share",
            x_label: "date",
            y_label: "share",
            series: vec![Series {
                name: "clear".into(),
                points: days.iter().zip(&mean_share).map(|(&day, &share)| (f64::from(day), share)).collect(),
                style: Style::Points,
            }],
            x_is_date: true,
        }),
    );
    if let Some(id) = ids.first() {
        let frames = clearest(&shares.iter().map(|frame| frame[0]).collect::<Vec<_>>());
        page = quicklooks(page, &cube, id, &days, &frames)?;
        page = static_layers(page, &cube, id)?;
    }
    page = weather(page, &cube)?;
    scene_table(page, &cube, &days, &mean_share)
}

/// `[time][cube]`: share of clear pixels among all pixels.
fn clear_shares(cube: &Cube, cubes: usize, scenes: usize) -> Result<Vec<Vec<f64>>, Error> {
    let shape = cube.shape("s2/scl")?;
    let mut shares = vec![Vec::with_capacity(cubes); scenes];
    for m in 0..cubes as u64 {
        let scl = cube.read_region::<u8>("s2/scl", &[m, 0, 0, 0], &[1, shape[1], shape[2], shape[3]])?;
        for (frame, shares) in scl.index_axis(Axis(0), 0).axis_iter(Axis(0)).zip(&mut shares) {
            let clear = frame.iter().filter(|class| CLEAR.contains(class)).count();
            shares.push(clear as f64 / frame.len().max(1) as f64);
        }
    }
    Ok(shares)
}

/// The clearest frame of each of some equal parts of the series, ascending.
fn clearest(shares: &[f64]) -> Vec<usize> {
    let part = shares.len().div_ceil(FRAMES).max(1);
    let best = |start: usize| {
        let end = (start + part).min(shares.len());
        (start..end).max_by(|&a, &b| shares[a].total_cmp(&shares[b]).then(b.cmp(&a)))
    };
    (0..shares.len()).step_by(part).filter_map(best).collect()
}

fn quicklooks(page: Report, cube: &Cube, id: &str, days: &[i32], frames: &[usize]) -> Result<Report, Error> {
    let dates: Vec<String> = frames.iter().map(|&t| from_cf_day(days[t]).to_string()).collect();
    let dates = dates.join(", ");
    let read = |asset: &str| -> Result<Vec<Array2<f32>>, Error> {
        let size = cube.shape(&format!("s2/{asset}"))?;
        frames
            .iter()
            .map(|&t| {
                let frame =
                    cube.read_f32(&format!("s2/{asset}"), &[0, t as u64, 0, 0], &[1, 1, size[2], size[3]])?;
                let frame = frame.index_axis_move(Axis(0), 0).index_axis_move(Axis(0), 0);
                let frame =
                    frame.into_dimensionality::<Ix2>().map_err(|e| Error::variable(cube.path(), asset, e))?;
                Ok(enlarged(frame.view()))
            })
            .collect()
    };
    let mut page = page;
    if ["red", "green", "blue"].iter().all(|asset| cube.has(&format!("s2/{asset}"))) {
        let (width, height, rgb) = true_colour(&read("red")?, &read("green")?, &read("blue")?);
        page = page.png(
            &format!("{id} in true colour, the clearest acquisitions: {dates}."),
            width,
            height,
            &rgb,
        );
    }
    let infrared = ["nir", "nir08"].into_iter().find(|asset| cube.has(&format!("s2/{asset}")));
    if let Some(infrared) = infrared.filter(|_| cube.has("s2/red")) {
        let (nir, red) = (read(infrared)?, read("red")?);
        let ndvi: Vec<Array2<f32>> = nir.iter().zip(&red).map(|(n, r)| (n - r) / (n + r)).collect();
        let views: Vec<ArrayView2<'_, f32>> = ndvi.iter().map(|layer| layer.view()).collect();
        let (width, height, rgb) = strip(&views, Ramp::Greens, (0.0, 0.9));
        page =
            page.png(&format!("{id}, NDVI from 0 (brown) to 0.9 (green), same dates."), width, height, &rgb);
    }
    Ok(page)
}

/// Each pixel as a square of several.
fn enlarged(layer: ArrayView2<'_, f32>) -> Array2<f32> {
    let factor = (FRAME_PX / layer.ncols().max(1)).max(1);
    Array2::from_shape_fn((layer.nrows() * factor, layer.ncols() * factor), |(y, x)| {
        layer[[y / factor, x / factor]]
    })
}

/// Frames side by side; reflectance 0 to 0.3 becomes black to full colour, no data light grey.
fn true_colour(red: &[Array2<f32>], green: &[Array2<f32>], blue: &[Array2<f32>]) -> (usize, usize, Vec<u8>) {
    let strips = [red, green, blue].map(|band| {
        let views: Vec<ArrayView2<'_, f32>> = band.iter().map(|layer| layer.view()).collect();
        strip(&views, Ramp::Gray, (0.0, 0.3))
    });
    let (width, height, _) = strips[0];
    // A grey ramp has three equal bytes a pixel: one of them is the channel.
    let rgb = (0..width * height).flat_map(|i| [0, 1, 2].map(|channel| strips[channel].2[3 * i])).collect();
    (width, height, rgb)
}

fn static_layers(page: Report, cube: &Cube, id: &str) -> Result<Report, Error> {
    let mut page = page;
    let forms: Vec<String> =
        (1..).zip(GEOMORPHONS).map(|(code, form): (u8, &str)| format!("{code} {form}")).collect();
    let forms = format!("landform ({})", forms.join(", "));
    for name in cube.vars().iter().filter(|name| name.starts_with("static/")) {
        let attrs = cube.var_attrs(name);
        let text = |key: &str| attrs.get(key).and_then(|value| value.as_str());
        let what = match name.as_str() {
            "static/geomorphon" => forms.clone(),
            _ => match (text("long_name").unwrap_or(name), text("units")) {
                (what, Some(units)) => format!("{what} ({units})"),
                (what, None) => what.to_owned(),
            },
        };
        let shape = cube.shape(name)?;
        let layer = cube.read_f32(name, &[0, 0, 0], &[1, shape[1], shape[2]])?;
        let layer = layer.into_dimensionality::<Ix3>().map_err(|e| Error::variable(cube.path(), name, e))?;
        let layer = layer.slice(s![0, .., ..]);
        let finite = || layer.iter().copied().filter(|value| value.is_finite());
        let (low, high) = finite().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            page = page.text(&format!("{name} of {id} has no data."));
            continue;
        }
        let (width, height, rgb) = raster(enlarged(layer).view(), Ramp::Viridis, (low, high.max(low + 1e-3)));
        page = page.png(&format!("{id}, {what} from {low:.0} to {high:.0}."), width, height, &rgb);
    }
    Ok(page)
}

/// One plot a daily variable: the tile's slice of ERA5, the mean over the cubes of SMAP.
fn weather(page: Report, cube: &Cube) -> Result<Report, Error> {
    let mut page = page;
    for name in cube.vars() {
        let Some((group @ ("era5" | "smap"), variable)) = name.split_once('/') else { continue };
        if variable == "time" {
            continue;
        }
        let days = cube.read::<i32>(&format!("{group}/time"))?.into_raw_vec_and_offset().0;
        let values = cube.read::<f32>(&name)?;
        let time = values.ndim() - 3;
        let points = values.axis_iter(Axis(time)).zip(&days);
        let points = points.map(|(day, &date)| {
            let finite = || day.iter().filter(|value| value.is_finite());
            (f64::from(date), finite().map(|&v| f64::from(v)).sum::<f64>() / finite().count() as f64)
        });
        let attrs = cube.var_attrs(&name);
        let text = |key: &str| attrs.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let label = text("units");
        let plot = LinePlot {
            title: &name,
            x_label: "date",
            y_label: if label.is_empty() { "value" } else { &label },
            series: vec![Series { name: variable.to_owned(), points: points.collect(), style: Style::Line }],
            x_is_date: true,
        };
        let caption = [text("long_name"), text("cell_methods")].into_iter().filter(|t| !t.is_empty());
        page = page.svg(&format!("{name}: {}.", caption.collect::<Vec<_>>().join(", ")), &lines(&plot));
    }
    Ok(page)
}

fn scene_table(page: Report, cube: &Cube, days: &[i32], shares: &[f64]) -> Result<Report, Error> {
    let ids = cube.read_strings("s2/scene_id")?;
    let baselines = cube.read::<f64>("s2/baseline")?;
    let applied = cube.read::<u8>("s2/offset_applied")?;
    let rows = (0..ids.len())
        .map(|t| {
            vec![
                ids[t].clone(),
                from_cf_day(days[t]).to_string(),
                if baselines[t].is_nan() { "unknown".to_owned() } else { format!("{:05.2}", baselines[t]) },
                if applied[t] == 1 { "yes" } else { "no" }.to_owned(),
                format!("{:.0} %", 100.0 * shares[t]),
            ]
        })
        .collect();
    Ok(page.table(&["acquisition", "date", "baseline", "offset taken off", "clear"], rows))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clearest_frame_of_each_part() {
        let shares: Vec<f64> = (0..16).map(|i| if i % 2 == 0 { 0.9 } else { 0.1 }).collect();
        assert_eq!(clearest(&shares), [0, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(clearest(&[0.2, 0.2]), [0, 1]);
        assert!(clearest(&[]).is_empty());
    }

    #[test]
    fn true_colour_keeps_the_channels_apart() {
        let full = || vec![Array2::from_elem((1, 1), 0.3f32)];
        let none = || vec![Array2::from_elem((1, 1), 0.0f32)];
        assert_eq!(true_colour(&full(), &none(), &full()).2, [255, 0, 255]);
    }
}
