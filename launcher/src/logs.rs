//! Where children write, and the last of what they wrote.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Lines shown of a child that ended.
pub(crate) const TAIL_LINES: usize = 20;
/// Bytes read for them.
const TAIL_BYTES_MAX: u64 = 64 * 1024;
/// Names tried for the directory.
const ATTEMPTS: u32 = 100;

/// A directory of our own for the log files of one run.
#[derive(Debug)]
pub(crate) struct LogDir {
    path: PathBuf,
}

impl LogDir {
    /// Makes a new directory for temporary files that only this user can enter.
    pub(crate) fn create(name: &str) -> io::Result<Self> {
        let parent = std::env::temp_dir();
        let pid = std::process::id();
        for attempt in 0..ATTEMPTS {
            let path = parent.join(format!("{name}-{pid}-{attempt}"));
            // Fails if it exists: another's directory, or a trap laid in a shared place.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of this child.
    pub(crate) fn file(&self, child: &str) -> PathBuf {
        self.path.join(format!("{child}.log"))
    }

    /// Removes the directory and what is in it.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.path)
    }
}

/// The last lines of a file, at most `lines`.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut tail: Vec<String> = text.lines().rev().take(lines).map(str::to_owned).collect();
    tail.reverse();
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn directories_are_private_distinct_and_removed_whole() {
        let (one, two) = (
            LogDir::create("pd-test").unwrap(),
            LogDir::create("pd-test").unwrap(),
        );
        fs::write(one.file("proxy"), "x").unwrap();

        assert_ne!(one.path(), two.path());
        assert_eq!(
            fs::metadata(one.path()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let path = one.path().to_owned();
        one.remove().unwrap();
        assert!(!path.exists());
        two.remove().unwrap();
    }

    #[test]
    fn tail_is_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tail_of = |text: &str| {
            fs::write(file.path(), text).unwrap();
            tail(file.path(), 2).unwrap()
        };

        assert_eq!(tail_of("a\nb\nc\n"), ["b", "c"]);
        assert_eq!(tail_of("a\nb\nc"), ["b", "c"]);
        assert_eq!(tail_of("a"), ["a"]);
        assert!(tail_of("").is_empty());
    }

    #[test]
    fn tail_of_a_long_file_reads_only_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{}\nlast\n", "x".repeat(200_000))).unwrap();

        let tail = tail(file.path(), 20).unwrap();

        assert_eq!(tail.len(), 2);
        assert_eq!(tail[1], "last");
        assert!(tail[0].len() < 70_000);
    }
}
