//! What a run costs beside Sentinel-2: granules, files, chunks of a store and rasters, by the sizes that servers tell.

use std::sync::Arc;

use futures::{Future, StreamExt, stream};
use minicube::run::human_bytes;

use crate::Error;
use crate::estimate::{Estimate, bytes_text, extrapolate, spread};
use crate::net::{Http, Stop, plain};
use crate::plan::{Place, Plan};
use crate::source::files::size_of;
use crate::source::sentinel2::Cost;
use crate::source::{era5, era5_zarr, rasters, smap, static_tiles};

/// Days, or chunks of an array, that are looked at if not all are to be.
const SAMPLE: usize = 8;
/// Files, and chunks where all scenes and days are looked at: as many again as there are would cost as much as the run.
const LARGE_SAMPLE: usize = 64;

/// What was looked at of things of one kind, and how many there are in all.
struct Look {
    costs: Vec<Cost>,
    all: usize,
    /// Why a size is not known.
    untold: Option<String>,
}

/// A line of text for each source, whose costs are added to the total.
pub(crate) async fn others(
    http: &Arc<Http>,
    plan: &Plan,
    exact: bool,
    total: &mut Estimate,
) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    if let Some(smap) = &plan.smap {
        let looks = match smap::days(http, plan, smap, false).await? {
            Ok(days) => {
                let some = spread(&days, if exact { days.len() } else { SAMPLE });
                vec![look(http, some, days.len(), |day| smap::cost(http, day)).await?]
            }
            Err(failed) => vec![Look::untold(failed.outcome.reason.unwrap_or_default())],
        };
        lines.extend(tell(&smap::describe(plan, smap), &looks, total));
    }
    if let Some(era5) = &plan.era5 {
        if era5.has_files() {
            let name = era5.listing.as_ref().map_or_else(
                || static_tiles::describe(&era5.files),
                |listing| format!("the .nc files of {:?} from {}", plan.project.years, plain(listing)),
            );
            let looks = match unless_fatal(era5::places(http, plan, era5).await)? {
                Ok(places) => {
                    let some = spread(&places, if exact { places.len() } else { LARGE_SAMPLE });
                    vec![look(http, some, places.len(), |place| file_cost(http, place)).await?]
                }
                Err(reason) => vec![Look::untold(reason)],
            };
            lines.extend(tell(&format!("ERA5: {name}"), &looks, total));
        }
        if let Some(zarr) = &era5.zarr {
            let before = http.total();
            let looks = match unless_fatal(era5_zarr::chunks(http, plan, zarr).await)? {
                Ok(arrays) => {
                    let after = http.total();
                    let (requests, bytes) = (after.requests - before.requests, after.bytes - before.bytes);
                    let metadata = Cost { requests: requests as usize, bytes, ..Cost::default() };
                    let mut looks = vec![Look { costs: vec![metadata], all: 1, untold: None }];
                    for chunks in arrays {
                        let some = spread(&chunks, if exact { LARGE_SAMPLE } else { SAMPLE });
                        looks.push(look(http, some, chunks.len(), |url| era5_zarr::cost(http, url)).await?);
                    }
                    looks
                }
                Err(reason) => vec![Look::untold(reason)],
            };
            lines.extend(tell(&era5_zarr::describe(plan, zarr), &looks, total));
        }
    }
    for (source, name, places) in [("dem", "DEM", &plan.dem), ("landcover", "land cover", &plan.landcover)] {
        if places.is_empty() {
            continue;
        }
        let all = places.iter().collect();
        let looked = look(http, all, places.len(), |place| rasters::cost(http, plan, source, place)).await?;
        let blocks: usize = looked.costs.iter().map(|cost| cost.blocks).sum();
        let text = format!("{name}: {blocks} blocks of {}", static_tiles::describe(places));
        lines.extend(tell(&text, &[looked], total));
    }
    Ok(lines)
}

impl Look {
    fn untold(reason: String) -> Look {
        Look { costs: Vec::new(), all: 0, untold: Some(reason) }
    }
}

/// Asks what each of `some` costs, of `all` there are.
async fn look<'a, T, F: Future<Output = Result<Cost, Stop>>>(
    http: &Http,
    some: Vec<&'a T>,
    all: usize,
    cost: impl Fn(&'a T) -> F,
) -> Result<Look, Error> {
    let connections = http.settings.connections;
    let asked: Vec<Result<Cost, Stop>> =
        stream::iter(some.into_iter().map(cost)).buffer_unordered(connections).collect().await;
    let mut look = Look { costs: Vec::new(), all, untold: None };
    for one in asked {
        match unless_fatal(one)? {
            Ok(cost) => look.costs.push(cost),
            Err(reason) => look.untold = Some(reason),
        }
    }
    Ok(look)
}

/// Adds what was looked at to the total, and says so.
fn tell(text: &str, looks: &[Look], total: &mut Estimate) -> Vec<String> {
    let mut sum = Estimate::empty("");
    for look in looks {
        sum.add(&extrapolate(&look.costs, look.all, ""));
    }
    sum.scenes = 0;
    total.add(&sum);
    let untold: Vec<&String> = looks.iter().filter_map(|look| look.untold.as_ref()).collect();
    total.is_partial |= !untold.is_empty();
    let disk = if sum.disk > 0.0 {
        format!(", {} on the disk", human_bytes(sum.disk as u64))
    } else {
        String::new()
    };
    let mut lines = vec![format!("{text}: {:.0} requests, {}{disk}", sum.requests, bytes_text(&sum))];
    lines.extend(untold.into_iter().map(|reason| format!("  not counted: {reason}")));
    lines
}

async fn file_cost(http: &Http, place: &Place) -> Result<Cost, Stop> {
    let (Place::Remote(url) | Place::Tile(url)) = place else { return Ok(Cost::default()) };
    let bytes = size_of(http, url).await?;
    Ok(Cost { requests: 1, bytes, disk: bytes, whole_files: 1, ..Cost::default() })
}

fn unless_fatal<T>(result: Result<T, Stop>) -> Result<Result<T, String>, Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Fatal(error)) => Err(error),
        Err(Stop::Gap(reason) | Stop::Later(reason)) => Ok(Err(reason)),
    }
}
