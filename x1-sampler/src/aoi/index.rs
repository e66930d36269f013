//! Whether ground lies in an area: the edges of the outlines, sorted into bands of latitude.

use geo::{BoundingRect, Coord, Intersects, Line, LineString, LinesIter, MultiPolygon, Rect, Translate};
use minicube::LonLat;

use super::Lies;
use super::shape::unwrap;

/// The outlines of an area, prepared for many questions. Made by [`super::Aoi::index`].
#[derive(Clone, Debug)]
pub struct AreaIndex {
    /// `None`: everywhere.
    bands: Option<Bands>,
}

#[derive(Clone, Debug)]
struct Bands {
    /// `None` if there is no edge.
    rect: Option<Rect<f64>>,
    /// Each edge with the first band it meets.
    edges: Vec<(Line<f64>, usize)>,
    /// The edges that meet a band.
    of_band: Vec<Vec<u32>>,
}

impl AreaIndex {
    /// For an area whose polygons share no ground; `None`: everywhere.
    pub(super) fn new(area: Option<&MultiPolygon<f64>>) -> AreaIndex {
        AreaIndex { bands: area.map(Bands::new) }
    }

    /// How the ground inside a ring of points (degrees, not closed) lies to the area. Two points next to each other are
    /// less than half the globe apart, so that a ring across the 180° meridian is understood. Ground that touches an
    /// outline lies across it.
    #[must_use]
    pub fn locate(&self, ring: &[LonLat]) -> Lies {
        let Some(bands) = &self.bands else { return Lies::Inside };
        locate(ring, bands.rect, |rect| bands.near(rect))
    }
}

impl Bands {
    const EDGES_PER_BAND: usize = 8;
    const MOST: usize = 4096;

    fn new(area: &MultiPolygon<f64>) -> Bands {
        let mut bands = Bands { rect: area.bounding_rect(), edges: Vec::new(), of_band: Vec::new() };
        let lines: Vec<Line<f64>> = edges(area).collect();
        bands.of_band.resize((lines.len() / Bands::EDGES_PER_BAND).clamp(1, Bands::MOST), Vec::new());
        for (number, line) in (0_u32..).zip(lines) {
            let first = bands.band(line.start.y.min(line.end.y));
            for band in first..=bands.band(line.start.y.max(line.end.y)) {
                bands.of_band[band].push(number);
            }
            bands.edges.push((line, first));
        }
        bands
    }

    fn band(&self, lat: f64) -> usize {
        let last = self.of_band.len() - 1;
        let part = self.rect.map_or(0.0, |rect| (lat - rect.min().y) / rect.height().max(f64::MIN_POSITIVE));
        ((part * self.of_band.len() as f64).max(0.0) as usize).min(last)
    }

    /// The edges in the latitudes of a box, each once.
    fn near(&self, rect: Rect<f64>) -> impl Iterator<Item = Line<f64>> {
        let first = self.band(rect.min().y);
        (first..=self.band(rect.max().y)).flat_map(move |band| {
            let edges = self.of_band[band].iter().map(|&number| self.edges[number as usize]);
            edges.filter(move |&(_, begins)| begins.max(first) == band).map(|(line, _)| line)
        })
    }
}

/// All edges of all rings, those without length left out.
pub(super) fn edges(area: &MultiPolygon<f64>) -> impl Iterator<Item = Line<f64>> {
    area.lines_iter().filter(|line| line.start != line.end)
}

/// As [`AreaIndex::locate`]; `near` gives at least the edges in the latitudes of a box, `rect` holds them all.
pub(super) fn locate<I>(ring: &[LonLat], rect: Option<Rect<f64>>, near: impl Fn(Rect<f64>) -> I) -> Lies
where
    I: Iterator<Item = Line<f64>>,
{
    let (Some(ground), Some(rect)) = (Ground::new(ring), rect) else { return Lies::Outside };
    let mut result = Lies::Outside;
    for turn in [-360.0, 0.0, 360.0] {
        let ground = ground.turned(turn);
        if ground.rect.intersects(&rect) {
            match ground.lies(near(ground.rect)) {
                Lies::Inside => return Lies::Inside,
                Lies::Across => result = Lies::Across,
                Lies::Outside => {}
            }
        }
    }
    result
}

/// A closed ring around ground in a plain map without a jump at 180°.
struct Ground {
    ring: LineString<f64>,
    rect: Rect<f64>,
}

impl Ground {
    /// `None` for no points.
    fn new(ring: &[LonLat]) -> Option<Ground> {
        let mut ring: LineString<f64> = ring.iter().map(|point| (point.lon, point.lat)).collect();
        unwrap(&mut ring);
        ring.close();
        Some(Ground { rect: ring.bounding_rect()?, ring })
    }

    /// The same ground, so many degrees of longitude further.
    fn turned(&self, turn: f64) -> Ground {
        Ground { ring: self.ring.translate(turn, 0.0), rect: self.rect.translate(turn, 0.0) }
    }

    /// How the ground lies to the area with these edges.
    fn lies(&self, edges: impl Iterator<Item = Line<f64>>) -> Lies {
        let Some(&start) = self.ring.0.first() else { return Lies::Outside };
        let mut inside = false;
        for edge in edges {
            if self.rect.intersects(&edge.bounding_rect())
                && (self.ring.lines().any(|side| side.intersects(&edge))
                    || is_inside(edge.start, self.ring.lines()))
            {
                return Lies::Across;
            }
            inside ^= is_east_of(&edge, start);
        }
        if inside { Lies::Inside } else { Lies::Outside }
    }
}

/// Whether the number of edges to the east of a place is odd.
fn is_inside(place: Coord<f64>, edges: impl Iterator<Item = Line<f64>>) -> bool {
    edges.filter(|edge| is_east_of(edge, place)).count() % 2 == 1
}

/// Whether an edge crosses the parallel of a place to the east of it; its northern end does not count.
fn is_east_of(edge: &Line<f64>, place: Coord<f64>) -> bool {
    let (start, end) = (edge.start, edge.end);
    if (start.y > place.y) == (end.y > place.y) {
        return false;
    }
    place.x < start.x + (place.y - start.y) / (end.y - start.y) * (end.x - start.x)
}
