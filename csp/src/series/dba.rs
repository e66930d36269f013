//! The DTW barycentre by averaging along optimal alignments (DBA; Petitjean, Ketterlin and Gançarski, 2011,
//! doi:10.1016/j.patcog.2010.09.013).

use ndarray::{Array2, ArrayView2, ArrayView3, Axis};
use rayon::prelude::*;

use super::SeriesError;
use super::align::columns;
use super::barycentre::Barycentre;
use super::set::{Set, fill_gaps};

/// Averagings at most (tslearn's k-means: 100).
const MAX_ITERATIONS: usize = 100;
/// Relative decrease of the mean squared DTW that ends them.
const TOLERANCE: f64 = 1e-9;
/// Series whose sums are added up in one go: fixed, so that the order of additions is too.
const CHUNK: usize = 32;

/// Lowers the mean squared DTW to the series `x` `[sample, time, dim]`, from `start` `[time, dim]` or from the mean of
/// the series at equal times; `band` is the radius of a Sakoe–Chiba band. The objective is that mean.
///
/// # Errors
/// Empty or infinite series, or points of different dimension.
pub fn dtw_barycentre(
    x: ArrayView3<'_, f64>,
    start: Option<ArrayView2<'_, f64>>,
    band: Option<usize>,
) -> Result<Barycentre, SeriesError> {
    let set = Set::new(x)?;
    let members: Vec<usize> = (0..set.samples).collect();
    let start = match start {
        Some(start) => {
            let start = Set::new(start.insert_axis(Axis(0)))?;
            if start.dims != set.dims {
                return Err(SeriesError::Dims { left: start.dims, right: set.dims });
            }
            start.series(0).to_vec()
        }
        None => mean_at_equal_times(&set, &members),
    };
    Ok(of_members(&set, &members, start, band))
}

/// Mean of some series at each step over those that have it; steps that none has lie between their neighbours.
pub(super) fn mean_at_equal_times(set: &Set, members: &[usize]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0_usize); set.time * set.dims];
    for member in members {
        for (sum, value) in sums.iter_mut().zip(set.with_gaps(*member)).filter(|(_, v)| !v.is_nan()) {
            sum.0 += value;
            sum.1 += 1;
        }
    }
    let mut means: Vec<f64> = sums.into_iter().map(|(sum, count)| sum / count as f64).collect();
    fill_gaps(&mut means, set.dims);
    means
}

/// The barycentre of some members of a set.
pub(super) fn of_members(set: &Set, members: &[usize], start: Vec<f64>, band: Option<usize>) -> Barycentre {
    let mut centre = start;
    let mut objective = f64::INFINITY;
    let mut iterations = 0;
    loop {
        let (next, found) = averaged(set, members, &centre, band);
        // The objective belongs to the centre from which the alignments were taken.
        let gain = objective - found;
        objective = found;
        if gain <= TOLERANCE * found || iterations == MAX_ITERATIONS {
            break;
        }
        centre = next;
        iterations += 1;
    }
    let time = centre.len() / set.dims;
    let series = Array2::from_shape_fn((time, set.dims), |(t, d)| centre[t * set.dims + d]);
    Barycentre { series, objective, iterations }
}

/// The mean of the points that are aligned with each point of the centre, and the mean squared DTW to the centre.
fn averaged(set: &Set, members: &[usize], centre: &[f64], band: Option<usize>) -> (Vec<f64>, f64) {
    let dims = set.dims;
    let parts: Vec<(Vec<f64>, Vec<f64>, f64)> = members
        .par_chunks(CHUNK)
        .map(|members| {
            let (mut sums, mut counts) = (vec![0.0; centre.len()], vec![0.0; centre.len() / dims]);
            let mut total = 0.0;
            let mut table = Vec::new();
            for member in members {
                let series = set.series(*member);
                total += fill_table(&mut table, centre, series, dims, band);
                for (i, j) in path(&table, centre.len() / dims, series.len() / dims) {
                    counts[i] += 1.0;
                    for d in 0..dims {
                        sums[i * dims + d] += series[j * dims + d];
                    }
                }
            }
            (sums, counts, total)
        })
        .collect();
    let (mut sums, mut counts, mut total) = (vec![0.0; centre.len()], vec![0.0; centre.len() / dims], 0.0);
    for (part, count, of_part) in parts {
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        counts.iter_mut().zip(count).for_each(|(sum, value)| *sum += value);
        total += of_part;
    }
    let next = sums.iter().enumerate().map(|(i, sum)| sum / counts[i / dims]).collect();
    (next, total / members.len() as f64)
}

/// Summed costs of the cheapest alignments of the beginnings of two series, `[n + 1, m + 1]`; returns the whole one.
fn fill_table(table: &mut Vec<f64>, a: &[f64], b: &[f64], dims: usize, band: Option<usize>) -> f64 {
    let (n, m) = (a.len() / dims, b.len() / dims);
    let width = m + 1;
    table.clear();
    table.resize((n + 1) * width, f64::INFINITY);
    table[0] = 0.0;
    for i in 0..n {
        for j in columns(i, n, m, band) {
            let gaps = (0..dims).map(|d| a[i * dims + d] - b[j * dims + d]);
            let cost: f64 = gaps.map(|gap| gap * gap).sum();
            let before = table[i * width + j].min(table[i * width + j + 1]).min(table[(i + 1) * width + j]);
            table[(i + 1) * width + j + 1] = before + cost;
        }
    }
    table[n * width + m]
}

/// The pairs of the cheapest alignment, from the end; of equal ways the diagonal one.
fn path(table: &[f64], n: usize, m: usize) -> Vec<(usize, usize)> {
    let width = m + 1;
    let (mut i, mut j) = (n, m);
    let mut pairs = Vec::with_capacity(n + m);
    while i > 0 && j > 0 {
        pairs.push((i - 1, j - 1));
        let (diagonal, up, left) =
            (table[(i - 1) * width + j - 1], table[(i - 1) * width + j], table[i * width + j - 1]);
        if diagonal <= up && diagonal <= left {
            (i, j) = (i - 1, j - 1);
        } else if up <= left {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Two spikes of one height at different times: the DTW barycentre keeps the height, the mean would halve it.
    #[test]
    fn shifted_spikes_keep_their_height() {
        let x = array![[[0.0], [1.0], [0.0], [0.0]], [[0.0], [0.0], [1.0], [0.0]]];
        let first = x.index_axis(Axis(0), 0);
        let found = dtw_barycentre(x.view(), Some(first), None).unwrap();
        assert_eq!((found.series, found.objective), (first.to_owned(), 0.0));
    }

    #[test]
    fn the_path_is_the_cheapest() {
        let (a, b) = ([0.0, 1.0, 3.0], [0.0, 1.0, 1.0, 2.0]);
        let mut table = Vec::new();
        assert_eq!(fill_table(&mut table, &a, &b, 1, None), 1.0);
        assert_eq!(path(&table, 3, 4), [(2, 3), (1, 2), (1, 1), (0, 0)]);
    }
}
