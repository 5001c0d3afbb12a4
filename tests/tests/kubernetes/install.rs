//! The page on installing, line by line as it is written.

use std::fs;
use std::path::Path;

use crate::audit;
use crate::client::Holder;
use crate::kubectl::{Said, kubectl, run};
use crate::namespace::{Namespace, RESTRICTED};
use crate::operator::{self, Stopped};

const PAGE: &str = "docs/operations/kubernetes.md";

/// The commands of the page that begin with one of these programs, from one heading to the next.
fn commands(heading: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = rest.split("\n## ").next().unwrap();
    let code = section.split("```").skip(1).step_by(2);
    let lines = code.flat_map(str::lines).map(|line| line.split(" #").next().unwrap().trim());
    lines
        .filter(|line| ["kubectl ", "helm "].iter().any(|one| line.starts_with(one)))
        .map(str::to_owned)
        .collect()
}

fn as_written(line: &str) -> Said {
    let words = line.split_whitespace().collect::<Vec<_>>();
    println!("$ {line}");
    let said = run(words[0], &words[1..], "");
    println!("{}{}", said.out, said.err);
    said
}

#[test]
fn with_kubectl_as_the_page_says() {
    kubectl(&[&["label", "--overwrite", "namespace", "default"][..], &RESTRICTED].concat(), "")
        .well();
    let install = commands("Install");
    let lines =
        install.iter().filter(|line| line.starts_with("kubectl ") && !line.contains("locks"));
    let lines = lines.collect::<Vec<_>>();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        as_written(line).well();
    }
    operator::install();
    for line in commands("Use") {
        as_written(&line).well();
    }
    let table = kubectl(&["get", "dsc"], "").well();
    let row = table.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row[..3], ["dsync", "3", "3"], "{table}");
    assert!(row[3].starts_with("dsync-") && row[5..7] == ["Ready", "Ready"], "{table}");

    let machines = "jsonpath={.items[*].spec.nodeName}";
    let words = ["get", "pods", "-l", "app.kubernetes.io/component=node", "-o", machines];
    let machines = kubectl(&words, "").well();
    let machines = machines.split_whitespace().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(machines.len(), 3, "each node stands on a machine of its own");
    for kind in ["dsc", "pvc"] {
        kubectl(&["delete", kind, "--all"], "").well();
    }
    audit::nothing_was_refused(operator::NAMESPACE);
}

#[test]
fn with_helm_as_the_page_says() {
    operator::install();
    let _stopped = Stopped::begin();
    let namespace = Namespace::new("locks");
    let install = commands("Install");
    let lines = install.iter().filter(|line| line.contains("locks")).collect::<Vec<_>>();
    assert!(lines.len() >= 3 && lines[0].starts_with("helm install"), "{lines:?}");
    for line in lines {
        as_written(line).well();
    }
    let holder = Holder::start(&namespace);
    holder.check(&namespace, "dsync-1");
    namespace.kubectl(&["delete", "dsc", "dsync", "--timeout=120s"]).well();
    audit::nothing_was_refused(namespace.name());
    run("helm", &["uninstall", "dsync", "--namespace", namespace.name()], "").well();
    let claims = namespace.kubectl(&["get", "pvc", "-o", "name"]).well();
    assert_eq!(claims.lines().count(), 4, "disks outlive the cluster: {claims}");
}
