//! The alignment recursion over sixteen pairs of series at once: value, and value with gradient.

use std::ops::Range;

use super::lanes::{LANES, Lanes};
use super::simd::Kernel;
use super::weight::{Soft, Weight};

/// Sixteen series of one length side by side: `points[t * dims + d]` holds coordinate `d` at time `t` of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) points: Vec<Lanes>,
    pub(super) dims: usize,
}

impl Block {
    /// Packs up to sixteen series, each `[time * dims]` in C order; missing lanes repeat the first series.
    pub(super) fn pack<'a>(&mut self, dims: usize, series: impl ExactSizeIterator<Item = &'a [f64]> + Clone) {
        self.dims = dims;
        self.points.clear();
        let length = series.clone().next().map_or(0, <[f64]>::len);
        self.points.resize(length, Lanes::splat(0.0));
        let count = series.len();
        for (lane, values) in series.clone().enumerate() {
            for (point, value) in self.points.iter_mut().zip(values) {
                point.0[lane] = *value;
            }
        }
        if let Some(first) = series.clone().next() {
            for lane in count..LANES {
                for (point, value) in self.points.iter_mut().zip(first) {
                    point.0[lane] = *value;
                }
            }
        }
    }

    /// Number of time steps.
    pub(super) fn len(&self) -> usize {
        self.points.len() / self.dims.max(1)
    }
}

/// Squared distance of point `i` of `a` to point `j` of `b`, times `scale`.
#[inline(always)]
fn cost(a: &[Lanes], b: &[Lanes], i: usize, j: usize, dims: usize, scale: Lanes) -> Lanes {
    let mut sum = Lanes::splat(0.0);
    for d in 0..dims {
        let gap = a[i * dims + d].sub(b[j * dims + d]);
        sum = gap.fma(gap, sum);
    }
    sum.mul(scale)
}

/// The columns that a row of the alignment matrix `[n, m]` may use: all, or those of a Sakoe–Chiba band
/// (doi:10.1109/TASSP.1978.1163055) of this radius around the diagonal, widened by the difference of the lengths.
#[inline(always)]
pub(super) fn columns(row: usize, n: usize, m: usize, band: Option<usize>) -> Range<usize> {
    let Some(radius) = band else { return 0..m };
    let (before, after) = if n > m { (radius + n - m, radius) } else { (radius, radius + m - n) };
    row.saturating_sub(before).min(m - 1)..(row + after + 1).min(m)
}

/// Total weight of all alignments of `a` with `b`, costs multiplied by `scale`.
pub(super) struct Total<'a, W> {
    pub(super) a: &'a Block,
    pub(super) b: &'a Block,
    pub(super) scale: f64,
    /// Radius of the Sakoe–Chiba band.
    pub(super) band: Option<usize>,
    /// Reused working memory.
    pub(super) row: &'a mut Vec<W>,
}

impl<W: Weight> Kernel for Total<'_, W> {
    type Output = W;

    #[inline(always)]
    fn run(self) -> W {
        let dims = self.a.dims;
        if dims == 1 { self.go(1) } else { self.go(dims) }
    }
}

impl<W: Weight> Total<'_, W> {
    #[inline(always)]
    fn go(self, dims: usize) -> W {
        let (n, m, scale) = (self.a.len(), self.b.len(), Lanes::splat(self.scale));
        let (a, b) = (&self.a.points[..n * dims], &self.b.points[..m * dims]);
        // row[j] is the weight of aligning the points seen of `a` with the first j of `b`.
        self.row.clear();
        self.row.resize(m + 1, W::NONE);
        let row = &mut self.row[..=m];
        row[0] = W::EMPTY;
        for i in 0..n {
            let used = columns(i, n, m, self.band);
            let mut corner = row[used.start];
            let mut left = W::NONE;
            row[used.start] = left;
            for j in used {
                let above = row[j + 1];
                left = corner.join(above, left).chain(W::of_cost(cost(a, b, i, j, dims, scale)));
                corner = above;
                row[j + 1] = left;
            }
        }
        row[m]
    }
}

/// [`Total`] and its logarithm's gradient: how much each cell of the alignment matrix is used.
pub(super) struct Gradient<'a, W> {
    pub(super) a: &'a Block,
    pub(super) b: &'a Block,
    pub(super) scale: f64,
    /// Radius of the Sakoe–Chiba band.
    pub(super) band: Option<usize>,
    /// Reused working memory.
    pub(super) work: &'a mut GradientWork<W>,
}

/// Working memory of [`Gradient`], and its results.
pub(super) struct GradientWork<W> {
    /// Weights of all alignments of the first i points of `a` with the first j of `b`, `[n + 1, m + 1]`.
    forward: Vec<W>,
    /// Weight of each cell, `[n, m]`.
    cell: Vec<W>,
    /// Weight of all that follows from cell (i, j) on, that cell included, over the total, one row, `[m + 1]`.
    below: Vec<W>,
    /// `Σⱼ E[i,j] · 2 (a[i] − b[j])`, `[n * dims]`.
    pub(super) gradient: Vec<Lanes>,
    /// `Σⱼ E[i,j]`: how often each point of `a` is matched, `[n]`.
    pub(super) matches: Vec<Lanes>,
    /// Expected alignment matrix E, `[n, m]`, filled where asked for.
    pub(super) usage: Option<Vec<Lanes>>,
}

impl<W> Default for GradientWork<W> {
    fn default() -> Self {
        Self {
            forward: Vec::new(),
            cell: Vec::new(),
            below: Vec::new(),
            gradient: Vec::new(),
            matches: Vec::new(),
            usage: None,
        }
    }
}

impl<W: Soft> Kernel for Gradient<'_, W> {
    type Output = W;

    #[inline(always)]
    fn run(self) -> W {
        let dims = self.a.dims;
        if dims == 1 { self.go(1) } else { self.go(dims) }
    }
}

impl<W: Soft> Gradient<'_, W> {
    #[inline(always)]
    fn go(self, dims: usize) -> W {
        let (n, m, scale) = (self.a.len(), self.b.len(), Lanes::splat(self.scale));
        let (a, b) = (&self.a.points[..n * dims], &self.b.points[..m * dims]);
        let GradientWork { forward, cell, below, gradient, matches, usage } = self.work;
        let width = m + 1;
        forward.clear();
        forward.resize((n + 1) * width, W::NONE);
        cell.clear();
        cell.resize(n * m, W::NONE);
        forward[0] = W::EMPTY;
        for i in 0..n {
            let (before, after) = forward.split_at_mut((i + 1) * width);
            let (above, row) = (&before[i * width..], &mut after[..width]);
            let cells = &mut cell[i * m..(i + 1) * m];
            let mut left = W::NONE;
            for j in columns(i, n, m, self.band) {
                let here = W::of_cost(cost(a, b, i, j, dims, scale));
                left = above[j].join(above[j + 1], left).chain(here);
                cells[j] = here;
                row[j + 1] = left;
            }
        }
        let total = forward[n * width + m];
        let start = total.inverse();

        below.clear();
        below.resize(width, W::NONE);
        gradient.clear();
        gradient.resize(n * dims, Lanes::splat(0.0));
        matches.clear();
        matches.resize(n, Lanes::splat(0.0));
        if let Some(usage) = usage.as_mut() {
            usage.clear();
            usage.resize(n * m, Lanes::splat(0.0));
        }
        for i in (0..n).rev() {
            let cells = &cell[i * m..(i + 1) * m];
            let row = &forward[(i + 1) * width..(i + 2) * width];
            let used_columns = columns(i, n, m, self.band);
            // What lies behind the band of this row is out of reach for the rows above it.
            let mut diagonal = std::mem::replace(&mut below[used_columns.end], W::NONE);
            let mut right = W::NONE;
            for j in used_columns.rev() {
                let down = below[j];
                let rest = if i + 1 == n && j + 1 == m { start } else { diagonal.join(down, right) };
                let used = row[j + 1].chain(rest).share();
                matches[i] = matches[i].add(used);
                for d in 0..dims {
                    let gap = a[i * dims + d].sub(b[j * dims + d]);
                    gradient[i * dims + d] = used.fma(gap.add(gap), gradient[i * dims + d]);
                }
                if let Some(usage) = usage.as_mut() {
                    usage[i * m + j] = used;
                }
                right = cells[j].chain(rest);
                diagonal = down;
                below[j] = right;
            }
        }
        total
    }
}
