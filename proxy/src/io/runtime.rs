//! Which driver a shard runs on.

use std::future::Future;
use std::io;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DriverChoice {
    /// io_uring, or epoll where the kernel or a seccomp profile refuses it.
    #[default]
    Auto,
    /// io_uring, or no start.
    #[value(name = "io_uring", alias = "io-uring")]
    IoUring,
    /// epoll.
    Epoll,
}

/// What a shard runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring; completions are handled when the shard asks for them, by the shard itself
    /// (SINGLE_ISSUER and DEFER_TASKRUN, kernel 6.1). With the default flags it was measured no better
    /// than epoll.
    IoUringDeferred,
    /// io_uring with the default flags, on kernels before 6.1.
    IoUring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// The driver's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUringDeferred | Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// No driver could be started.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The kernel refused a ring.
    #[error("io_uring is refused: {cause} ({cure})")]
    Refused {
        /// What the kernel said.
        cause: io::Error,
        /// What an operator can do.
        cure: &'static str,
    },
    /// epoll failed, which only happens when descriptors have run out.
    #[error("epoll failed: {0}")]
    Epoll(#[source] io::Error),
}

/// Entries of a ring's submission queue; when it is full it is handed over and goes on.
const RING_ENTRIES: u32 = 1024;

type Ring = monoio::time::TimeDriver<IoUringDriver>;
type Poll = monoio::time::TimeDriver<LegacyDriver>;

/// Builds a runtime on this thread and runs `main` on it. `main` is told the driver, and why it is
/// epoll if io_uring was wanted.
///
/// monoio's own fallback looks only at whether a plain ring can be had, so a kernel that refuses the
/// flags would end the start: the ladder is ours.
///
/// # Errors
///
/// When the wanted driver cannot be had.
pub fn run<F, T>(
    choice: DriverChoice,
    main: impl FnOnce(Driver, Option<RuntimeError>) -> F,
) -> Result<T, RuntimeError>
where
    F: Future<Output = T>,
{
    let refused = match choice {
        DriverChoice::Epoll => None,
        DriverChoice::Auto | DriverChoice::IoUring => match ring() {
            Ok((mut runtime, driver)) => return Ok(runtime.block_on(main(driver, None))),
            Err(error) if choice == DriverChoice::IoUring => return Err(error),
            Err(error) => Some(error),
        },
    };
    let mut runtime = RuntimeBuilder::<Poll>::new()
        .build()
        .map_err(RuntimeError::Epoll)?;
    Ok(runtime.block_on(main(Driver::Epoll, refused)))
}

fn ring() -> Result<(monoio::Runtime<Ring>, Driver), RuntimeError> {
    let mut deferred = io_uring::IoUring::builder();
    deferred.setup_single_issuer().setup_defer_taskrun();
    let plain = io_uring::IoUring::builder();
    let ladder = [
        (deferred, Driver::IoUringDeferred),
        (plain, Driver::IoUring),
    ];
    let mut cause = io::Error::from(io::ErrorKind::Unsupported);
    for (flags, driver) in ladder {
        match RuntimeBuilder::<Ring>::new()
            .uring_builder(flags)
            .with_entries(RING_ENTRIES)
            .build()
        {
            Ok(runtime) => return Ok((runtime, driver)),
            Err(error) => cause = error,
        }
    }
    let cure = cure(&cause);
    Err(RuntimeError::Refused { cause, cure })
}

/// What an operator can do about a refused ring.
fn cure(cause: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match cause.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "a container's seccomp profile forbids it, or sysctl kernel.io_uring_disabled is set; \
             allow io_uring_setup, io_uring_enter and io_uring_register to use it"
        }
        Some(Errno::NOSYS) => {
            "this kernel or sandbox has no io_uring; Linux 6.1 or later has all of it"
        }
        Some(Errno::NOMEM) => "raise the locked-memory limit (ulimit -l, LimitMEMLOCK=)",
        Some(Errno::MFILE | Errno::NFILE) => "raise the limit of open files (ulimit -n)",
        _ => "Linux 6.1 or later has all that is used of it",
    }
}
