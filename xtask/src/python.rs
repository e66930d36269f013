//! Python scripts that name their own packages: a virtual environment per set of packages, made from PyPI once.
//!
//! A script, or the module that a folder of scripts shares, starts with an inline-metadata block (PEP 723), one package a line:
//!
//! ```python
//! # /// script
//! # dependencies = [
//! #   "numpy==2.3.5",
//! # ]
//! # ///
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::failure::fail;
use crate::workspace::{find_program, run, target_dir};

/// A command that runs `script` with the packages installed that `header` names: itself, or what it imports.
pub(crate) fn script(script: &Path, header: &Path) -> Result<Command> {
    let python = environment(&dependencies(header)?)?;
    let mut command = Command::new(python);
    command.arg(script).stdin(Stdio::null());
    Ok(command)
}

/// The packages that a script names in its header.
fn dependencies(script: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(script).with_context(|| script.display().to_string())?;
    parse_header(&text).ok_or_else(|| {
        fail(
            format!("{}: names no packages", script.display()),
            "begin it with a `# /// script` block (PEP 723)",
        )
    })
}

/// The `dependencies` array of the inline-metadata block, which is TOML behind `# `.
fn parse_header(text: &str) -> Option<Vec<String>> {
    let body =
        text.lines().skip_while(|line| *line != "# /// script").skip(1).take_while(|line| *line != "# ///");
    let toml = body.map(|line| line.trim_start_matches('#').trim_start()).collect::<Vec<_>>().join("\n");
    let table: toml::Table = toml.parse().ok()?;
    table.get("dependencies")?.as_array()?.iter().map(|item| item.as_str().map(String::from)).collect()
}

/// The interpreter of an environment that holds exactly `packages`; made when it is not there yet.
fn environment(packages: &[String]) -> Result<PathBuf> {
    let wanted = packages.join("\n");
    let folder = target_dir()?.join("python").join(format!("{:016x}", fnv1a(wanted.as_bytes())));
    let python = folder.join("bin/python");
    let stamp = folder.join("packages.txt");
    if fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    println!("python packages: {}", packages.join(" "));
    let base =
        find_program("python3").ok_or_else(|| fail("no python3 on PATH", "cargo xtask setup --test"))?;
    run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder), "python3 -m venv")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    run(&mut pip, "pip install")
        .map_err(|error| fail(format!("{error:#}"), "the packages come from PyPI"))?;
    fs::write(&stamp, wanted).with_context(|| stamp.display().to_string())?;
    Ok(python)
}

/// FNV-1a: names folders, protects nothing.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_read() {
        let text = "# /// script\n# dependencies = [\n#   \"numpy==2.3.5\",\n#   \"zarr\",\n# ]\n# ///\nimport numpy\n";
        assert_eq!(parse_header(text).unwrap(), ["numpy==2.3.5", "zarr"]);
        assert_eq!(parse_header("import numpy\n"), None);
    }

    #[test]
    fn hash_is_the_published_one() {
        // Test vector of the FNV page: fnv1a64("foobar").
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
