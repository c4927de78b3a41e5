//! What must hold before anything is started.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use super::{VersionEnv, version_env};
use crate::installed;
use crate::plan::Plan;
use crate::settings::Settings;

/// Looks for the command, its version and the ports; gives what the version needs.
///
/// The registration port of vLLM's example is a courtesy: where somebody has it, the plan goes without.
pub(super) fn check(settings: &Settings, plan: &mut Plan) -> anyhow::Result<VersionEnv> {
    let env = if settings.simulate {
        &[]
    } else {
        let command = installed::find_command(&settings.vllm);
        let Some(command) = command else {
            anyhow::bail!("Missing command: {}", settings.vllm);
        };
        let version = settings.vllm_version.clone();
        let version = version.or_else(|| installed::version(&command));
        version_env(settings.connector, version.as_deref())?
    };
    let told = settings.proxy_zmq_port;
    plan.proxy_zmq_ports
        .retain(|port| *port == told || !is_taken(*port));
    if let Some(port) = plan.ports().into_iter().find(|port| is_taken(*port)) {
        anyhow::bail!("Port {port} is already in use. Free it or change the port.");
    }
    Ok(env)
}

/// Whether somebody listens, on any address. Nodes cannot be told to share.
fn is_taken(port: u16) -> bool {
    let bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}
