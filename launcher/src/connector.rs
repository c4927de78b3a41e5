//! Which vLLM can do which connector, and what it needs for that: a table.

/// A way for nodes to hand over KV caches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Connector {
    /// As people name it.
    pub(crate) name: &'static str,
    /// As vLLM names it in `kv_connector`.
    pub(crate) class: &'static str,
    /// The versions that have it, in words.
    pub(crate) versions: &'static str,
    /// What holds from which version on, in ascending order; nothing is older than the first.
    eras: &'static [(Version, Verdict)],
}

/// A release of vLLM. Suffixes do not matter: `0.23.0rc1+cpu` is 0.23.0 here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

/// What a version means for a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Works, with these variables on every node.
    Works(&'static [(&'static str, &'static str)]),
    /// Does not, and why.
    Refused(&'static str),
}

/// Keeps the two halves of a request under one id.
const PLAIN_REQUEST_IDS: &[(&str, &str)] = &[("VLLM_DISABLE_REQUEST_ID_RANDOMIZATION", "1")];

/// All connectors that the proxy speaks.
pub(crate) const CONNECTORS: &[Connector] = &[Connector {
    name: "p2p-nccl",
    class: "P2pNcclConnector",
    versions: "0.9.2 to 0.13, and 0.17 to 0.23",
    eras: &[
        (
            Version::new(0, 0),
            Verdict::Refused("it does not have P2pNcclConnector yet"),
        ),
        (
            Version {
                major: 0,
                minor: 9,
                patch: 2,
            },
            Verdict::Works(&[]),
        ),
        (
            Version::new(0, 14),
            Verdict::Refused(
                "each of its engines adds random characters to request ids, which P2pNcclConnector \
                 uses to match prefill and decode, and nothing turns that off",
            ),
        ),
        (Version::new(0, 17), Verdict::Works(PLAIN_REQUEST_IDS)),
        (
            Version::new(0, 24),
            Verdict::Refused("P2pNcclConnector was removed from it"),
        ),
    ],
}];

/// Finds a connector by the name that people use.
pub(crate) fn find(name: &str) -> Result<&'static Connector, String> {
    let names: Vec<&str> = CONNECTORS.iter().map(|connector| connector.name).collect();
    CONNECTORS
        .iter()
        .find(|connector| connector.name == name)
        .ok_or_else(|| format!("must be one of: {}", names.join(", ")))
}

impl Connector {
    /// What this version means. One that nobody knows, such as that of a development build, is taken
    /// for one that needs all that any needs: none of it does harm elsewhere.
    pub(crate) fn verdict(&self, version: Option<Version>) -> Verdict {
        let Some(version) = version else {
            return Verdict::Works(PLAIN_REQUEST_IDS);
        };
        let reached = self.eras.iter().rev().find(|(from, _)| *from <= version);
        reached.map_or(Verdict::Refused("it is too old"), |(_, verdict)| *verdict)
    }

    /// What to say when this version, as it names itself, is refused.
    pub(crate) fn refusal(&self, version: &str, reason: &str) -> String {
        format!(
            "vLLM {version} cannot run --kv-connector {}: {reason}. Versions that can: {}.",
            self.name, self.versions
        )
    }
}

impl Version {
    const fn new(major: u16, minor: u16) -> Self {
        Self {
            major,
            minor,
            patch: 0,
        }
    }

    /// Reads what vLLM says of itself; `None` for what is no release, such as `0.1.dev1+g1234567`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let public = text.split('+').next()?;
        if public.contains("dev") && public.starts_with("0.1.") {
            return None;
        }
        let mut parts = public.split('.').map(leading_number);
        Some(Self {
            major: parts.next()??,
            minor: parts.next()??,
            patch: parts.next().flatten().unwrap_or(0),
        })
    }
}

fn leading_number(text: &str) -> Option<u16> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(version: &str) -> Verdict {
        let version = Version::parse(version).unwrap();
        find("p2p-nccl").unwrap().verdict(Some(version))
    }

    #[test]
    fn p2p_nccl_works_as_it_is_from_0_9_2_to_0_13() {
        for version in [
            "0.9.2",
            "0.10.0",
            "0.11.0",
            "v0.11.2",
            "0.13.0",
            "0.13.1rc1",
        ] {
            assert_eq!(verdict(version), Verdict::Works(&[]), "{version}");
        }
    }

    #[test]
    fn p2p_nccl_needs_plain_request_ids_from_0_17_to_0_23() {
        for version in ["0.17.0", "0.22.1", "0.23.0", "0.23.0rc2.dev1+cpu"] {
            assert_eq!(
                verdict(version),
                Verdict::Works(PLAIN_REQUEST_IDS),
                "{version}"
            );
        }
    }

    #[test]
    fn p2p_nccl_is_refused_before_0_9_2_from_0_14_to_0_16_and_from_0_24_on() {
        for (version, why) in [
            ("0.9.1", "yet"),
            ("0.8.5", "yet"),
            ("0.14.0", "random"),
            ("0.16.9", "random"),
            ("0.24.0", "removed"),
            ("0.33.0", "removed"),
            ("1.0", "removed"),
        ] {
            match verdict(version) {
                Verdict::Refused(reason) => assert!(reason.contains(why), "{version}: {reason}"),
                Verdict::Works(_) => panic!("{version}"),
            }
        }
    }

    #[test]
    fn unknown_versions_get_all_that_any_needs() {
        for text in ["0.1.dev1+gabcdef0", "unknown", "", "0", "x.y", "99999999.1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        let verdict = find("p2p-nccl").unwrap().verdict(None);
        assert_eq!(verdict, Verdict::Works(PLAIN_REQUEST_IDS));
    }

    #[test]
    fn refusal_names_the_version_the_reason_and_the_versions_that_work() {
        let refusal = CONNECTORS[0].refusal("0.33.0", "P2pNcclConnector was removed from it");

        insta::assert_snapshot!(
            refusal,
            @"vLLM 0.33.0 cannot run --kv-connector p2p-nccl: P2pNcclConnector was removed from it. Versions that can: 0.9.2 to 0.13, and 0.17 to 0.23."
        );
    }

    #[test]
    fn unknown_connectors_are_refused_with_the_known_names() {
        assert_eq!(find("nixl").unwrap_err(), "must be one of: p2p-nccl");
    }
}
