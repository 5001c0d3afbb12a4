//! What stands in the repository is what the code gives.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::crd::DSyncCluster;

#[test]
fn generated_files_are_what_the_code_gives() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (path, content) in files().unwrap() {
        let file = root.join(path);
        if update {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &content).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == content, "{path} is stale: run this test with UPDATE_GOLDEN=1");
    }
}

#[test]
fn every_sample_is_a_cluster_that_the_rules_accept() {
    for (path, sample) in samples::all() {
        let cluster: DSyncCluster = serde_json::from_value(sample.clone()).unwrap();
        assert!(cluster.validate_cel().is_ok(), "{path}: {:?}", cluster.validate_cel());
        let mut again = serde_json::to_value(&cluster).unwrap();
        again["metadata"]["namespace"] = Value::Null;
        assert!(crate::compare::has_all(&again, &sample), "{path} has a field that is none");
    }
}

#[test]
fn no_right_is_a_wildcard_and_nothing_that_holds_data_is_deleted() {
    for rule in rights::in_clusters().as_array().unwrap() {
        assert!(!rule.to_string().contains('*'), "{rule}");
        let holds_data = ["secrets", "persistentvolumeclaims"]
            .iter()
            .any(|kind| rule["resources"].as_array().unwrap().iter().any(|one| one == kind));
        let deletes = rule["verbs"].as_array().unwrap().iter().any(|verb| verb == "delete");
        assert!(!(holds_data && deletes), "{rule}");
    }
}

#[test]
fn the_operator_may_write_every_kind_that_it_keeps() {
    for kind in crate::kind::Kind::ALL {
        let resource = kind.resource();
        let rules = rights::in_clusters();
        let granted = rules.as_array().unwrap().iter().any(|rule| {
            let has = |field: &str, word: &str| {
                rule[field].as_array().unwrap().iter().any(|one| one == word)
            };
            has("apiGroups", &resource.group)
                && has("resources", &resource.plural)
                && ["list", "watch", "create", "patch"].iter().all(|verb| has("verbs", verb))
        });
        assert!(granted, "{kind:?}");
    }
}
