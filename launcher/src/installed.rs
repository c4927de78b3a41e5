//! The vLLM that is installed, and its version.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `vllm --version` imports half of PyTorch first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// Finds a command as the shell would.
pub(crate) fn find_command(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
    candidates.into_iter().find(|path| path.is_file())
}

/// The version of the vLLM that this command runs: from the metadata of its package, which is there at
/// once, else by asking it. `None` if neither tells.
pub(crate) fn version(command: &Path) -> Option<String> {
    from_metadata(command).or_else(|| ask(command))
}

/// Python's `site-packages` belong to the interpreter in the script's first line.
fn from_metadata(command: &Path) -> Option<String> {
    let mut head = [0; 256];
    let read = fs::File::open(command).ok()?.read(&mut head).ok()?;
    let head = String::from_utf8_lossy(head.get(..read)?).into_owned();
    let interpreter = head
        .strip_prefix("#!")?
        .lines()
        .next()?
        .split_whitespace()
        .next()?;
    // Not resolved: the link inside a virtual environment is what tells which one it is.
    let root = Path::new(interpreter).parent()?.parent()?;
    for python in fs::read_dir(root.join("lib")).ok()?.flatten() {
        let Ok(packages) = fs::read_dir(python.path().join("site-packages")) else {
            continue;
        };
        let mut names = packages.flatten().map(|entry| entry.file_name());
        let version = names.find_map(|name| {
            let name = name.to_str()?.strip_prefix("vllm-")?;
            Some(name.strip_suffix(".dist-info")?.to_owned())
        });
        if version.is_some() {
            return version;
        }
    }
    None
}

fn ask(command: &Path) -> Option<String> {
    let mut process = Command::new(command)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    while process.try_wait().ok()?.is_none() {
        if Instant::now() >= deadline {
            process.kill().ok();
            process.wait().ok();
            return None;
        }
        thread::sleep(PAUSE);
    }
    let mut said = String::new();
    process
        .stdout
        .take()?
        .take(4096)
        .read_to_string(&mut said)
        .ok()?;
    // Either the version alone, or the last word of a line; anything else is talk.
    let word = said.split_whitespace().last()?;
    let is_version = word
        .trim_start_matches('v')
        .starts_with(|c: char| c.is_ascii_digit());
    is_version.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn version_is_read_off_the_package_without_running_it() {
        let root = tempfile::tempdir().unwrap();
        let packages = root.path().join("lib/python3.12/site-packages");
        fs::create_dir_all(packages.join("vllm-0.11.0.dist-info")).unwrap();
        fs::create_dir_all(packages.join("vllm_ascend-9.9.dist-info")).unwrap();
        let command = root.path().join("bin/vllm");
        script(
            &command,
            &format!("#!{}/bin/python3\nexit 1\n", root.path().display()),
        );

        assert_eq!(version(&command).as_deref(), Some("0.11.0"));
    }

    #[test]
    fn version_without_a_package_is_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let command = root.path().join("bin/vllm");
        script(&command, "#!/bin/sh\necho 0.23.0\n");

        assert_eq!(version(&command).as_deref(), Some("0.23.0"));
    }

    #[test]
    fn command_that_does_not_say_has_no_version() {
        assert_eq!(version(Path::new("/bin/false")), None);
        assert_eq!(find_command("/no/such/vllm"), None);
        assert_eq!(find_command("no-such-vllm"), None);
    }
}
