//! A project's TOML file: `[project]` for all stages, one section for each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Args, Failure};
use crate::objects::parse_url;

/// Sections that a project file may have; each is parsed by the stage that owns it.
const SECTIONS: [&str; 9] =
    ["project", "sampler", "download", "level1", "level2", "train", "explain", "landtypes", "anomaly"];

/// The `[project]` section, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Project {
    /// A short name.
    pub name: String,
    /// The project folder, absolute.
    #[serde(skip)]
    pub dir: PathBuf,
    /// First and last year of the data, both inclusive.
    pub years: [i32; 2],
    /// Seed of everything random.
    pub seed: u64,
    /// What lies in a bucket instead of the project folder.
    #[serde(skip)]
    pub buckets: Buckets,
}

/// URLs `s3://<bucket>/<prefix>` of stores that are not kept in the project folder. They decide no bytes. Endpoint, region
/// and keys come from the usual variables of the environment (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Where the Level-1 stores are.
    pub level1: Option<PathBuf>,
    /// Where the Level-2 stores, `splits.parquet` and `normalisation.json` are.
    pub level2: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectSection {
    name: String,
    dir: Option<PathBuf>,
    years: Option<[i32; 2]>,
    #[serde(default = "default_seed")]
    seed: u64,
    level1: Option<String>,
    level2: Option<String>,
}

fn default_seed() -> u64 {
    42
}

impl Project {
    /// `<dir>/sampler`.
    #[must_use]
    pub fn sampler(&self) -> PathBuf {
        self.dir.join("sampler")
    }

    /// `<dir>/sampler/locations.parquet`.
    #[must_use]
    pub fn locations(&self) -> PathBuf {
        self.sampler().join("locations.parquet")
    }

    /// `<dir>/raw`.
    #[must_use]
    pub fn raw(&self) -> PathBuf {
        self.dir.join("raw")
    }

    /// Where the Level-1 stores are: `<dir>/level1`, or the URL of a place in a bucket.
    #[must_use]
    pub fn level1(&self) -> PathBuf {
        self.buckets.level1.clone().unwrap_or_else(|| self.level1_folder())
    }

    /// `<dir>/level1`: manifest, report, and what is being built for a bucket.
    #[must_use]
    pub fn level1_folder(&self) -> PathBuf {
        self.dir.join("level1")
    }

    /// Where the Level-2 stores are: `<dir>/level2`, or the URL of a place in a bucket.
    #[must_use]
    pub fn level2(&self) -> PathBuf {
        self.buckets.level2.clone().unwrap_or_else(|| self.level2_folder())
    }

    /// `<dir>/level2`: manifest, report, and what is being built for a bucket.
    #[must_use]
    pub fn level2_folder(&self) -> PathBuf {
        self.dir.join("level2")
    }

    /// `<dir>/models`.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// `<dir>/explain`.
    #[must_use]
    pub fn explain(&self) -> PathBuf {
        self.dir.join("explain")
    }

    /// 1 January of the first year.
    #[must_use]
    pub fn first_day(&self) -> NaiveDate {
        NaiveDate::from_ymd_opt(self.years[0], 1, 1).unwrap_or_default()
    }

    /// 31 December of the last year.
    #[must_use]
    pub fn last_day(&self) -> NaiveDate {
        NaiveDate::from_ymd_opt(self.years[1], 12, 31).unwrap_or_default()
    }
}

/// A loaded project file.
pub struct Config {
    /// The `[project]` section.
    pub project: Project,
    /// Where the file is.
    pub path: PathBuf,
    sections: BTreeMap<String, toml::Value>,
}

impl Config {
    /// Loads `--config`; `--dir` overrides `[project] dir`. A relative folder counts from the working directory.
    ///
    /// # Errors
    /// A [`Failure`] that names the file and the key: unreadable file, broken TOML, unknown section or key (with the
    /// nearest known one), missing name or folder, years out of order.
    pub fn load(args: &Args) -> Result<Config, Failure> {
        let path = &args.config;
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::new(format!("{}: cannot read the project file: {error}", path.display()))
                .hint("give a project file with --config, for example configs/demo-africa.toml")
        })?;
        let sections: BTreeMap<String, toml::Value> = toml::from_str(&text)
            .map_err(|error| Failure::new(format!("{}: {}", path.display(), one_line(&error.to_string()))))?;
        for name in sections.keys() {
            if !SECTIONS.contains(&name.as_str()) {
                return Err(unknown_key(path, "the top level", name, &SECTIONS.map(str::to_owned)));
            }
        }
        let found: ProjectSection = parse_section(path, "project", sections.get("project"), &text)?;
        let dir = args.dir.clone().or(found.dir).ok_or_else(|| {
            Failure::new(format!("{}: [project] has no `dir`", path.display()))
                .hint("add dir = \"data/<name>\" or give --dir")
        })?;
        let dir = std::path::absolute(&dir)
            .map_err(|error| Failure::new(format!("{}: not a usable folder: {error}", dir.display())))?;
        let years = found.years.unwrap_or([2018, 2021]);
        if years[0] > years[1] {
            return Err(Failure::new(format!(
                "{}: [project] years: expected [first, last], found [{}, {}]",
                path.display(),
                years[0],
                years[1]
            ))
            .hint("put the earlier year first"));
        }
        let url = |key: &str, text: &Option<String>| {
            text.as_deref().map(|text| bucket_url(path, key, text)).transpose()
        };
        let buckets =
            Buckets { level1: url("level1", &found.level1)?, level2: url("level2", &found.level2)? };
        let project = Project { name: found.name, dir, years, seed: found.seed, buckets };
        Ok(Config { project, path: path.clone(), sections })
    }

    /// Whether the file has this section.
    #[must_use]
    pub fn has_section(&self, name: &str) -> bool {
        self.sections.contains_key(name)
    }

    /// Parses one section; a missing one is the type's default.
    ///
    /// # Errors
    /// A [`Failure`] that names the file, the section, the key and, for an unknown key, the nearest known one.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Failure> {
        if !self.has_section(name) {
            return Ok(T::default());
        }
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        parse_section(&self.path, name, self.sections.get(name), &text)
    }
}

fn bucket_url(path: &Path, key: &str, text: &str) -> Result<PathBuf, Failure> {
    parse_url(text).map_err(|found| {
        Failure::new(format!(
            "{}: [project] {key}: expected s3://<bucket>/<prefix>, found {found}",
            path.display()
        ))
        .hint("keys go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the server into AWS_ENDPOINT_URL")
    })
}

fn parse_section<T: DeserializeOwned>(
    path: &Path,
    name: &str,
    value: Option<&toml::Value>,
    text: &str,
) -> Result<T, Failure> {
    let value = value.cloned().ok_or_else(|| {
        Failure::new(format!("{}: section [{name}] is missing", path.display()))
            .hint("see the shipped files in configs/ for a complete example")
    })?;
    serde_path_to_error::deserialize(value).map_err(|error: serde_path_to_error::Error<toml::de::Error>| {
        let key = error.path().to_string();
        let message = one_line(error.inner().message());
        if let Some((key, known)) = alternatives(&message, "unknown field ") {
            let line = line_of_key(text, name, &key).map_or(String::new(), |line| format!(" (line {line})"));
            return unknown_key(path, &format!("[{name}]{line}"), &key, &known);
        }
        if let Some((value, known)) = alternatives(&message, "unknown variant ") {
            let place = line_of_value(text, name, &value)
                .map_or(String::new(), |(line, key)| format!(" {key} (line {line})"));
            let found = format!("{}: [{name}]{place}: unknown value \"{value}\"", path.display());
            return Failure::new(found).hint(did_you_mean(&value, &known, "values"));
        }
        let place = if key == "." { String::new() } else { format!(" {key}") };
        Failure::new(format!("{}: [{name}]{place}: {message}", path.display()))
            .hint("see the shipped files in configs/ for the type of each key")
    })
}

fn unknown_key(path: &Path, place: &str, key: &str, known: &[String]) -> Failure {
    Failure::new(format!("{}: unknown key `{key}` in {place}", path.display()))
        .hint(did_you_mean(key, known, "keys"))
}

/// The nearest of the known keys or values, and all of them.
fn did_you_mean(word: &str, known: &[String], what: &str) -> String {
    let nearest =
        known.iter().max_by(|a, b| strsim::jaro_winkler(a, word).total_cmp(&strsim::jaro_winkler(b, word)));
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`? known {what}: {}", known.join(", ")),
        None => format!("there are no {what} here"),
    }
}

/// What was found and what is known, from serde's message that begins so.
fn alternatives(message: &str, begin: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix(begin)?;
    let mut quoted = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((quoted.next()?, quoted.collect()))
}

/// The line, from 1, on which a key stands within a section or one of its sub-tables.
fn line_of_key(text: &str, section: &str, key: &str) -> Option<usize> {
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with('[') {
            let header = line.trim_start_matches('[').split(']').next().unwrap_or_default();
            inside = header == section || header.starts_with(&format!("{section}."));
            if inside && header.rsplit('.').next() == Some(key) && header != section {
                return Some(number + 1);
            }
        } else if inside {
            let name = line.split('=').next().unwrap_or_default().trim().trim_matches('"');
            let in_table = line.contains(&format!("{key} =")) || line.contains(&format!("{key}="));
            if name == key || in_table {
                return Some(number + 1);
            }
        }
    }
    None
}

/// The line, from 1, of a section or one of its sub-tables that holds a text as a value, and the key that it stands behind.
fn line_of_value(text: &str, section: &str, value: &str) -> Option<(usize, String)> {
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') && !line.contains('=') {
            let header = line.trim_matches(['[', ']']);
            inside = header == section || header.starts_with(&format!("{section}."));
        } else if let (true, Some(at)) = (inside, line.find(&format!("\"{value}\""))) {
            let before = line[..at].rsplit('=').nth(1).unwrap_or_default();
            let key = before.rsplit(['{', ',']).next().unwrap_or_default().trim();
            return Some((number + 1, key.to_owned()));
        }
    }
    None
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Section {
        max_cloud_cover: f64,
        same_day: SameDay,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum SameDay {
        #[default]
        Separate,
        Merge,
    }

    fn load(text: &str) -> Result<Config, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        fs::write(&path, text).unwrap();
        let args = Args { config: path, ..Args::default() };
        let config = Config::load(&args)?;
        config.section::<Section>("download")?;
        Ok(config)
    }

    #[test]
    fn a_wrong_key_names_line_and_nearest_key() {
        let text = "[project]\nname = \"a\"\ndir = \"d\"\n\n[download]\nmax_cloud_cver = 3\n";
        let failure = load(text).err().unwrap();
        assert!(
            failure.to_string().contains("unknown key `max_cloud_cver` in [download] (line 6)"),
            "{failure}"
        );
        assert!(failure.hint_text().unwrap().contains("did you mean `max_cloud_cover`"));
    }

    #[test]
    fn a_wrong_value_names_its_key_and_the_values() {
        let text = "[project]\nname = \"a\"\ndir = \"d\"\n\n[download]\nsame_day = \"mege\"\n";
        let failure = load(text).err().unwrap();
        let told = failure.to_string();
        assert!(told.contains("[download] same_day (line 6): unknown value \"mege\""), "{told}");
        assert_eq!(failure.hint_text().unwrap(), "did you mean `merge`? known values: separate, merge");
        let failure =
            load(&text.replace("same_day =", "x = [1, { same_day =").replace("mege\"", "mege\" }]"));
        assert!(failure.err().unwrap().to_string().contains("unknown key `x`"));
        assert_eq!(line_of_value(text, "project", "d"), Some((3, "dir".to_owned())));
        let table = "[level1.smap]\nvariables = [{ name = \"t\", reduce = \"men\" }]";
        assert_eq!(line_of_value(table, "level1", "men"), Some((2, "reduce".to_owned())));
    }

    #[test]
    fn a_value_of_another_type_names_its_key() {
        let told = |text: &str| load(text).err().unwrap().to_string();
        let text = told("[project]\nname = \"a\"\ndir = \"d\"\nyears = [2018, 2019, 2020]\n");
        assert!(text.contains("[project] years: invalid length 3"), "{text}");
        let text = told("[project]\nname = \"a\"\ndir = \"d\"\n[download]\nmax_cloud_cover = \"x\"\n");
        assert!(text.contains("[download] max_cloud_cover: invalid type: string \"x\""), "{text}");
    }

    #[test]
    fn a_wrong_section_names_the_nearest() {
        let failure = load("[project]\nname = \"a\"\ndir = \"d\"\n[downlod]\n").err().unwrap();
        assert!(failure.hint_text().unwrap().contains("did you mean `download`"), "{failure:?}");
    }

    #[test]
    fn levels_may_lie_in_a_bucket() {
        let text = "[project]\nname = \"a\"\ndir = \"d\"\nlevel2 = \"s3://cubes/a/level2\"\n";
        let project = load(text).unwrap().project;
        assert_eq!(project.level2(), Path::new("s3://cubes/a/level2"));
        assert_eq!(project.level1(), project.level1_folder());
        let failure = load(&text.replace("s3://", "s3://me:secret@")).err().unwrap();
        assert!(
            failure.to_string().contains("[project] level2: expected s3://<bucket>/<prefix>"),
            "{failure}"
        );
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }

    #[test]
    fn years_must_ascend_and_a_section_may_be_missing() {
        let failure = load("[project]\nname = \"a\"\ndir = \"d\"\nyears = [2022, 2021]\n").err().unwrap();
        assert!(failure.to_string().contains("found [2022, 2021]"));
        let config = load("[project]\nname = \"a\"\ndir = \"d\"\nyears = [2021, 2022]\n").unwrap();
        assert_eq!(config.section::<Section>("download").unwrap().max_cloud_cover, 0.0);
        assert_eq!(config.project.last_day().to_string(), "2022-12-31");
        assert_eq!(config.project.seed, 42);
    }
}
