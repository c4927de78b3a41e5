//! Flags before variables before the file before defaults, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::keys::{KEYS, Key, Kind, find, nearest};

/// Values as they were written, by the flag's name. A switch that is on has the value `true`.
pub(crate) type Layer = BTreeMap<&'static str, Vec<String>>;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    /// The variable of this name.
    Environment(&'static str),
    File(PathBuf),
    Default,
    /// This machine, or the plan as a whole.
    Host,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Host => f.write_str("this machine"),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) values: Vec<String>,
    pub(crate) origin: Origin,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    #[error("unknown key `{key}`{}", nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Unknown {
        key: String,
        nearest: Option<&'static str>,
    },
    #[error("`{0}` must be {1}")]
    Kind(&'static str, &'static str),
}

/// Reads the text of a `pd-launcher.toml`.
pub(crate) fn read_file(text: &str) -> Result<Layer, FileError> {
    let table: toml::Table = text.parse()?;
    let mut layer = Layer::new();
    for (name, value) in table {
        let Some(key) = find(&name) else {
            let nearest = nearest(&name);
            return Err(FileError::Unknown { key: name, nearest });
        };
        layer.insert(key.flag, written(key, value)?);
    }
    Ok(layer)
}

fn written(key: &Key, value: toml::Value) -> Result<Vec<String>, FileError> {
    use toml::Value;
    match (key.kind, value) {
        (Kind::Switch, Value::Boolean(on)) => Ok(vec![on.to_string()]),
        (Kind::Switch, _) => Err(FileError::Kind(key.flag, "true or false")),
        (Kind::List, Value::Array(values)) => values
            .into_iter()
            .map(|value| scalar(value).ok_or(FileError::Kind(key.flag, "a list of values")))
            .collect(),
        (Kind::List, _) => Err(FileError::Kind(key.flag, "a list of values")),
        // A list of GPUs reads well as a list.
        (Kind::Value, Value::Array(values)) if key.flag.ends_with("-gpu") => {
            let values: Option<Vec<String>> = values.into_iter().map(scalar).collect();
            let values = values.ok_or(FileError::Kind(key.flag, "a list of GPUs"))?;
            Ok(vec![values.join(",")])
        }
        (Kind::Value, value) => scalar(value)
            .map(|value| vec![value])
            .ok_or(FileError::Kind(key.flag, "one value")),
    }
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    }
}

/// What everything is set to, with origins.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    entries: BTreeMap<&'static str, Entry>,
}

impl Layers {
    /// Lays the layers over each other. A variable that is empty counts as not set, as the testbed's
    /// `${NAME:-default}` has it.
    pub(crate) fn new(
        flags: &Layer,
        env: &dyn Fn(&str) -> Option<String>,
        file: Option<(PathBuf, Layer)>,
    ) -> Self {
        let mut entries = BTreeMap::new();
        for key in KEYS {
            let from_flag = || flags.get(key.flag).cloned().map(|v| (v, Origin::Flag));
            let from_env = || {
                let name = key.env?;
                let value = env(name).filter(|value| !value.is_empty())?;
                Some((vec![value], Origin::Environment(name)))
            };
            let from_file = || {
                let (path, layer) = file.as_ref()?;
                let values = layer.get(key.flag).cloned()?;
                Some((values, Origin::File(path.clone())))
            };
            let by_default = || Some((vec![key.default?.to_owned()], Origin::Default));
            let found = from_flag()
                .or_else(from_env)
                .or_else(from_file)
                .or_else(by_default);
            if let Some((values, origin)) = found {
                entries.insert(key.flag, Entry { values, origin });
            }
        }
        Self { entries }
    }

    /// What a key is set to; `None` if nobody said and it has no default.
    pub(crate) fn get(&self, flag: &str) -> Option<&Entry> {
        self.entries.get(flag)
    }

    /// Fills in what the machine says, where nobody has said anything.
    pub(crate) fn fill(&mut self, flag: &'static str, value: impl FnOnce() -> String) {
        self.entries.entry(flag).or_insert_with(|| Entry {
            values: vec![value()],
            origin: Origin::Host,
        });
    }

    /// One line for each key that has a value, as the file would have it.
    pub(crate) fn show(&self, origins: bool) -> Vec<String> {
        let entries = KEYS
            .iter()
            .filter_map(|key| Some((key, self.get(key.flag)?)));
        let entries: Vec<(String, &Origin)> = entries
            .map(|(key, entry)| (line(key, entry), &entry.origin))
            .collect();
        let width = entries
            .iter()
            .map(|(line, _)| line.len())
            .max()
            .unwrap_or(0);
        let shown = entries.into_iter().map(|(line, origin)| {
            if origins {
                format!("{line:width$}  # {origin}")
            } else {
                line
            }
        });
        shown.collect()
    }
}

fn line(key: &Key, entry: &Entry) -> String {
    let hidden = key.is_secret() && entry.origin != Origin::Default;
    let quoted = |text: &String| {
        let plain = text.parse::<f64>().is_ok() || key.kind == Kind::Switch;
        if hidden {
            "\"(hidden)\"".to_owned()
        } else if plain {
            text.clone()
        } else {
            // Its escapes are those of a basic string too (TOML 1.0, string).
            serde_json::Value::from(text.as_str()).to_string()
        }
    };
    let values: Vec<String> = entry.values.iter().map(quoted).collect();
    match key.kind {
        Kind::List => format!("{} = [{}]", key.flag, values.join(", ")),
        Kind::Value | Kind::Switch => format!("{} = {}", key.flag, values.join(" ")),
    }
}
