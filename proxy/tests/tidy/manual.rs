//! Whether the manual tells of everything there is.

/// The flags of `args`, as they are typed.
pub(crate) fn flags(args: &str) -> Vec<String> {
    let names = args.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("    pub ")?.split_once(':')?;
        Some(format!("--{}", name.replace('_', "-")))
    });
    names.collect()
}

/// The values of the labels and the names of the counters in `counters.rs`.
pub(crate) fn labels(counters: &str) -> Vec<String> {
    let labels = counters.lines().filter_map(|line| {
        let (_, rest) = line.split_once("=> \"")?;
        Some(rest.strip_suffix("\",")?.to_owned())
    });
    labels.collect()
}

/// The bounds of `limits.rs`.
pub(crate) fn bounds(limits: &str) -> Vec<String> {
    let names = limits.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
        Some(name.to_owned())
    });
    names.collect()
}

/// The words that do not stand in `page`, in backticks or behind a metric's prefix.
pub(crate) fn check_page(name: &str, page: &str, words: &[String]) -> Vec<String> {
    let is_told = |word: &String| {
        let forms = [
            format!("`{word}`"),
            format!("`{word} "),
            format!("`pd_proxy_{word}"),
        ];
        forms.iter().any(|form| page.contains(form))
    };
    words
        .iter()
        .filter(|word| !is_told(word))
        .map(|word| format!("{name} does not tell of {word}"))
        .collect()
}

#[test]
fn bound_that_the_manual_is_silent_about_is_found() {
    let limits = "/// A bound.\npub const HEAD_TIMEOUT: Duration = A;\nconst _: () = {};\n";

    assert_eq!(
        check_page("page", "| `TICK` |", &bounds(limits)),
        ["page does not tell of HEAD_TIMEOUT"]
    );
}

#[test]
fn flag_and_counter_that_the_manual_is_silent_about_are_found() {
    let args = "pub struct Args {\n    /// A port.\n    pub zmq_port: Vec<u16>,\n    pub host: IpAddr,\n}\n";
    let counters = "            Cut => \"cut\",\n            Reused => \"reused_total\",\n";
    let page = "`--zmq-port PORT`; `pd_proxy_reused_total`";

    assert_eq!(
        check_page("page", page, &flags(args)),
        ["page does not tell of --host"]
    );
    assert_eq!(
        check_page("page", page, &labels(counters)),
        ["page does not tell of cut"]
    );
}
