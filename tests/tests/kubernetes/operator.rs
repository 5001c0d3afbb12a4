//! The operator of `manifests/install.yaml`, one for all namespaces.

use std::sync::OnceLock;

use crate::patience::until;

use crate::kubectl::kubectl;

pub const NAMESPACE: &str = "dsync-system";
const DEPLOYMENT: &str = "deployment/dsync-operator";

/// Installs it, once for all tests, and waits until it runs.
pub fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        kubectl(&["apply", "--server-side", "-f", "manifests/install.yaml"], "").well();
        await_it();
    });
}

fn await_it() {
    kubectl(&["-n", NAMESPACE, "rollout", "status", DEPLOYMENT, "--timeout=300s"], "").well();
}

/// Stops it for as long as this is kept: another operator looks after the clusters.
pub struct Stopped;

impl Stopped {
    pub fn begin() -> Self {
        scale("0");
        until("the operator has stopped", || {
            kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "name"], "")
                .well()
                .is_empty()
                .then_some(())
        });
        Self
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        scale("1");
        await_it();
    }
}

fn scale(replicas: &str) {
    let replicas = format!("--replicas={replicas}");
    kubectl(&["-n", NAMESPACE, "scale", DEPLOYMENT, &replicas], "").well();
}

/// Prints what it has to say.
pub fn show() {
    for words in [&["get", "pods", "-o", "wide"][..], &["logs", DEPLOYMENT, "--tail=20"]] {
        let said = kubectl(&[&["-n", NAMESPACE], words].concat(), "");
        println!("{}{}", said.out, said.err);
    }
}
