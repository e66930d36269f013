//! Outlines of countries, by English name or ISO 3166 code.

use std::collections::BTreeSet;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use geo::{Coord, LineString, MultiPolygon, Polygon};
use serde::Deserialize;

use super::shape::{on_map, to_area};
use crate::Error;

/// TopoJSON with one addition, the names; see `assets/README.md`.
const ATLAS: &[u8] = include_bytes!("../../assets/countries.json.gz");

#[derive(Deserialize)]
struct Atlas {
    transform: Grid,
    /// Lines that outlines are made of: the first point, then steps, in units of the grid.
    arcs: Vec<Vec<[i64; 2]>>,
    countries: Vec<Country>,
}

#[derive(Deserialize)]
struct Grid {
    scale: [f64; 2],
    translate: [f64; 2],
}

#[derive(Deserialize)]
struct Country {
    name: String,
    /// Two letters, three letters, three digits.
    codes: Vec<String>,
    aliases: Vec<String>,
    /// Rings of each polygon, the outer one first, as numbers of arcs; `!n` is arc `n` backwards.
    polygons: Vec<Vec<Vec<i64>>>,
}

/// The ground of countries, borders between them dissolved: by English name, whatever its case, accents and
/// punctuation, or by ISO 3166-1 code (`FR`, `FRA`, `250`). Outlines are those of a map of 1 : 50 000 000; their coasts
/// are within a few kilometres.
///
/// # Errors
/// [`Error::Country`] for a name that is not known, with the nearest ones, or that has no outline;
/// [`Error::AoiFile`] never happens with the outlines as shipped.
pub fn countries(names: &[String]) -> Result<MultiPolygon<f64>, Error> {
    let wrong = |reason: String| Error::AoiFile { path: PathBuf::from("countries.json.gz"), reason };
    let atlas: Atlas = serde_json::from_reader(std::io::BufReader::new(GzDecoder::new(ATLAS)))
        .map_err(|error| wrong(error.to_string()))?;
    let mut chosen = BTreeSet::new();
    for name in names {
        chosen.insert(atlas.find(name)?);
    }
    let polygons = chosen.into_iter().flat_map(|index| &atlas.countries[index].polygons);
    to_area(polygons.map(|rings| atlas.polygon(rings)).collect()).map_err(wrong)
}

impl Atlas {
    fn find(&self, name: &str) -> Result<usize, Error> {
        let failed = |reason: String| Error::Country { name: name.to_owned(), reason };
        let (code, plain) = (name.trim().to_uppercase(), plain(name));
        let code = code.parse::<u16>().map_or(code, |number| format!("{number:03}"));
        let index = self.countries.iter().position(|country| {
            country.codes.contains(&code) || country.names().any(|name| self::plain(name) == plain)
        });
        let Some(index) = index else {
            return Err(failed(format!("not known; near are {}", self.nearest(&plain))));
        };
        if self.countries[index].polygons.is_empty() {
            return Err(failed("too small for an outline at 1 : 50 000 000".to_owned()));
        }
        Ok(index)
    }

    /// The three names most alike.
    fn nearest(&self, plain: &str) -> String {
        let likeness = |country: &Country| {
            country.names().map(|name| strsim::jaro_winkler(&self::plain(name), plain)).fold(0.0, f64::max)
        };
        let mut ranked: Vec<(f64, &str)> =
            self.countries.iter().map(|country| (likeness(country), country.name.as_str())).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.iter().take(3).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }

    fn polygon(&self, rings: &[Vec<i64>]) -> Polygon<f64> {
        let mut rings = rings.iter().map(|arcs| on_map(self.ring(arcs)));
        let outline = rings.next().unwrap_or_else(|| LineString::new(Vec::new()));
        Polygon::new(outline, rings.collect())
    }

    /// Arcs end where the next begins.
    fn ring(&self, arcs: &[i64]) -> LineString<f64> {
        let mut ring: Vec<Coord<f64>> = Vec::new();
        for &arc in arcs {
            let mut points = self.arc(if arc < 0 { !arc } else { arc } as usize);
            if arc < 0 {
                points.reverse();
            }
            ring.pop();
            ring.extend(points);
        }
        LineString::new(ring)
    }

    fn arc(&self, number: usize) -> Vec<Coord<f64>> {
        let Grid { scale, translate } = &self.transform;
        let mut at = [0, 0];
        let steps = self.arcs.get(number).map_or(&[][..], Vec::as_slice);
        let points = steps.iter().map(|step| {
            at = [at[0] + step[0], at[1] + step[1]];
            Coord { x: at[0] as f64 * scale[0] + translate[0], y: at[1] as f64 * scale[1] + translate[1] }
        });
        points.collect()
    }
}

impl Country {
    fn names(&self) -> impl Iterator<Item = &str> {
        [self.name.as_str()].into_iter().chain(self.aliases.iter().map(String::as_str))
    }
}

/// Lower-case letters and digits without accents, words apart by one blank, `&` and `St.` written out, no `the`.
fn plain(name: &str) -> String {
    let letters: String = name
        .to_lowercase()
        .chars()
        .map(|letter| match letter {
            'á' | 'à' | 'â' | 'ã' | 'ä' | 'å' => 'a',
            'ç' => 'c',
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'í' | 'ì' | 'î' | 'ï' => 'i',
            'ñ' => 'n',
            'ó' | 'ò' | 'ô' | 'õ' | 'ö' => 'o',
            'ú' | 'ù' | 'û' | 'ü' => 'u',
            other => other,
        })
        .collect::<String>()
        .replace('&', " and ")
        .replace(['\'', '’', '.'], "");
    let words = letters.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.filter(|&word| word != "the").map(|word| if word == "st" { "saint" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
