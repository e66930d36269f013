//! Rasters that come in one transfer: those of which nearly everything is wanted, and those without blocks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minicube::partial_path;

use crate::Error;
use crate::blocks::Span;
use crate::ledger::{Journal, Row, State};
use crate::net::{Http, Stop};
use crate::raster::{Raster, Stored, blocking, gap};
use crate::sparse_work::Work;

/// Fetches the whole file beside the sparse one, takes the missing blocks out of it, and removes it.
pub(crate) async fn take_blocks(
    http: &Http,
    work: &Arc<Work>,
    missing: &BTreeSet<usize>,
    file: &Arc<File>,
) -> Result<Vec<(usize, Row)>, Stop> {
    let aside = aside(&work.raster.path);
    http.download(&work.raster.url, &aside).await?;
    let (work, missing, file) = (Arc::clone(work), missing.clone(), Arc::clone(file));
    let whole = partial_path(&aside);
    let taken = blocking(move || {
        let taken = copy_blocks(&work, &whole, &missing, &file);
        // Best effort: it is in the way of nobody.
        let _ = fs::remove_file(&whole);
        taken.map(|rows| rows.map_err(|reason| gap(&work.raster, reason)))
    });
    taken.await??
}

/// Keeps a file that has no blocks as it is, under its own suffix.
pub(crate) async fn store_as_it_is(
    http: &Http,
    raster: Raster,
    journal: &Arc<Journal>,
) -> Result<Stored, Stop> {
    let path = raster.path.with_extension("jp2");
    let there = fs::metadata(&path).map(|file| file.len()).ok();
    let known = raster.known.iter().rfind(|row| row.block_row < 0 && row.is_here());
    if let Some(row) = known.filter(|row| there == Some(row.length)) {
        return Ok(Stored { rows: vec![row.clone()], path, bytes: row.length, payload: 0 });
    }
    let fetched = http.download(&raster.url, &path).await?;
    let template = &raster.row;
    let bare =
        Row::whole(&template.source, &template.item, &template.asset, &template.url_path, State::Fetched);
    let row = Row { length: fetched.len, sha256: Some(fetched.sha256), etag: fetched.etag, ..bare }
        .because("JPEG 2000 has no blocks that could be fetched alone");
    journal.append(&row)?;
    fs::rename(partial_path(&path), &path).map_err(Error::io(&path, "rename"))?;
    Ok(Stored { rows: vec![row], path, bytes: fetched.len, payload: fetched.len })
}

/// Where a whole file stands while its blocks are taken: `<name>.whole`, and `.partial` behind that.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".whole");
    name.into()
}

fn copy_blocks(
    work: &Work,
    whole: &Path,
    missing: &BTreeSet<usize>,
    file: &File,
) -> Result<Result<Vec<(usize, Row)>, String>, Error> {
    let from = File::open(whole).map_err(Error::io(whole, "read"))?;
    let mut rows = Vec::new();
    for &block in missing {
        let Some((at, len)) = work.header.span(block) else { continue };
        let span = Span { bytes: at..at + len, blocks: vec![block] };
        let mut bytes = vec![0; len as usize];
        from.read_exact_at(&mut bytes, at).map_err(Error::io(whole, "read"))?;
        work.put_piece(file, &span, at, &bytes)?;
        match work.take(&span, &bytes)? {
            Ok(taken) => rows.extend(taken),
            Err(damage) => return Ok(Err(damage)),
        }
    }
    Ok(Ok(rows))
}
