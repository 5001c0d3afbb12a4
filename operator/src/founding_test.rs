//! Which objects make a cluster founded, and what is never believed.

use serde_json::json;

use super::*;
use crate::nodes::{ReportedMember, ReportedNode};

fn report(id: Option<&str>) -> NodeReport {
    let member = |at| ReportedMember {
        name: format!("locks-{at}"),
        id: format!("{at}"),
        part: "voter".into(),
    };
    NodeReport {
        cluster_id: id.map(str::to_owned),
        leader: Some("locks-0".into()),
        members: (0..3).map(member).collect(),
        node: ReportedNode {
            name: "locks-0".into(),
            id: "0".into(),
            version: "1".into(),
            outside: None,
        },
        ready: true,
    }
}

#[test]
fn a_founding_is_believed_when_a_quorum_confirms_it_and_reports_it() {
    let is = Some(report(Some("a")));
    let other = Some(report(Some("b")));
    let answer = report(Some("a"));
    let confirmed = |reports: &[Option<NodeReport>]| confirmed_id(Some(&answer), reports, 3);
    assert_eq!(confirmed(&[is.clone(), is.clone(), None]).as_deref(), Some("a"));
    assert_eq!(confirmed(&[is.clone(), None, None]), None);
    assert_eq!(confirmed(&[is.clone(), other.clone(), other]), None);
    assert_eq!(confirmed_id(None, &[is.clone(), is.clone(), is.clone()], 3), None);
    assert_eq!(
        confirmed_id(Some(&answer), &[is.clone(), is.clone(), is], 5),
        None,
        "not all members"
    );
}

fn found(claims: &[(&str, Option<&str>)], set_phase: Option<&str>) -> Found {
    let mut found = Found::default();
    for (name, id) in claims {
        let mut claim =
            json!({ "metadata": { "labels": { "app.kubernetes.io/component": "node" } } });
        if let Some(id) = id {
            claim["metadata"]["labels"][LABEL_CLUSTER_ID] = json!(id);
        }
        found.objects.insert((Kind::Claim, (*name).to_owned()), claim);
    }
    if let Some(phase) = set_phase {
        let set = json!({ "metadata": { "annotations": { ANNOTATION_PHASE: phase } } });
        found.objects.insert((Kind::StatefulSet, "locks".to_owned()), set);
    }
    found
}

#[test]
fn the_strictest_mark_counts() {
    let names = Names::new("default", "locks");
    let read = |found: &Found| read_marks(&names, found).unwrap();
    assert_eq!(read(&found(&[], None)).phase, Phase::Founding);
    assert_eq!(read(&found(&[("data-locks-0", None)], Some("founding"))).phase, Phase::Founding);
    assert_eq!(read(&found(&[("data-locks-0", None)], Some("founded"))).phase, Phase::Founded);
    assert_eq!(read(&found(&[], Some("what?"))).phase, Phase::Founded);
    let adopted = read(&found(&[("data-locks-0", Some("a")), ("data-locks-1", None)], None));
    assert_eq!(adopted, Marks { phase: Phase::Founded, cluster_id: Some("a".to_owned()) });
}

#[test]
fn claims_of_two_clusters_are_named() {
    let names = Names::new("default", "locks");
    let found = found(&[("data-locks-0", Some("a")), ("data-locks-1", Some("b"))], None);
    let error = read_marks(&names, &found).unwrap_err().to_string();
    assert!(error.contains("data-locks-0 to a") && error.contains("data-locks-1 to b"), "{error}");
}
