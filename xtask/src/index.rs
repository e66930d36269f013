//! The demo's index page: self-contained, opens offline, links every report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::chain::{CHAIN, Row};
use crate::demo::{Region, table_row};

/// Columns of the demo's table.
pub(crate) const HEADER: [&str; 6] = ["region", "stage", "items", "time", "bytes", "peak memory"];

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --accent: #2e7d4f }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .8rem; padding: 0; list-style: none }
li { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem 1rem }
a { color: var(--accent); font-weight: 600; text-decoration: none } a:hover { text-decoration: underline }
small { display: block; opacity: .7 }
";

/// Writes `<out>/index.html`; its path.
pub(crate) fn write(out: &Path, regions: &[Region], rows: &[(String, Row)]) -> Result<PathBuf> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>minicube demo</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">\
         <style>{STYLE}</style></head>\n<body><h1>minicube demo</h1>\n\
         <p>From places on a synthetic Earth to why a model forecast what it did. Every stage left a report.</p>\n"
    );
    for region in regions {
        page.push_str(&format!("<h2>{}</h2>\n<ol>\n", escape(&region.name)));
        for stage in &CHAIN {
            for report in stage.reports(&region.folder) {
                page.push_str(&card(out, &report, stage.bin, stage.verb));
            }
        }
        page.push_str("</ol>\n");
    }
    page.push_str("<h2>What it took</h2>\n<table><thead><tr>");
    HEADER.iter().for_each(|cell| page.push_str(&format!("<th>{cell}</th>")));
    page.push_str("</tr></thead><tbody>\n");
    for (region, row) in rows {
        let cells = table_row(region, row)
            .iter()
            .map(|cell| format!("<td>{}</td>", escape(cell)))
            .collect::<String>();
        page.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    page.push_str("</tbody></table>\n</body></html>\n");
    let path = out.join("index.html");
    fs::write(&path, page).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn card(out: &Path, report: &Path, bin: &str, verb: &str) -> String {
    let link = report.strip_prefix(out).unwrap_or(report).to_string_lossy().replace('\\', "/");
    // models/rnn/report.html is named by its model, sampler/report.html by its stage alone.
    let folders: Vec<_> = link.split('/').collect();
    let label = match folders.as_slice() {
        [_region, _stage, model, _file] => format!("{bin}: {model}"),
        _ => bin.to_string(),
    };
    format!("<li><a href=\"{}\">{}</a><small>{verb}</small></li>\n", escape(&link), escape(&label))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
