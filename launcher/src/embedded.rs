//! The programs that this binary carries.
//!
//! A child is this same binary with a hidden first argument, then the supervisor's process id, then
//! the program's own command line. So the launcher works wherever its one file lies, and each child
//! can tie itself to its supervisor before it does anything else.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use rustix::process::Pid;

use crate::tether;

/// A program inside this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The proxy.
    Proxy,
    /// A simulated vLLM node.
    Sim,
}

impl Program {
    const ALL: [Self; 2] = [Self::Proxy, Self::Sim];

    /// The hidden first argument.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Proxy => "__proxy",
            Self::Sim => "__sim",
        }
    }

    /// The name the program goes by in its own messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Proxy => "pd-proxy",
            Self::Sim => "pd-sim",
        }
    }

    /// The arguments that make this binary run the program as a child of `supervisor`.
    pub(crate) fn argv(self, supervisor: Pid, args: Vec<OsString>) -> Vec<OsString> {
        let mut argv = vec![
            self.word().into(),
            supervisor.as_raw_nonzero().to_string().into(),
        ];
        argv.extend(args);
        argv
    }

    /// The program of this hidden word.
    pub(crate) fn of_word(word: &OsStr) -> Option<Self> {
        Self::ALL.into_iter().find(|program| word == program.word())
    }

    /// Is the program, which needs no tie of its own: its [`guard`](crate::guard) has that.
    pub(crate) fn run_guarded(self, args: Vec<OsString>) -> ExitCode {
        self.main(std::iter::once(self.name().into()).chain(args).collect())
    }

    fn main(self, args: Vec<OsString>) -> ExitCode {
        match self {
            Self::Proxy => pd_proxy::main_with_args(args),
            Self::Sim => pd_bench::sim::cli::main_with_args(args),
        }
    }
}

/// A request to be one of the programs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Child {
    program: Program,
    supervisor: Option<Pid>,
    /// The program's command line, its name first.
    args: Vec<OsString>,
}

/// The program that a command line asks this process to be, if it asks for one.
pub(crate) fn requested(args: impl IntoIterator<Item = OsString>) -> Option<Child> {
    let mut args = args.into_iter().skip(1);
    let word = args.next()?;
    let program = Program::of_word(&word)?;
    let supervisor = args
        .next()
        .and_then(|pid| Pid::from_raw(pid.to_str()?.parse().ok()?));
    let args = std::iter::once(program.name().into()).chain(args).collect();
    Some(Child {
        program,
        supervisor,
        args,
    })
}

impl Child {
    /// Ties this process to its supervisor, then is the program.
    pub(crate) fn run(self) -> ExitCode {
        match tether::fasten(self.supervisor) {
            Ok(()) => self.program.main(self.args),
            Err(error) => tether::refuse(self.program.name(), &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_a_supervisor_writes_is_what_its_child_reads() {
        let supervisor = Pid::from_raw(77).unwrap();
        for program in Program::ALL {
            let mut argv = words(&["/opt/pd-launcher"]);
            argv.extend(program.argv(supervisor, words(&["--port", "1"])));

            let child = requested(argv).unwrap();

            assert_eq!(child.program, program);
            assert_eq!(child.supervisor, Some(supervisor));
            assert_eq!(child.args, words(&[program.name(), "--port", "1"]));
        }
    }

    #[test]
    fn people_s_commands_ask_for_no_program() {
        assert_eq!(requested(words(&["pd-launcher"])), None);
        assert_eq!(requested(words(&["pd-launcher", "demo", "__proxy"])), None);
    }

    #[test]
    fn call_by_hand_has_no_supervisor() {
        for argv in [
            &["x", "__sim"][..],
            &["x", "__sim", "--port"],
            &["x", "__sim", "0"],
        ] {
            assert_eq!(requested(words(argv)).unwrap().supervisor, None);
        }
    }
}
