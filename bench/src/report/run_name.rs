//! Names of runs: what was measured, told by the name of a file.

use std::fmt;

/// How the measured system was set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Mode {
    /// Prefill and decode on different nodes.
    Disagg,
    /// Both on one node.
    Agg,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disagg => "disagg",
            Self::Agg => "agg",
        })
    }
}

/// One point of a sweep. Its text form is the run's id, as the testbed's sweep writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    /// Only later versions of the testbed tell it.
    pub mode: Option<Mode>,
    /// The model, as far as a file name can hold it; see [`model_tag`].
    pub tag: String,
    /// Requests under way at a time.
    pub concurrency: u64,
    /// Words of each prompt.
    pub prompt_tokens: u64,
    /// Longest answer, in tokens.
    pub max_tokens: u64,
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mode) = self.mode {
            write!(f, "{mode}_")?;
        }
        write!(
            f,
            "model_{}_conc{}_pt{}_mt{}",
            self.tag, self.concurrency, self.prompt_tokens, self.max_tokens
        )
    }
}

impl RunName {
    /// The name of the run's files, without what follows the dot.
    #[must_use]
    pub fn file_stem(&self) -> String {
        format!("run_{self}")
    }

    /// Understands the name of a run's file without what follows the last dot.
    #[must_use]
    pub fn from_file_stem(stem: &str) -> Option<Self> {
        let id = stem.strip_prefix("run_")?;
        let (mode, id) = match id.strip_prefix("disagg_") {
            Some(id) => (Some(Mode::Disagg), id),
            None => match id.strip_prefix("agg_") {
                Some(id) => (Some(Mode::Agg), id),
                None => (None, id),
            },
        };
        // From the end: a model's name may hold anything.
        let (rest, max_tokens) = id.strip_prefix("model_")?.rsplit_once("_mt")?;
        let (rest, prompt_tokens) = rest.rsplit_once("_pt")?;
        let (tag, concurrency) = rest.rsplit_once("_conc")?;
        Some(Self {
            mode,
            tag: tag.to_owned(),
            concurrency: concurrency.parse().ok()?,
            prompt_tokens: prompt_tokens.parse().ok()?,
            max_tokens: max_tokens.parse().ok()?,
        })
    }
}

/// A model's name with `_` for `/` and `:`.
#[must_use]
pub fn model_tag(model: &str) -> String {
    model.replace(['/', ':'], "_")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(mode: Option<Mode>) -> RunName {
        RunName {
            mode,
            tag: model_tag("Qwen/Qwen2.5-7B-Instruct:x"),
            concurrency: 8,
            prompt_tokens: 64,
            max_tokens: 256,
        }
    }

    #[test]
    fn names_are_those_of_the_testbed() {
        assert_eq!(
            name(None).file_stem(),
            "run_model_Qwen_Qwen2.5-7B-Instruct_x_conc8_pt64_mt256"
        );
        assert_eq!(
            name(Some(Mode::Agg)).file_stem(),
            "run_agg_model_Qwen_Qwen2.5-7B-Instruct_x_conc8_pt64_mt256"
        );
    }

    #[test]
    fn other_files_have_no_run_name() {
        for stem in [
            "",
            "run_",
            "run_model_x",
            "run_model_x_conc1_pt2",
            "run_model_x_conc1_pt2_mt",
            "run_model_x_conc-1_pt2_mt3",
            "model_x_conc1_pt2_mt3",
            "run_other_x_conc1_pt2_mt3",
        ] {
            assert_eq!(RunName::from_file_stem(stem), None, "{stem}");
        }
    }

    proptest! {
        #[test]
        fn names_are_understood_again(
            mode in prop::option::of(prop_oneof![Just(Mode::Disagg), Just(Mode::Agg)]),
            tag in "(_mt|_pt|_conc|agg_|[a-z0-9.]){0,6}",
            concurrency: u64,
            prompt_tokens: u64,
            max_tokens: u64,
        ) {
            let name = RunName { mode, tag, concurrency, prompt_tokens, max_tokens };
            prop_assert_eq!(RunName::from_file_stem(&name.file_stem()), Some(name));
        }
    }
}
