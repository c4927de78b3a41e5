//! What `up` would do, as text that a shell understands.

use super::VersionEnv;
use crate::command;
use crate::plan::Plan;
use crate::settings::Settings;

/// The plan as comments, then every command in the order of the starts.
pub(super) fn lines(settings: &Settings, plan: &Plan, env: VersionEnv) -> Vec<String> {
    let mut lines = vec!["# Nothing is started and nothing of this machine is checked.".to_owned()];
    if settings.vllm_version.is_none() && !settings.simulate {
        let what = "# vLLM is not asked for its version; --vllm-version tells what it would say.";
        lines.push(what.to_owned());
    }
    lines.push("#".to_owned());
    lines.extend(plan.table().into_iter().map(|line| format!("# {line}")));
    let nodes = plan.nodes.iter();
    let nodes = nodes.map(|node| (node.name.as_str(), command::node(settings, node, env)));
    for (name, command) in [("proxy", command::proxy(settings, plan))]
        .into_iter()
        .chain(nodes)
    {
        lines.push(String::new());
        lines.push(format!(
            "# {name}, log {}",
            settings.log_dir.join(format!("{name}.log")).display()
        ));
        lines.push(command.shell());
    }
    lines
}
