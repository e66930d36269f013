//! An array of weather in a Zarr store: which of its chunks hold wanted points, and the values in them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, stream};
use ndarray::{Array3, ArrayD, Axis, Ix3};

use super::era5_netcdf::Series;
use super::era5_scratch::Scratch;
use super::zarr_remote::{Transfer, Variable};
use super::zarr_window::Window;
use crate::net::{Http, Stop};

const TIME: [&str; 2] = ["time", "valid_time"];
const LATITUDE: [&str; 2] = ["latitude", "lat"];
const LONGITUDE: [&str; 2] = ["longitude", "lon"];
/// Short names of ECMWF for the arrays of stores that do not tell them.
const SHORT_NAMES: [(&str, &str); 10] = [
    ("2m_temperature", "t2m"),
    ("2m_dewpoint_temperature", "d2m"),
    ("10m_u_component_of_wind", "u10"),
    ("10m_v_component_of_wind", "v10"),
    ("evaporation", "e"),
    ("potential_evaporation", "pev"),
    ("surface_net_solar_radiation", "ssr"),
    ("surface_pressure", "sp"),
    ("surface_solar_radiation_downwards", "ssrd"),
    ("total_precipitation", "tp"),
];

/// Where values come from: over the network, or from what an interrupted run kept.
pub(crate) struct Supply<'a> {
    pub(crate) http: &'a Http,
    pub(crate) transfer: Transfer,
    /// What came over the network in this run, bytes.
    pub(crate) received: AtomicU64,
    pub(crate) scratch: &'a Scratch,
}

/// An array and where its dimensions stand.
pub(crate) struct Layout {
    pub(crate) variable: Variable,
    pub(crate) short_name: String,
    time: usize,
    latitude: usize,
    longitude: usize,
}

impl Layout {
    /// # Errors
    /// If the array has not just these dimensions.
    pub(crate) fn of(variable: Variable) -> Result<Layout, String> {
        let place = |names: &[&str]| variable.dims.iter().position(|dim| names.contains(&dim.as_str()));
        let (Some(time), Some(latitude), Some(longitude)) =
            (place(&TIME), place(&LATITUDE), place(&LONGITUDE))
        else {
            let found = variable.dims.join(", ");
            return Err(format!(
                "{}: expected time, latitude and longitude, found {found}",
                variable.place()
            ));
        };
        let further = (0..variable.dims.len()).filter(|dim| ![time, latitude, longitude].contains(dim));
        if let Some(dim) = further.into_iter().find(|dim| variable.shape[*dim] != 1) {
            let (name, len) = (&variable.dims[dim], variable.shape[dim]);
            return Err(format!(
                "{}: expected no further dimension, found {name} of {len}",
                variable.place()
            ));
        }
        let last = variable.name.rsplit('/').next().unwrap_or_default();
        let known = SHORT_NAMES.iter().find(|(long, _)| *long == last).map(|(_, short)| *short);
        let told = variable.text("short_name").filter(|name| crate::ledger::is_safe_name(name));
        let short_name = told.or(known).unwrap_or(last).to_owned();
        Ok(Layout { variable, short_name, time, latitude, longitude })
    }

    /// Name and length of time, latitude and longitude.
    pub(crate) fn axes(&self) -> [(&str, usize); 3] {
        [self.time, self.latitude, self.longitude]
            .map(|dim| (self.variable.dims[dim].as_str(), self.variable.shape[dim]))
    }

    /// Time steps of a chunk.
    pub(crate) fn steps_of_chunk(&self) -> usize {
        self.variable.chunk[self.time]
    }

    /// How it is described in a file.
    pub(crate) fn series(&self) -> Series {
        let keys = ["units", "long_name", "standard_name"];
        let text = |key: &str| Some((key.to_owned(), self.variable.text(key)?.to_owned()));
        Series { name: self.short_name.clone(), attributes: keys.into_iter().filter_map(text).collect() }
    }

    /// Values `[time, latitude, longitude]` of the window in some steps; points that are not wanted are NaN, and chunks
    /// without a wanted point are not fetched.
    pub(crate) async fn gather(
        &self,
        supply: &Supply<'_>,
        window: &Window,
        steps: Range<usize>,
    ) -> Result<Array3<f32>, Stop> {
        let shape = (steps.len(), window.rows.len(), window.cols.len());
        let mut gathered = Array3::from_elem(shape, f32::NAN);
        let mut parts = stream::iter(self.parts(window, &steps))
            .map(|part| async move {
                let values = self.take(supply, &part).await?;
                Ok::<_, Stop>((part, values))
            })
            .buffer_unordered(supply.http.settings.connections);
        while let Some(part) = parts.next().await {
            let (part, values) = part?;
            for (step, values) in values.axis_iter(Axis(0)).enumerate() {
                let step = part.first_step + step - steps.start;
                for &(row, from_row) in &part.rows {
                    for &(col, from_col) in &part.cols {
                        if window.wanted[(row, col)] {
                            gathered[(step, row, col)] = values[(from_row, from_col)];
                        }
                    }
                }
            }
        }
        Ok(gathered)
    }

    /// Values `[time, latitude, longitude]` of a part of a chunk. A chunk that is not there may be there another time: it
    /// is not kept.
    async fn take(&self, supply: &Supply<'_>, part: &Part) -> Result<Array3<f32>, Stop> {
        let key = format!("{} {:?} {:?}", self.variable.name, part.index, part.ranges);
        let shape = [self.time, self.latitude, self.longitude].map(|dim| part.ranges[dim].len());
        if let Some((values, length)) = supply.scratch.get(&key)
            && let Ok(values) = Array3::from_shape_vec(shape, values)
        {
            supply.transfer.count(Some(length));
            return Ok(values);
        }
        let (values, length) =
            self.variable.part(supply.http, &supply.transfer, &part.index, &part.ranges).await?;
        let values = self
            .ordered(values)
            .map_err(|reason| Stop::Gap(format!("{}: {reason}", self.variable.place())))?
            .mapv(|value| value as f32);
        if let Some(length) = length {
            supply.received.fetch_add(length, Ordering::Relaxed);
            let values: Vec<f32> = values.iter().copied().collect();
            supply.scratch.put(&key, &values, length)?;
        }
        Ok(values)
    }

    /// Indices of the chunks that hold wanted points of some steps.
    pub(crate) fn chunks(&self, window: &Window, steps: &Range<usize>) -> Vec<Vec<usize>> {
        self.parts(window, steps).into_iter().map(|part| part.index).collect()
    }

    /// The chunks that hold wanted points of some steps.
    fn parts(&self, window: &Window, steps: &Range<usize>) -> Vec<Part> {
        let chunk = &self.variable.chunk;
        let (down, across, along) = (chunk[self.latitude], chunk[self.longitude], chunk[self.time]);
        let indices =
            |axis: &[usize], len: usize| axis.iter().map(|index| index / len).collect::<BTreeSet<_>>();
        let mut parts = Vec::new();
        for row_chunk in indices(&window.rows, down) {
            let (row_range, rows) = members(&window.rows, row_chunk, down);
            for col_chunk in indices(&window.cols, across) {
                let (col_range, cols) = members(&window.cols, col_chunk, across);
                let mut points =
                    rows.iter().flat_map(|(row, _)| cols.iter().map(move |(col, _)| (*row, *col)));
                if !points.any(|point| window.wanted[point]) {
                    continue;
                }
                for time_chunk in steps.start / along..=(steps.end - 1) / along {
                    let begin = time_chunk * along;
                    let (from, to) = (steps.start.max(begin), steps.end.min(begin + along));
                    let mut index = vec![0; chunk.len()];
                    let mut ranges = vec![0..1; chunk.len()];
                    for (dim, at, range) in [
                        (self.time, time_chunk, from - begin..to - begin),
                        (self.latitude, row_chunk, row_range.clone()),
                        (self.longitude, col_chunk, col_range.clone()),
                    ] {
                        (index[dim], ranges[dim]) = (at, range);
                    }
                    parts.push(Part {
                        index,
                        ranges,
                        first_step: from,
                        rows: rows.clone(),
                        cols: cols.clone(),
                    });
                }
            }
        }
        parts
    }

    /// Brings time, latitude and longitude to the front, in this order.
    fn ordered(&self, values: ArrayD<f64>) -> Result<Array3<f64>, String> {
        let mut order = vec![self.time, self.latitude, self.longitude];
        order.extend(
            (0..values.ndim()).filter(|dim| ![self.time, self.latitude, self.longitude].contains(dim)),
        );
        let mut values = values.permuted_axes(order);
        while values.ndim() > 3 {
            values = values.index_axis_move(Axis(3), 0);
        }
        values.into_dimensionality::<Ix3>().map_err(|error| error.to_string())
    }
}

/// A part of a chunk that is needed.
struct Part {
    index: Vec<usize>,
    ranges: Vec<Range<usize>>,
    /// Index of its first time step.
    first_step: usize,
    /// Row of the window, and row of the part.
    rows: Vec<(usize, usize)>,
    cols: Vec<(usize, usize)>,
}

/// Of the indices of an axis those in a chunk: the range within the chunk that holds all, and for each its place in
/// the axis's list and in the range.
fn members(axis: &[usize], chunk: usize, len: usize) -> (Range<usize>, Vec<(usize, usize)>) {
    let inside =
        || axis.iter().enumerate().filter(|(_, index)| *index / len == chunk).map(|(at, i)| (at, i % len));
    let first = inside().map(|(_, index)| index).min().unwrap_or(0);
    let end = inside().map(|(_, index)| index + 1).max().unwrap_or(first);
    (first..end, inside().map(|(at, index)| (at, index - first)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_chunk_that_the_seam_cuts() {
        // Columns 7, 0 and 1 of an axis of 8 in chunks of 4.
        assert_eq!(members(&[7, 0, 1], 0, 4), (0..2, vec![(1, 0), (2, 1)]));
        assert_eq!(members(&[7, 0, 1], 1, 4), (3..4, vec![(0, 0)]));
    }
}
