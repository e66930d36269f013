//! `export`: every sample of Level 2 as a NetCDF file of its own.

mod cf;
mod en22;
mod file;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use minicube::run::{Ctx, Failure, Finish, Project, Run};
use minicube::{Cube, Outcome, Split, content_hash, is_url, list_stores};
use rayon::prelude::*;
use serde::Serialize;

use crate::Error;
use file::NcFile;

/// Changes whenever the same store would give other files.
const VERSION: u32 = 1;
/// The attribute by which a file of an earlier run is known.
const SOURCE: &str = "minicube_source";

/// How the files are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportLayout {
    /// Everything that Level 2 has, by the CF conventions: `[time, y, x]`.
    Minicube,
    /// What the EarthNet2022 loader of earthnet-models-pytorch reads: `[y, x, time]`, its names and units.
    En22,
}

impl ExportLayout {
    fn name(self) -> &'static str {
        match self {
            ExportLayout::Minicube => "minicube",
            ExportLayout::En22 => "en22",
        }
    }
}

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct Export {
    /// The files' layout.
    pub layout: ExportLayout,
    /// One split, or all.
    pub split: Option<Split>,
    /// The folder that becomes `<layout>/<split>/<sample>.nc`; `<project>/export` where absent.
    pub out: Option<PathBuf>,
}

/// Writes one file per sample. Files that stand there from the same store are left alone.
///
/// # Errors
/// A [`Failure`] where there is no Level 2, a store cannot be read or has not what the layout needs, or the disk is full.
pub fn export(project: &Project, export: &Export, ctx: &Ctx) -> Result<Finish, Failure> {
    let out = export.out.clone().unwrap_or_else(|| project.dir.join("export"));
    if is_url(&out) {
        return Err(Failure::new(format!("{}: expected a folder, found a URL", out.display()))
            .hint("export to a folder and copy it"));
    }
    let folder = out.join(export.layout.name());
    let stores = stores(project, export.split)?;
    let plan = serde_json::json!({"layout": export.layout, "split": export.split, "version": VERSION});
    let mut run = Run::start("x4-level2 export", env!("CARGO_PKG_VERSION"), ctx, &plan, project.seed);
    let progress = ctx.progress(export.layout.name(), stores.len() as u64);
    let mut written = 0;
    for (index, (split, path)) in stores.iter().enumerate().filter(|(index, _)| ctx.mine(*index)) {
        progress.set_message(format!("{split} {}", index + 1));
        let clock = Instant::now();
        let done = export_store(path, *split, export.layout, &folder.join(split.name()))?;
        let name = format!("{split}/{}", path.file_stem().unwrap_or_default().to_string_lossy());
        run.input(&path.join("zarr.json"));
        run.outcome(match done.written.len() {
            0 => Outcome::skipped(name, format!("{} files done before", done.files)),
            _ => Outcome::ok(name, clock.elapsed().as_secs_f64(), done.bytes),
        });
        done.written.iter().for_each(|file| run.output(file));
        written += done.written.len();
        progress.inc(1);
    }
    progress.finish();
    run.note("files written", written);
    run.note("layout", export.layout.name());
    run.note("folder", folder.display().to_string());
    run.finish(&folder, None)
}

fn stores(project: &Project, split: Option<Split>) -> Result<Vec<(Split, PathBuf)>, Error> {
    let level2 = project.level2();
    let mut found = Vec::new();
    for split in Split::ALL.into_iter().filter(|one| split.is_none_or(|split| split == *one)) {
        found.extend(list_stores(&level2.join(split.name()))?.into_iter().map(|path| (split, path)));
    }
    if found.is_empty() {
        let path = split.map_or(level2.clone(), |split| level2.join(split.name()));
        return Err(Error::NoInput { path, what: "level-2 stores" });
    }
    Ok(found)
}

/// What became of one store.
#[derive(Default)]
struct Done {
    files: usize,
    written: Vec<PathBuf>,
    bytes: u64,
}

/// The samples of one store, in parallel but for the library, which works on one file at a time.
fn export_store(path: &Path, split: Split, layout: ExportLayout, folder: &Path) -> Result<Done, Error> {
    let cube = Cube::open(path, "level2")?;
    let source = format!("{} {} {VERSION}", content_hash(path)?, layout.name());
    let ids = cube.read_strings("sample_id")?;
    if layout == ExportLayout::En22 {
        en22::check(&cube)?;
    }
    let parts = ids.par_iter().enumerate().map(|(sample, id)| {
        let target = folder.join(format!("{id}.nc"));
        if file::text_attribute(&target, SOURCE).is_some_and(|found| found == source) {
            return Ok(Done { files: 1, ..Done::default() });
        }
        let mut content: NcFile = match layout {
            ExportLayout::Minicube => cf::sample(&cube, sample)?,
            ExportLayout::En22 => en22::sample(&cube, sample)?,
        };
        content.attrs.insert("split".into(), split.name().into());
        content.attrs.insert(SOURCE.into(), source.as_str().into());
        let bytes = content.write(&target)?;
        Ok(Done { files: 1, written: vec![target], bytes })
    });
    parts.try_reduce(Done::default, |a, b| {
        let written = [a.written, b.written].concat();
        Ok(Done { files: a.files + b.files, written, bytes: a.bytes + b.bytes })
    })
}
