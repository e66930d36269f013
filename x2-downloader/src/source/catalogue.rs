//! The scenes of a tile by the catalogue, whose answer is kept.

use std::path::Path;

use minicube::{plan_hash, write_atomic};
use serde_json::{Value, json};

use super::revisit::{Completeness, completeness};
use super::scenes::{SUPERSEDED, Selection, Superseded, select, strip_credentials};
use super::sentinel2::SOURCE;
use super::stac;
use crate::Error;
use crate::ledger::{Head, Part, Row, State, parts_folder};
use crate::net::{Http, Stop};
use crate::plan::{Plan, TilePlan};

/// The scenes of a tile, from the catalogue's answer of an earlier run or, if there is none for this question or
/// `refresh` is set, from the catalogue. What newer processings replace goes into the ledger.
///
/// # Errors
/// [`Error::Search`] if the catalogue does not answer, or not with items.
pub(crate) async fn find_scenes(
    http: &Http,
    plan: &Plan,
    tile: &TilePlan,
    refresh: bool,
) -> Result<(Selection, Completeness), Error> {
    let Some(wanted) = &plan.sentinel2 else { return Ok(Default::default()) };
    let failed = |reason: String| Error::Search { tile: tile.id.clone(), reason };
    let folder = parts_folder(&plan.project.raw()).join(SOURCE).join(&tile.id);
    let cache = folder.join("search.json");
    let first = stac::first_page(plan, wanted, tile);
    let question = first.identity();
    let items = match cached(&cache, &question).filter(|_| !refresh) {
        Some(items) => items,
        None => {
            let mut items = Value::Array(match stac::search(http, first).await {
                Ok(items) => items,
                Err(Stop::Gap(reason) | Stop::Later(reason)) => return Err(failed(reason)),
                Err(Stop::Fatal(error)) => return Err(error),
            });
            strip_credentials(&mut items);
            let answer = json!({"question": question, "items": items});
            write_atomic(&cache, answer.to_string().as_bytes())?;
            let Value::Array(items) = items else { return Ok(Default::default()) };
            items
        }
    };
    let selection = select(&items, &tile.id, wanted, (plan.first, plan.last)).map_err(failed)?;
    note_superseded(&folder.join(format!("{SUPERSEDED}.jsonl")), tile, &selection.superseded)?;
    let completeness = completeness(&selection.passes);
    Ok((selection, completeness))
}

/// The scenes of a tile by the catalogue's answer of an earlier run, `None` if it was not asked this question.
pub(crate) fn kept_scenes(plan: &Plan, tile: &TilePlan) -> Option<Selection> {
    let wanted = plan.sentinel2.as_ref()?;
    let cache = parts_folder(&plan.project.raw()).join(SOURCE).join(&tile.id).join("search.json");
    let items = cached(&cache, &stac::first_page(plan, wanted, tile).identity())?;
    select(&items, &tile.id, wanted, (plan.first, plan.last)).ok()
}

fn cached(path: &Path, question: &str) -> Option<Vec<Value>> {
    let mut answer: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    if answer["question"] != question {
        return None;
    }
    match answer["items"].take() {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn note_superseded(path: &Path, tile: &TilePlan, superseded: &[Superseded]) -> Result<(), Error> {
    let row = |old: &Superseded| {
        Row::whole(SOURCE, &old.id, "", "", State::Superseded).because(format!("replaced by {}", old.by))
    };
    let want = plan_hash(&superseded.iter().map(|old| (&old.id, &old.by)).collect::<Vec<_>>());
    if Part::read(path).is_some_and(|part| part.head.want == want) {
        return Ok(());
    }
    let head = Head { want, tile: tile.id.clone(), day: String::new(), files: Vec::new() };
    Part { head, rows: superseded.iter().map(row).collect() }.seal(path).map(|_| ())
}
