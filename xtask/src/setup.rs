//! `cargo xtask setup`: the system libraries that the build links, and the tools that the tests call.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::failure::fail;
use crate::workspace::{find_program, run as run_command};

/// Flags of `setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also what `cargo xtask test` needs: a headless browser and Python's venv
    #[arg(long)]
    test: bool,
    /// Only say what is missing; install nothing
    #[arg(long)]
    check: bool,
}

/// One thing that the machine must have.
struct Need {
    what: &'static str,
    /// Debian package that brings it.
    package: &'static str,
    found: fn() -> bool,
}

/// What the build needs.
const BUILD: [Need; 6] = [
    Need { what: "pkg-config", package: "pkg-config", found: || find_program("pkg-config").is_some() },
    Need { what: "GDAL", package: "libgdal-dev", found: || pkg_config("gdal") },
    Need { what: "PROJ", package: "libproj-dev", found: || pkg_config("proj") },
    Need { what: "HDF5", package: "libhdf5-dev", found: || pkg_config("hdf5") || pkg_config("hdf5-serial") },
    Need { what: "NetCDF", package: "libnetcdf-dev", found: || pkg_config("netcdf") },
    Need { what: "libclang (for bindgen)", package: "libclang-dev", found: libclang },
];

/// What the tests need on top.
const TEST: [Need; 2] = [
    Need { what: "Chromium", package: "chromium", found: || browser().is_some() },
    Need { what: "Python with venv", package: "python3-venv", found: python_venv },
];

/// Runs `setup`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let missing = missing(args.test);
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    println!("missing: {}", names(&missing));
    if args.check {
        println!("install: {}", apt_command(&missing));
        return Ok(ExitCode::FAILURE);
    }
    install(&missing)?;
    println!("installed: {}", names(&missing));
    Ok(ExitCode::SUCCESS)
}

/// Installs whatever is missing and says nothing when nothing is.
pub(crate) fn ensure(with_tests: bool) -> Result<()> {
    let missing = missing(with_tests);
    if missing.is_empty() {
        return Ok(());
    }
    println!("setting up: {}", names(&missing));
    install(&missing)
}

/// The browser that opens the report pages.
pub(crate) fn browser() -> Option<std::path::PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find_program)
}

fn missing(with_tests: bool) -> Vec<&'static Need> {
    let tests = TEST.iter().filter(|_| with_tests);
    BUILD.iter().chain(tests).filter(|need| !(need.found)()).collect()
}

fn names(needs: &[&Need]) -> String {
    needs.iter().map(|need| need.what).collect::<Vec<_>>().join(", ")
}

/// Installs with apt as root or through sudo.
///
/// # Errors
/// Where neither is possible, or apt fails; the hint is the command to type.
fn install(needs: &[&Need]) -> Result<()> {
    let command = apt_command(needs);
    let Some(prefix) = apt_prefix() else {
        return Err(fail(
            format!("missing on this machine: {}", names(needs)),
            format!(
                "on Debian or Ubuntu: {command}; elsewhere install the same libraries with their headers"
            ),
        ));
    };
    for arguments in ["update".to_string(), install_arguments(needs)] {
        let mut apt = Command::new(prefix[0]);
        apt.args(&prefix[1..]).args(arguments.split(' ')).env("DEBIAN_FRONTEND", "noninteractive");
        run_command(apt.stdout(Stdio::null()), &format!("apt-get {arguments}"))
            .map_err(|error| fail(format!("{error:#}"), format!("run it by hand: {command}")))?;
    }
    let still: Vec<_> = needs.iter().copied().filter(|need| !(need.found)()).collect();
    if still.is_empty() {
        return Ok(());
    }
    Err(fail(
        format!("still missing after installation: {}", names(&still)),
        format!("look at what this prints: {}", apt_command(&still)),
    ))
}

fn install_arguments(needs: &[&Need]) -> String {
    let packages: Vec<_> = needs.iter().map(|need| need.package).collect();
    format!("install --yes --no-install-recommends {}", packages.join(" "))
}

fn apt_command(needs: &[&Need]) -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get update && {sudo}apt-get {}", install_arguments(needs))
}

/// How apt can be called here without asking for a password; `None` where it cannot.
fn apt_prefix() -> Option<&'static [&'static str]> {
    find_program("apt-get")?;
    if is_root() {
        return Some(&["apt-get"]);
    }
    succeeds(Command::new("sudo").args(["--non-interactive", "true"])).then_some(&["sudo", "apt-get"][..])
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().next());
    uid == Some("0")
}

fn pkg_config(library: &str) -> bool {
    succeeds(Command::new("pkg-config").args(["--exists", library]))
}

fn python_venv() -> bool {
    succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"]))
}

/// A `libclang.so` where bindgen looks: `LIBCLANG_PATH`, the loader's folders, LLVM's own.
fn libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let llvm = list("/usr/lib").into_iter().filter(|p| p.contains("/llvm")).map(|p| format!("{p}/lib"));
    let fixed = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let mut folders = fixed.into_iter().map(String::from).chain(llvm);
    folders.any(|folder| list(&folder).iter().any(|path| is_libclang(path)))
}

/// `libclang.so`, `libclang-14.so.1` and the like; `libclang-cpp` is another library, which GDAL's packages bring along.
fn is_libclang(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("libclang.so")
        || (name.starts_with("libclang-") && !name.starts_with("libclang-cpp") && name.contains(".so"))
}

fn list(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpp_library_is_not_libclang() {
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so.1", "libclang-14.so.14.0.6"] {
            assert!(is_libclang(&format!("/usr/lib/llvm-14/lib/{name}")), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang-cpp.so", "libclang-14.a", "libclangBasic.a"] {
            assert!(!is_libclang(&format!("/usr/lib/llvm-14/lib/{name}")), "{name}");
        }
    }
}
