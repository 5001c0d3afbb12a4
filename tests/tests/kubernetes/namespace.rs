//! A namespace for one test.

use std::thread;

use dsync_core::contract::NODE_IMAGE;
use serde_json::Value;

use crate::kubectl::{Said, kubectl};

/// Removed with all it holds when the test ends, without waiting for it.
pub struct Namespace {
    name: &'static str,
}

/// Enforces the restricted pod standard, and warns of what would break it.
pub const RESTRICTED: [&str; 3] = [
    "pod-security.kubernetes.io/enforce=restricted",
    "pod-security.kubernetes.io/warn=restricted",
    "pod-security.kubernetes.io/audit=restricted",
];

impl Namespace {
    /// An empty one, under the restricted standard.
    pub fn new(name: &'static str) -> Self {
        // One that an interrupted run on a cluster that was kept has left.
        kubectl(&["delete", "namespace", name, "--ignore-not-found"], "").well();
        kubectl(&["create", "namespace", name], "").well();
        let namespace = Self { name };
        kubectl(&[&["label", "namespace", name][..], &RESTRICTED].concat(), "").well();
        namespace
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, words: &[&str]) -> Said {
        self.kubectl_with(words, "")
    }

    /// The same, with an input.
    pub fn kubectl_with(&self, words: &[&str], input: &str) -> Said {
        kubectl(&[&["--namespace", self.name], words].concat(), input)
    }

    /// Applies resources. `NODE_IMAGE` and `NAMESPACE` stand for ours.
    pub fn apply(&self, yaml: &str) {
        let yaml = yaml.replace("NODE_IMAGE", NODE_IMAGE).replace("NAMESPACE", self.name);
        self.kubectl_with(&["apply", "-f", "-"], &yaml).well();
    }

    /// A resource as it is, if it is.
    pub fn get(&self, resource: &str) -> Option<Value> {
        self.kubectl(&["get", resource, "-o", "json", "--show-managed-fields"]).json()
    }

    /// One field of a resource, by JSON path without braces.
    pub fn field(&self, resource: &str, path: &str) -> String {
        self.kubectl(&["get", resource, "-o", &format!("jsonpath={{{path}}}")]).well()
    }

    /// Runs `dsync` in a pod.
    pub fn dsync(&self, pod: &str, words: &[&str]) -> Said {
        self.kubectl(&[&["exec", pod, "--", "dsync"], words].concat())
    }

    fn show(&self) {
        for words in [
            &["get", "dsc,pods,pvc,events", "-o", "wide"][..],
            &["get", "dsc", "-o", "yaml"],
            &["logs", "-l", "dsync.io/cluster", "--all-containers", "--prefix", "--tail=30"],
        ] {
            let said = self.kubectl(words);
            println!("{}{}", said.out, said.err);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show();
            crate::operator::show();
        }
        self.kubectl(&["delete", "namespace", self.name, "--wait=false"]);
    }
}
