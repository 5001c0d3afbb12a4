//! A namespace for one test.

use std::thread;

use dsync_core::contract::NODE_IMAGE;

use crate::kubectl::{Said, kubectl};

/// Removed with all it holds when the test ends, without waiting for it.
pub struct Namespace {
    name: &'static str,
}

impl Namespace {
    /// Enforces the restricted pod standard, and warns of what would break it.
    pub fn new(name: &'static str) -> Self {
        kubectl(&["delete", "namespace", name, "--ignore-not-found"], "").well();
        let namespace = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{
               pod-security.kubernetes.io/enforce: restricted,
               pod-security.kubernetes.io/warn: restricted}}}}}}"
        );
        kubectl(&["apply", "-f", "-"], &namespace).well();
        Self { name }
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, words: &[&str]) -> Said {
        kubectl(&[&["--namespace", self.name], words].concat(), "")
    }

    /// Applies resources. `NODE_IMAGE` and `NAMESPACE` stand for ours.
    pub fn apply(&self, yaml: &str) {
        self.try_apply(yaml).well();
    }

    /// The same, where it may be refused.
    pub fn try_apply(&self, yaml: &str) -> Said {
        let yaml = yaml.replace("NODE_IMAGE", NODE_IMAGE).replace("NAMESPACE", self.name);
        kubectl(&["--namespace", self.name, "apply", "-f", "-"], &yaml)
    }

    /// One field of a resource, by JSON path without braces.
    pub fn field(&self, resource: &str, path: &str) -> String {
        self.kubectl(&["get", resource, "-o", &format!("jsonpath={{{path}}}")]).well()
    }

    /// Runs `dsync` in a pod.
    pub fn dsync(&self, pod: &str, words: &[&str]) -> Said {
        self.kubectl(&[&["exec", pod, "--", "dsync"], words].concat())
    }

    /// Waits until a condition of a resource holds.
    pub fn await_condition(&self, resource: &str, condition: &str) {
        self.kubectl(&["wait", "--for", condition, resource, "--timeout=120s"]).well();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            for words in [
                &["get", "pods,pvc,events", "-o", "wide"][..],
                &["logs", "-l", "app", "--all-containers", "--prefix", "--tail=20"],
            ] {
                let said = self.kubectl(words);
                println!("{}{}", said.out, said.err);
            }
        }
        self.kubectl(&["delete", "namespace", self.name, "--wait=false"]);
    }
}
