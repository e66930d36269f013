//! Report pages in a headless browser: each opens from disk, logs no console error and asks the network for nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::chain::{CHAIN, read_json};
use crate::failure::fail;
use crate::setup::browser;
use crate::workspace::target_dir;

/// Smallest PNG of a page with something on it: a page with one heading and nothing else has 19 kB.
const SMALLEST_SCREENSHOT_BYTES: u64 = 25_000;

/// Opens every report of a project and the index page above it; screenshots go to `<target>/pages`.
pub(crate) fn check(project: &Path) -> Result<usize> {
    let browser = browser().ok_or_else(|| fail("no Chromium on PATH", "cargo xtask setup --test"))?;
    let shots = target_dir()?.join("pages");
    fs::create_dir_all(&shots).with_context(|| shots.display().to_string())?;
    let index = project.parent().map(|parent| parent.join("index.html")).filter(|page| page.is_file());
    let pages: Vec<PathBuf> =
        index.into_iter().chain(CHAIN.iter().flat_map(|s| s.reports(project))).collect();
    let silent: Vec<_> =
        CHAIN.iter().filter(|stage| stage.reports(project).is_empty()).map(|s| s.bin).collect();
    ensure!(silent.is_empty(), "no report.html of {} in {}", silent.join(", "), project.display());
    for page in &pages {
        let relative = page.strip_prefix(project.parent().unwrap_or(project)).unwrap_or(page);
        let name = relative.with_extension("").to_string_lossy().replace('/', "-");
        open(&browser, page, &shots.join(format!("{name}.png")))?;
    }
    println!("{} pages; screenshots in {}", pages.len(), shots.display());
    Ok(pages.len())
}

fn open(browser: &Path, page: &Path, screenshot: &Path) -> Result<()> {
    let scratch = screenshot.with_extension("profile");
    let net_log = screenshot.with_extension("netlog.json");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([
            "--disable-default-apps",
            "--disable-extensions",
            "--hide-scrollbars",
            "--window-size=1200,3000",
        ])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000"])
        // What the browser itself asks for goes nowhere either.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
        .arg(format!("--user-data-dir={}", scratch.display()))
        .arg(format!("--log-net-log={}", net_log.display()))
        .arg(format!("--screenshot={}", screenshot.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .context("chromium: could not start")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: chromium ended with {}\n{log}", page.display(), output.status);
    if let Some(line) = log.lines().find(|line| line.contains(":CONSOLE")) {
        bail!("{}: the page wrote to the browser's console: {line}", page.display());
    }
    let requests = requests(&read_json(&net_log)?);
    ensure!(requests.is_empty(), "{}: the page asks the network for {}", page.display(), requests.join(", "));
    let size = fs::metadata(screenshot).map(|meta| meta.len()).unwrap_or(0);
    ensure!(
        size >= SMALLEST_SCREENSHOT_BYTES,
        "{}: looks empty, its screenshot has {size} bytes",
        page.display()
    );
    fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    fs::remove_file(&net_log).with_context(|| net_log.display().to_string())
}

/// Addresses that a page (and not the browser itself) asked for, from Chromium's network log.
fn requests(net_log: &Value) -> Vec<String> {
    let events = net_log["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let from_page = events
        .iter()
        .map(|event| &event["params"])
        .filter(|params| params["initiator"].as_str().is_some_and(|initiator| initiator != "not an origin"));
    let addresses = from_page.filter_map(|params| params["url"].as_str());
    let mut remote: Vec<_> = addresses
        .filter(|url| !url.starts_with("file:") && !url.starts_with("data:"))
        .map(String::from)
        .collect();
    remote.sort();
    remote.dedup();
    remote
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_pages_own_remote_requests_count() {
        let log = json!({"events": [
            {"params": {"url": "file:///a/report.html", "initiator": "file://"}},
            {"params": {"url": "https://example.org/font.woff", "initiator": "file://"}},
            {"params": {"url": "https://update.example.org/", "initiator": "not an origin"}},
            {"params": {"url": "data:image/png;base64,AA", "initiator": "file://"}},
            {"phase": 1}
        ]});
        assert_eq!(requests(&log), ["https://example.org/font.woff"]);
    }
}
